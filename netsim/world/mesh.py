"""Rounds of devices that wait for their neighbours only and that nothing can disturb: computed as arrays.

A device's round begins when its last neighbour's message is in and its last own one is out. So times follow from those
of the round before by sums and maxima. The operations are those of events, in the same order, so the numbers agree to
the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np

from netsim.core.arrays import Floats, Truths, Whole
from netsim.events import TransferBatch
from netsim.world.devices.device import Device
from netsim.world.devices.meters import Meters
from netsim.world.radio.flights import Flights, fly
from netsim.world.radio.radio import Radio
from netsim.world.radio.transfers import Messages, Sorting, Transfers
from netsim.world.radio.units import powers_to_db

Numbers = TypeVar("Numbers", Floats, Whole)


class Receptions(NamedTuple):
    """Transfers as their receivers see them.

    Attributes:
        device: The receiver of each.
        since_s: Its beginning [s].
        end_s: Its end [s].
    """

    device: Whole
    since_s: Floats
    end_s: Floats


class Sent(NamedTuple):
    """Transfers of a round that are not reported yet.

    Attributes:
        out_s: When each one's message is out [s], in ascending order.
        order: Their places in the columns, in that order.
        columns: What is recorded of them, and maybe of others.
    """

    out_s: Floats
    order: Whole
    columns: list[Any]

    def after(self, count: int) -> Sent:
        """Return them without the first ``count``; nothing of these stays in memory."""
        order = self.order[count:]
        return Sent(self.out_s[count:].copy(), np.arange(len(order)), [c[order] for c in self.columns])


class Exchange(NamedTuple):
    """The messages of a round.

    Attributes:
        end_s: Time at which each device has sent all its messages and heard all its neighbours [s].
        order: The devices in the order in which they come to that.
        told: Whether a message is sent over each link.
        arrives: Whether it arrives.
        spent: What each device has spent until this round began, as rows of an account [8, devices].
        counts: For each device how many messages of its own arrive, how many to it do, and how many do not.
    """

    end_s: Floats
    order: Whole
    told: Truths
    arrives: Truths
    spent: Floats
    counts: tuple[Whole, Whole, Whole]


class Mesh:
    """Devices with unlimited power, and the links between them: steady, each with a band of its own.

    Links are numbered by sender and then by receiver. Where devices move, each round has other links.

    Args:
        radio: Their radio.
        devices: All devices, by number.
        neighbours: The neighbours of each, in the order of numbers.
        now_s: Time at which they begin their first round [s].

    Attributes:
        sender: Sender of each link.
        receiver: Receiver of each link.
        inward: The links by receiver and then by sender; so at each link's place its way back.
        first: The first link of each sender, and the first of ``inward`` of each receiver; at the end their number.
        begin_s: Time at which each device begins its present round [s].
        order: The devices in the order in which they do.
    """

    def __init__(
        self, radio: Radio, devices: Sequence[Device], neighbours: Sequence[Sequence[int]], now_s: float
    ) -> None:
        self._radio = radio
        self._tx_power_w = np.array([device.tx_power_w for device in devices])
        self._flops_per_s = np.array([device.processor.flops_per_s for device in devices])
        self._joules_per_flop = np.array([device.processor.dynamic_joules_per_flop for device in devices])
        self._static_power_w = np.array([device.processor.static_power_w for device in devices])
        steady = all(device.processor.steady for device in devices)
        self._devices = () if steady else devices  # asked one by one, as their frequencies depend on the work
        self._meters = Meters([device.unlimited for device in devices if device.unlimited is not None])
        self._receptions = Receptions(np.arange(0), *np.zeros((2, 0)))  # begun after their receiver's own
        self._unreported: list[Sent] = []  # by round
        self._known = np.zeros((2, len(devices)))  # when it was that their rounds begin, and in which order
        self.begin_s = np.full(len(devices), now_s)
        self.order = np.arange(len(devices))
        self.link(neighbours)

    def link(self, neighbours: Sequence[Sequence[int]]) -> None:
        """Link the devices with their ``neighbours`` of the rounds to come; who is one has the other for one, too."""
        self._neighbours = neighbours
        degree = np.array([len(own) for own in neighbours], dtype=np.int64)
        self.sender = np.repeat(np.arange(len(degree)), degree)
        self.receiver = np.array([n for own in neighbours for n in own], dtype=np.int64)
        self.inward = np.argsort(self.receiver, kind="stable")
        self.first = np.append(0, np.cumsum(degree))
        self._linked = degree > 0
        if self._radio.moving is None:
            self._links = self._radio.steady_links(self.sender, self.receiver, self._tx_power_w[self.sender])
        self._last_gain = np.full(len(self.sender), np.nan)
        self._sorting = Sorting(self.sender, self.receiver, self.first)

    def alone(self) -> list[int]:
        """Return the devices without a link."""
        found: list[int] = np.flatnonzero(~self._linked).tolist()
        return found

    def compute(self, flops: Floats, slowdown: Floats) -> tuple[Floats, Whole]:
        """Let each device compute ``flops`` FLOPs; return the end of each [s], and the devices in the order of ends."""
        with np.errstate(over="ignore"):
            self._compute_s = slowdown * (flops / self._flops_per_s)
        if not np.isfinite(self._compute_s).all():
            raise OverflowError(f"computing {flops.max():g} FLOPs takes a device {self._compute_s.max():g} s")
        energy_j = self._joules_per_flop * flops
        self._power_w = np.divide(
            energy_j, self._compute_s, out=np.zeros_like(energy_j), where=self._compute_s > 0
        )
        np.add(self._power_w, self._static_power_w, out=self._power_w, where=self._compute_s > 0)
        if self._devices:
            given = zip(self._devices, flops.tolist(), slowdown.tolist(), strict=True)
            found = [device.computing(*own) for device, *own in given]
            self._compute_s, self._power_w = np.array(found).T
        self._ready_s = self.begin_s + self._compute_s
        self._ready = self.order[np.argsort(self._ready_s[self.order], kind="stable")]
        return self._ready_s, self._ready

    def exchange(self, round: int, messages: Messages | float) -> Exchange:
        """Let each device send ``messages`` when it has computed; its next round begins afterwards.

        Args:
            round: The round.
            messages: By device; or the size [bit] of the one that each sends all its neighbours.
        """
        transfers, size_bits = self._sorting.sort(messages)
        link, message, inward, first, by, _, told, _ = transfers
        sender, receiver, size_bits = self.sender[link], self.receiver[link], size_bits[message]
        start_s, fly = self._ready_s[sender], self._fly if self._radio.moving is None else self._fly_on
        delivered, sent_bits, airtime_s, end_s, gain, snr_db = fly(round, link, size_bits, start_s)
        lasts_s = airtime_s if self._radio.moving is None else end_s - start_s
        energy_j = self._tx_power_w[sender] * airtime_s

        sums_s = np.bincount(message, airtime_s, len(by))  # in order, as the sum of a list
        longest_s = np.maximum.reduceat(lasts_s, first[:-1]) if len(by) else lasts_s
        sent_s = self._ready_s[by] + longest_s
        out_s = self._ready_s.copy()
        np.maximum.at(out_s, by, sent_s)
        heard_s = self._ready_s[self.sender]
        heard_s[link] = end_s
        in_s = self._last_of_neighbours(heard_s, -np.inf)
        arrives = told.copy()
        arrives[link] = delivered

        new = Receptions(receiver[inward], start_s[inward], end_s[inward])
        spent = self._spend(by, longest_s, self._tx_power_w[by] * sums_s, new, sender[inward])
        rank = _places(self._ready)
        known = [size_bits, sent_bits, delivered, start_s, end_s, airtime_s, energy_j, gain, snr_db]
        columns = [np.full_like(link, round), sender, receiver, *known]
        order = transfers.in_order_of(np.lexsort((rank[by], sent_s)))
        self._unreported.append(Sent(sent_s[message][order], order, columns))
        self.order = self._in_order(transfers, sent_s, out_s, in_s, rank)
        self.begin_s = np.maximum(out_s, in_s)
        return Exchange(self.begin_s, self.order, told, arrives, spent, self._counts(told, arrives))

    def _fly(self, round: int, link: Whole, size_bits: Floats, start_s: Floats) -> Flights:
        """Send messages of ``size_bits`` over each ``link`` from ``start_s`` [s] on."""
        gains, air = self._links.gains(round), self._radio.air
        power_gain, gain, ratio = (column[link] for column in gains)
        rate_bps, snr_db = self._both_ways(gains.snr)[:, link]
        self._last_gain[link] = power_gain
        on_air = (ratio > 0) & (ratio >= air.outage_snr)
        airtime_s = np.divide(size_bits, rate_bps, out=np.zeros_like(rate_bps), where=on_air)
        return Flights(on_air, size_bits * on_air, airtime_s, start_s + airtime_s, gain, snr_db)

    def _fly_on(self, round: int, link: Whole, size_bits: Floats, start_s: Floats) -> Flights:
        """Do the same where devices move."""
        sender, receiver = self.sender[link], self.receiver[link]
        first, faded = self._radio.channel.powers(sender, receiver, round)
        ends = np.sort(np.column_stack([sender, receiver]), axis=1)
        return fly(self._radio, ends, self._tx_power_w[sender], faded[round - first], size_bits, start_s)

    def heard(self, exchange: Exchange) -> list[list[int]]:
        """Return for each device whose messages arrive, in the order of numbers."""
        arrives = exchange.arrives[self.inward]
        senders, first = self.sender[self.inward], self.first.tolist()
        return [senders[a:b][arrives[a:b]].tolist() for a, b in pairwise(first)]

    def answers(self, exchange: Exchange, device: int) -> dict[int, bool]:
        """Return whether each message of ``device`` arrives, by receiver."""
        own = slice(self.first[device], self.first[device + 1])
        told = exchange.told[own]
        receivers, arrives = self.receiver[own][told].tolist(), exchange.arrives[own][told].tolist()
        return dict(zip(receivers, arrives, strict=True))

    def _counts(self, told: Truths, arrives: Truths) -> tuple[Whole, Whole, Whole]:
        """Return for each device how many messages of its own arrive, how many to it do, and how many do not."""
        count = len(self.order)
        received = np.bincount(self.receiver[arrives], minlength=count)
        sent = np.bincount(self.sender[arrives], minlength=count)
        return sent, received, np.bincount(self.receiver[told], minlength=count) - received

    def last_gains(self, device: int) -> dict[int, float]:
        """Return the power gain, path loss included, at the last use of each link of ``device``, by receiver."""
        gains = self._last_gain[self.first[device] : self.first[device + 1]].tolist()
        known = zip(self._neighbours[device], gains, strict=True)
        return {receiver: gain for receiver, gain in known if not math.isnan(gain)}

    def report(self, until_s: float) -> None:
        """Pass transfers of messages that are out by ``until_s`` [s] on to the observers, in the order of events."""
        ended, left = [], []
        for sent in self._unreported:
            count = int(np.searchsorted(sent.out_s, until_s, side="right"))
            if count:
                ended.append(Sent(sent.out_s[:count], sent.order[:count], sent.columns))
                sent = sent.after(count)
            if len(sent.order):
                left.append(sent)
        self._unreported = left
        if not ended:
            return
        before = np.cumsum([0, *(len(sent.columns[0]) for sent in ended)])
        places = np.concatenate([sent.order + since for sent, since in zip(ended, before[:-1], strict=True)])
        places = places[np.argsort(np.concatenate([sent.out_s for sent in ended]), kind="stable")]
        joined = (
            np.concatenate(pieces)[places] for pieces in zip(*(one.columns for one in ended), strict=True)
        )
        round, sender, receiver, size_bits, sent_bits, delivered, *others = joined
        start_s, end_s, airtime_s, energy_j, gain, snr_db = others
        all_delivered = bool(delivered.all())
        self._radio.record(
            TransferBatch(
                round=round,
                kind="model",
                sender=sender,
                receiver=receiver,
                size_bits=size_bits,
                sent_bits=size_bits if all_delivered else sent_bits,
                start_s=start_s,
                end_s=end_s,
                airtime_s=airtime_s,
                energy_j=energy_j,
                gain=gain,
                snr_db=snr_db,
                outcome="delivered"
                if all_delivered
                else ["delivered" if arrived else "outage" for arrived in delivered.tolist()],
            )
        )

    def account(self, now_s: Floats) -> Floats:
        """Return what each device has spent until ``now_s`` [s], as rows of an account; nobody sends any more."""
        self._meters.receive(*self._receptions)
        self._receptions = _some(self._receptions, np.zeros(len(self._receptions.device), dtype=bool))
        return self._meters.account(now_s)

    def close(self) -> None:
        """Note on the devices' batteries what has been spent up to the last :meth:`account`."""
        self._meters.store()

    def _spend(
        self, by: Whole, longest_s: Floats, energy_j: Floats, new: Receptions, sender: Whole
    ) -> Floats:
        """Charge the round up to the beginning of its messages; return what was spent until it began.

        Receptions that begin before the receiver sends are charged with that. Those that begin later are charged up to
        the end of the receiver's round, to which receptions of its neighbours' next round may belong, too.
        """
        device, since_s, _ = new
        begins, sends = _places(self.order), _places(self._ready)
        # In one moment, what has become known first comes first; a message, when its sender's round began.
        known_s, place = self._known
        since_when = self.begin_s[sender] - known_s[device]
        first = (since_when < 0) | ((since_when == 0) & (place[sender] < place[device]))
        first = np.where(self._compute_s[sender] == 0, begins[sender] < begins[device], first)
        before = (since_s < self.begin_s[device]) | ((since_s == self.begin_s[device]) & first)
        has_sent = np.zeros(len(sends), dtype=bool)
        has_sent[by] = True
        meanwhile = ~before & has_sent[device] & (sends[sender] < sends[device])
        if self._radio.moving is not None:  # of the round to come, some may have begun before
            meanwhile[:] = False
        after = ~(before | meanwhile)
        early = Receptions(
            *(np.append(*two) for two in zip(self._receptions, _some(new, before), strict=True))
        )
        self._meters.receive(*early)
        spent = self._meters.account(self.begin_s)
        self._meters.compute(self.begin_s, self._compute_s, self._power_w)
        self._meters.receive(*_some(new, meanwhile))
        self._meters.send(by, self._ready_s[by], longest_s, energy_j)
        self._receptions = _some(new, after)
        return spent

    def _both_ways(self, snr: Floats) -> Floats:
        """Return the rate [bit/s] and the SNR [dB] of each link, computed once for both ways of equal SNR."""
        own = (self.sender < self.receiver) | (snr != snr[self.inward])
        ratios, air = snr[own].tolist(), self._radio.air
        found = np.empty((2, len(snr)))
        found[:, own] = air.rate.rates_bps(air.bandwidth_hz, ratios), powers_to_db(ratios)
        found[:, ~own] = found[:, self.inward[~own]]
        return found

    def _in_order(
        self, transfers: Transfers, sent_s: Floats, out_s: Floats, in_s: Floats, rank: Whole
    ) -> Whole:
        """Return the devices in the order in which events end their rounds.

        Among rounds that end in one moment, that is the order in which it becomes known when they end: as the last
        neighbour begins to send (which its receivers know first), or when all own messages are out. A process waits for
        one message alone, and for the first of several before the others.
        """
        by, main, count = transfers.sender, transfers.main, transfers.messages
        first_s, others_s = np.full((2, len(count)), -np.inf)
        first_s[by[main]] = sent_s[main]
        np.maximum.at(others_s, by[~main], sent_s[~main])
        steps = np.where(count < 2, 0, np.where(first_s > others_s, 1, 2))
        alone_s = np.where(count > 1, out_s, np.where(first_s > -np.inf, self._ready_s, self.begin_s))
        last = self._last_of_neighbours(rank[self.sender], -1)  # place of the last neighbour to send
        last_s = self._ready_s[self._ready[last]]
        waits = in_s > out_s
        others = waits & (last_s >= out_s)
        known_s = np.where(waits, np.maximum(out_s, last_s), alone_s)
        place = np.where(others, last, rank)
        self._known = np.array([known_s, place])
        return np.lexsort((~others, place, np.where(others, 0, steps), known_s, np.maximum(out_s, in_s)))

    def _last_of_neighbours(self, value: Numbers, nobody: float) -> Numbers:
        """Return the largest ``value`` of the links to each device; ``nobody`` where there are none."""
        last = np.full(len(self._linked), nobody, dtype=value.dtype)
        if len(value):
            last[self._linked] = np.maximum.reduceat(value[self.inward], self.first[:-1][self._linked])
        return last


def _places(order: Whole) -> Whole:
    """Return the place of each device in ``order``."""
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return places


def _some(receptions: Receptions, chosen: Truths) -> Receptions:
    device, since_s, end_s = receptions
    return Receptions(device[chosen], since_s[chosen], end_s[chosen])
