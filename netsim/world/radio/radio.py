"""The radio: gains of links, and transfers that take time and energy."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import simpy

from netsim.core.arrays import Floats, Whole
from netsim.events import TransferBatch, TransferRow
from netsim.world.devices.device import Device, first_of
from netsim.world.devices.unlimited import receive_all
from netsim.world.radio.access import Access, Band, Traffic
from netsim.world.radio.air import Air
from netsim.world.radio.fading import Channel
from netsim.world.radio.in_order import InOrder
from netsim.world.radio.losses import Losses, MovingLosses
from netsim.world.radio.precomputed import Fan, PrecomputedLinks
from netsim.world.radio.rate import snr
from netsim.world.radio.shared_band import SharedTransfers
from netsim.world.radio.steady import SteadyLinks
from netsim.world.radio.units import power_to_db

Tell = Callable[[Sequence[int], Sequence[float], Sequence[bool]], None]
"""A function called with the receivers of transfers, their ends [s], and whether each message is delivered."""


class Radio:
    """A radio that sends messages over links.

    An undisturbed transfer (both ends with unlimited power, a band and a gain of its own until it ends, no deadline) is
    precomputed when it begins, together with the other undisturbed ones of its sender. What nothing can disturb
    although gains change, the sender's transfers share a band or batteries are finite is computed as it begins, too
    (:mod:`netsim.world.radio.volley`). Any other transfer is a process that reacts to every change. All ways give the
    same numbers.

    Attributes:
        path_loss_db: Path loss of each link as the run begins [dB].
        moving: Path losses at later times, where nodes move.
        ended: Takes transfers, which go to the observers in the order of their ends.
    """

    def __init__(
        self,
        env: simpy.Environment,
        air: Air,
        channel: Channel,
        access: Access,
        losses: Losses,
        on_transfers: Callable[[TransferBatch], None],
    ) -> None:
        self.env = env
        self.air = air
        self.channel = channel
        self.access = access
        self.path_loss_db = losses.first_db
        self.moving = losses if isinstance(losses, MovingLosses) else None
        self._losses = losses
        self._shared: dict[Band, SharedTransfers] = {}
        self._heard: dict[int, dict[int, float]] = {}
        self._fans: dict[int, dict[tuple[int, ...], Fan]] = {}
        self.ended = InOrder(env, on_transfers)
        access.use(air, self)

    def _mean_power(self, a: int, b: int) -> float:
        return self._losses.power(a, b, self.env.now)

    def mean_gain(self, a: int, b: int) -> float:
        """Return the power gain of a link, path loss included, averaged over the fading."""
        return self._mean_power(a, b) * self.channel.mean_power

    def power_gains(self, sender: int) -> dict[int, float]:
        """Return the power gain, path loss included, at the last use of each link of ``sender``, by receiver.

        Where nodes move, nobody knows it: it was that of another place.
        """
        if self.moving is not None:
            return {}
        gains = dict(self._heard.get(sender, {}))
        for fan in self._fans.get(sender, {}).values():
            gains |= fan.gains()
        return gains

    def last_gain(self, sender: int, receiver: int) -> float | None:
        """Return the power gain, path loss included, at the last use of a link; None if it was not used."""
        known = self.power_gains(sender) if sender in self._fans else self._heard.get(sender, {})
        return known.get(receiver)

    def joules_per_bit(self, sender: Device, receiver: int, power_gain: float | None = None) -> float:
        """Return the energy of one bit at ``power_gain``, by default the link's mean gain [J/bit].

        Blocks that are lost count as often as they are sent on average.
        """
        if power_gain is None:
            power_gain = self.mean_gain(sender.number, receiver)
        ratio = snr(sender.tx_power_w, math.sqrt(power_gain), self.air.bandwidth_hz, self.air.noise_w_per_hz)
        rate_bps = self.air.rate.rate_bps(self.air.bandwidth_hz, ratio) * (1 - self.air.rate.loss(ratio))
        return sender.tx_power_w / rate_bps if rate_bps > 0 else math.inf

    def send_all(
        self,
        sender: Device,
        receivers: tuple[int, ...],
        devices: Mapping[int, Device] | Sequence[Device],
        size_bits: float,
        round: int,
        kind: str,
        stop: simpy.Event | None,
        tell: Tell,
        answers: dict[int, bool] | None = None,
    ) -> Generator[simpy.Event, Any, list[str]]:
        """Send ``size_bits`` to all ``receivers`` at once (a SimPy process); return outcomes, in no fixed order.

        The process ends after the last acknowledgement.

        Args:
            sender: The sending device.
            receivers: Numbers of the receivers, each once.
            devices: Devices by number.
            size_bits: Size of the message [bit].
            round: The sender's round.
            kind: Kind of the message, for the records.
            stop: Ends all transfers early when it fires.
            tell: Called for each transfer once: at its start if it is undisturbed, otherwise at its end.
            answers: Filled with whether the acknowledgement arrived, by receiver; None if not needed.
        """
        if size_bits == 0 and not self.air.acknowledgement_bits:  # it is no transfer
            tell(receivers, [self.env.now] * len(receivers), [True] * len(receivers))
            if answers is not None:
                answers.update(dict.fromkeys(receivers, True))
            return ["delivered"] * len(receivers)
        disturbed, batch = receivers, None
        # Acknowledgements that are transfers are not precomputed, nor is anything whose path loss may change.
        if stop is None and size_bits > 0 and not self.air.acknowledgement_bits and self.moving is None:
            fan = self._fan(sender, receivers, devices)
            disturbed = fan.disturbed
            if fan.numbers:
                batch = self._fan_out(sender, fan, size_bits, round, kind, tell)
        others = [
            self.env.process(
                self._send_and_tell(sender, devices[n], size_bits, round, kind, stop, tell, answers)
            )
            for n in disturbed
        ]
        outcomes: list[str] = []
        if batch is not None:
            yield self.env.timeout(fan.longest_s)
            self.ended(batch)
            outcomes += batch.each("outcome")
            if answers is not None:
                delivered = [outcome == "delivered" for outcome in outcomes]
                answers.update(zip(fan.numbers, delivered, strict=True))
        if others:
            yield self.env.all_of(others)
            outcomes += [str(process.value) for process in others]
        return outcomes

    def foreseeable(self, sender: Device, round: int) -> bool:
        """Return whether nothing about the radio can disturb what ``sender`` sends, and all gains are known ahead."""
        return (
            self.access.by_sender
            and self.moving is None
            and self.channel.block(round, self.env.now) is not None
            and not self.air.acknowledgement_bits
            and not self.air.rate.lossy
            # Those are precomputed for many rounds.
            and not (sender.unlimited is not None and self.access.dedicated and self.channel.steady)
        )

    def mean_powers(self, sender: int, receivers: Sequence[int]) -> Floats:
        """Return the power gain of path loss alone on links of ``sender`` [receivers]."""
        return np.array([self._mean_power(sender, n) for n in receivers])

    def note_gains(self, sender: int, power_gains: Mapping[int, float]) -> None:
        """Note that links of ``sender`` are used, with the power gains ``power_gains`` by receiver."""
        self._heard.setdefault(sender, {}).update(power_gains)

    def _fan_out(
        self, sender: Device, fan: Fan, size_bits: float, round: int, kind: str, tell: Tell
    ) -> TransferBatch:
        """Book undisturbed transfers, call ``tell`` for them, and return their records."""
        links = fan.precomputed
        if links is None or not links.covers(round) or links.tx_power_w != sender.tx_power_w:
            senders = np.full_like(fan.receivers, sender.number)
            first_round, faded = self.channel.powers(senders, fan.receivers, round)
            links = PrecomputedLinks(self.air, sender.tx_power_w, fan.mean_power * faded, first_round)
            fan.precomputed = links
        row = round - links.first_round
        fan.last = links.power_gain[row]
        delivered = None if links.all_delivered[row] else links.delivered[row]
        taken = links.airtimes(size_bits)
        start_s, airtime_s = self.env.now, taken.airtime_s[row]
        end_s = start_s + airtime_s
        ends_s: list[float] = end_s.tolist()
        fan.longest_s = taken.longest_s[row]
        sender.unlimited.book("sending", sender.tx_power_w, taken.listed_s[row], fan.longest_s)  # type: ignore[union-attr]
        receive_all(fan.meters, start_s, ends_s)
        arrives = fan.all_arrive if delivered is None else delivered.tolist()
        tell(fan.numbers, ends_s, arrives)
        return TransferBatch(
            round=round,
            kind=kind,
            sender=sender.number,
            receiver=fan.receivers,
            size_bits=size_bits,
            sent_bits=size_bits if delivered is None else np.where(delivered, size_bits, 0.0),
            start_s=start_s,
            end_s=end_s,
            airtime_s=airtime_s,
            energy_j=taken.energy_j[row],
            gain=links.gain[row],
            snr_db=links.snr_db[row],
            outcome="delivered"
            if delivered is None
            else ["delivered" if arrived else "outage" for arrived in arrives],
        )

    def _fan(
        self, sender: Device, receivers: tuple[int, ...], devices: Mapping[int, Device] | Sequence[Device]
    ) -> Fan:
        """Return the links from ``sender`` to ``receivers``."""
        fans = self._fans.setdefault(sender.number, {})
        fan = fans.get(receivers)
        if fan is None:
            steady = sender.unlimited is not None and self.access.dedicated and self.channel.steady
            steady = steady and not self.air.rate.lossy
            sure = [n for n in receivers if steady and devices[n].unlimited is not None]
            fan = Fan(receivers, [devices[n] for n in sure], self.mean_powers(sender.number, sure))
        elif len(fans) > 1:
            del fans[receivers]  # the last used comes last
        fans[receivers] = fan
        return fan

    def _send_and_tell(
        self,
        sender: Device,
        receiver: Device,
        size_bits: float,
        round: int,
        kind: str,
        stop: simpy.Event | None,
        tell: Tell,
        answers: dict[int, bool] | None,
    ) -> Generator[simpy.Event, Any, str]:
        """Send one message and its acknowledgement (a SimPy process); return the outcome of the message."""
        row = yield from self.send(sender, receiver, size_bits, round, kind, stop)
        delivered = row.outcome == "delivered"
        tell([receiver.number], [self.env.now], [delivered])
        known = delivered and (yield from self.acknowledge(receiver, sender, round, stop))
        if answers is not None:
            answers[receiver.number] = known
        return row.outcome

    def acknowledge(
        self, receiver: Device, sender: Device, round: int, stop: simpy.Event | None
    ) -> Generator[simpy.Event, Any, bool]:
        """Acknowledge ``sender``'s message of ``round`` (a SimPy process); return whether the answer arrives.

        The answer is a transfer of ``air.acknowledgement_bits`` back over the link; the receiver of the message
        spends its energy. An answer of no bits is free and always arrives.
        """
        size_bits = self.air.acknowledgement_bits
        if not size_bits:
            return True
        row = yield from self.send(receiver, sender, size_bits, round, "acknowledgement", stop)
        return row.outcome == "delivered"

    def send(
        self,
        sender: Device,
        receiver: Device,
        size_bits: float,
        round: int,
        kind: str,
        stop: simpy.Event | None = None,
    ) -> Generator[simpy.Event, Any, TransferRow]:
        """Send ``size_bits`` over the link (a SimPy process); return the record of the transfer.

        The rate changes whenever the gain does and whenever another transfer joins or leaves the band. The transfer
        ends early when either end dies, when ``stop`` fires, or when the link is in outage for the rest of the round
        or of the run. Energy is charged for the time on the air, with any outcome.
        """
        env, air, start_s = self.env, self.air, self.env.now
        link = (sender.number, receiver.number)
        left_bits, airtime_s, outcome = size_bits, 0.0, "delivered"
        blocks = air.rate.blocks(size_bits, 1, kind, *link, round) if size_bits > 0 else None
        first_gain, first_snr, lost_s = math.nan, math.nan, math.inf
        energy_j = 0.0
        endings = [*sender.endings(stop), *receiver.endings(None)]
        with ExitStack() as held, ExitStack() as ears:
            if size_bits > 0 and (free := held.enter_context(self.access.radios(*link))) is not None:
                yield first_of(free, *endings)
                outcome = _reason_to_stop(sender, receiver, stop) or outcome
            band = self.access.band(*link)
            seat = held.enter_context(band.join(Traffic(sender, receiver.number, round)))
            ears.enter_context(receiver.listening())
            draw = sender.meter.start("sending", 0.0)
            duration_s: float | None = None
            if size_bits > 0 and (shared := self._shared_by_many(sender, receiver, round, band)):
                transfers, first_gain, ratio = shared
                first_snr = ratio * band.density
                sender.meter.change(draw, sender.tx_power_w)
                done = transfers.start(ratio, size_bits)
                yield first_of(done, *endings)
                if done.triggered:
                    left_bits, airtime_s = 0.0, float(done.value or 0.0)
                else:
                    left_bits, airtime_s = transfers.withdraw(done)
                    outcome = _reason_to_stop(sender, receiver, stop) or outcome
            while left_bits > 0 and outcome == "delivered":
                ratio, gain, until_s = self.look(sender, receiver.number, round)
                seat.hear(ratio)
                grant = seat.grant
                if not grant.share:  # it waits for its turn, and the radios are free for other things
                    energy_j += sender.meter.stop(draw, duration_s)
                    ears.close()
                    yield first_of(seat.changed, *endings)
                    ears.enter_context(receiver.listening())
                    draw, duration_s = sender.meter.start("sending", 0.0), None
                    outcome = _reason_to_stop(sender, receiver, stop) or outcome
                    continue
                ratio *= grant.density
                on_air = ratio > 0 and ratio >= air.outage_snr
                given_up = not on_air and self.gives_up(sender, receiver.number, until_s, grant.density)
                if grant.interference_w:
                    ratio /= 1 + grant.interference_w / (air.bandwidth_hz * air.noise_w_per_hz)
                    until_s = min(until_s, grant.until_s)
                    given_up = given_up or (ratio < air.outage_snr and math.isinf(until_s))
                if math.isnan(first_gain):
                    first_gain, first_snr = gain, ratio
                heard = on_air and ratio >= air.outage_snr
                lost_s = math.inf if heard else min(lost_s, env.now)
                if given_up and self.loses_patience(lost_s):
                    outcome, duration_s = "outage", None
                    break
                until_s = self.until_s(until_s)
                rate_bps = air.rate.rate_bps(air.bandwidth_hz * grant.share, ratio) if heard else 0.0
                power_w = sender.tx_power_w * grant.power * grant.duty if on_air else 0.0
                since_s, hold_s = env.now, until_s - env.now
                need_s = left_bits / rate_bps if heard else math.inf
                piece_s = min(need_s, hold_s)
                sender.meter.change(draw, power_w, piece_s if need_s <= hold_s else math.inf)
                piece = env.timeout(piece_s)
                yield first_of(piece, *endings, *([seat.changed] if seat.shared else []))
                duration_s = piece_s if piece.processed else None
                spent_s = piece_s if piece.processed else env.now - since_s
                airtime_s += spent_s * grant.duty if on_air else 0.0
                # After the last bit zero bits are left; a subtraction may leave a remainder that is too small
                # to move the clock.
                left_bits = (
                    0.0 if piece.processed and need_s <= hold_s else max(left_bits - rate_bps * spent_s, 0.0)
                )
                if blocks is not None:
                    left_bits = blocks.sent(left_bits, {0: air.rate.loss(ratio)}, {0: ratio})
                if left_bits > 0 and (reason := _reason_to_stop(sender, receiver, stop)):
                    outcome = reason
                    break
                if blocks is not None and blocks.repeats and air.rate.answer_s:
                    sender.meter.change(draw, 0.0, air.rate.answer_s)
                    yield first_of(env.timeout(air.rate.answer_s), *endings)
                    outcome, duration_s = _reason_to_stop(sender, receiver, stop) or outcome, None
            energy_j += sender.meter.stop(draw, duration_s)
        sent_bits = size_bits - left_bits if blocks is None else blocks.arrived_bits()
        if outcome == "delivered" and sent_bits < size_bits:
            outcome = "lost"
        row = TransferRow(
            round=round,
            kind=kind,
            sender=sender.number,
            receiver=receiver.number,
            size_bits=size_bits,
            sent_bits=sent_bits,
            start_s=start_s,
            end_s=env.now,
            airtime_s=airtime_s,
            energy_j=energy_j,
            gain=first_gain,
            snr_db=power_to_db(first_snr) if not math.isnan(first_snr) else math.nan,
            outcome=outcome,
            lost_bits=blocks.lost_bits() if blocks is not None else 0.0,
        )
        if size_bits > 0:
            self.ended(TransferBatch.of(row))
        return row

    def _shared_by_many(
        self, sender: Device, receiver: Device, round: int, band: Band
    ) -> tuple[SharedTransfers, float, float] | None:
        """Return the shared transfers that one from ``sender`` can be computed with, its amplitude gain, and its SNR.

        None if something but the others in the band can disturb it: an end of a battery, a new gain, an outage.
        """
        immortal = sender.unlimited is not None and receiver.unlimited is not None
        if not (band.shared and band.senders_keep_power and immortal):
            return None
        if self.moving is not None or self.air.outage_snr > 0 or self.air.rate.lossy:
            return None
        ratio, gain, until_s = self.look(sender, receiver.number, round)
        if not math.isinf(until_s) or not ratio > 0:
            return None
        if band not in self._shared:
            self._shared[band] = SharedTransfers(self.env, band, self.air)
            band.watchers.append(self._shared[band].update)
        return self._shared[band], gain, ratio

    def look(self, sender: Device, receiver: int, round: int) -> tuple[float, float, float]:
        """Return the link's SNR now (all power, whole band), its amplitude gain, and how long the gain holds [s]."""
        faded, until_s = self.channel.power(sender.number, receiver, round, self.env.now)
        power_gain = self._mean_power(sender.number, receiver) * faded
        self._heard.setdefault(sender.number, {})[receiver] = power_gain
        gain = math.sqrt(power_gain)
        return snr(sender.tx_power_w, gain, self.air.bandwidth_hz, self.air.noise_w_per_hz), gain, until_s

    def across(
        self, senders: Sequence[int], receivers: Sequence[int], round: int
    ) -> tuple[Sequence[float], float]:
        """Return the power gains now from each of ``senders`` to its receiver, and until when ``round``'s fading holds.

        They need no links. See :class:`~netsim.world.radio.hearing.Ether`.
        """
        now_s, losses = self.env.now, self._losses
        pairs = list(zip(senders, receivers, strict=True))
        block = self.channel.block(round, now_s)
        if block is None:
            each = [self.channel.power(*pair, round, now_s) for pair in pairs]
            faded, until_s = [gain for gain, _ in each], min(hold_s for _, hold_s in each)
        else:
            number, until_s = block
            first, gains = self.channel.powers(np.array(senders), np.array(receivers), number)
            faded = gains[number - first].tolist()
        means = [losses.power(*pair, now_s, across=True) for pair in pairs]
        return [mean * gain for mean, gain in zip(means, faded, strict=True)], until_s

    def steady_links(self, senders: Whole, receivers: Whole, tx_power_w: Floats) -> SteadyLinks:
        """Return the links from each of ``senders``, whose powers are given [W], to each of ``receivers``."""
        path_power = self._losses.first_powers(senders, receivers)
        return SteadyLinks(self.air, self.channel, senders, receivers, tx_power_w, path_power)

    def note_use(self, links: SteadyLinks, power_gain: Sequence[float]) -> None:
        """Note that ``links`` are used now, with the power gains ``power_gain``."""
        ends = links.senders.tolist(), links.receivers.tolist()
        for sender, receiver, gain in zip(*ends, power_gain, strict=True):
            self._heard.setdefault(sender, {})[receiver] = gain

    def until_s(self, until_s: float, now_s: float | None = None) -> float:
        """Return when a gain that fading leaves alone until ``until_s`` [s] may change: then, or as nodes move.

        That is seen from ``now_s`` on [s], by default the present.
        """
        if self.moving is None:
            return until_s
        return min(until_s, self.moving.motion.until_s(self.env.now if now_s is None else now_s))

    def gives_up(self, sender: Device, receiver: int, until_s: float, density: float = 1.0) -> bool:
        """Return whether a link that is in outage now is not worth waiting for, but for nodes that move.

        Args:
            sender: The sending device.
            receiver: Number of the receiver.
            until_s: Time until which the fading holds [s].
            density: Power density, relative to all power spread over the whole band.
        """
        return math.isinf(until_s) or self.hopeless(sender, receiver, density)

    def loses_patience(self, lost_s: float) -> bool:
        """Return whether nobody waits any longer for nodes to move where a link was lost at ``lost_s`` [s]."""
        return self.moving is None or self.env.now - lost_s >= self.moving.motion.patience_s

    def hopeless(self, sender: Device, receiver: int, density: float = 1.0) -> bool:
        """Return whether a link is in outage for good, that is in all but at most one of a million blocks.

        Nodes that move are thought to stay where they are.

        Args:
            sender: The sending device.
            receiver: Number of the receiver.
            density: Power density, relative to all power spread over the whole band.
        """
        mean_power = self._mean_power(sender.number, receiver)
        if mean_power == 0:
            return True
        gain = math.sqrt(mean_power * self.channel.rare_power)
        best = snr(sender.tx_power_w, gain, self.air.bandwidth_hz, self.air.noise_w_per_hz) * density
        return best < self.air.outage_snr

    def record(self, batch: TransferBatch) -> None:
        """Pass transfers that have ended on to the observers."""
        self.ended(batch)


def _reason_to_stop(sender: Device, receiver: Device, stop: simpy.Event | None) -> str | None:
    if not sender.alive:
        return "sender_died"
    if not receiver.alive:
        return "receiver_died"
    return "cut_off" if stop is not None and stop.processed else None
