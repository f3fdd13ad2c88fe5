"""The air: every link's gain, and transfers that take time and joules on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import simpy

from netsim.devices.device import Device, first_of
from netsim.radio.access import Access
from netsim.radio.fading import Channel
from netsim.radio.rate import shannon_rate_bps, snr
from netsim.radio.units import db_to_power, power_to_db
from netsim.records.tables import TransferRow


@dataclass(frozen=True)
class Air:
    """What all links have in common.

    Attributes:
        bandwidth_hz: Bandwidth B of a band [Hz].
        noise_w_per_hz: Noise density N0 [W/Hz].
        outage_snr: SNR below which nothing gets through; 0 for none.
    """

    bandwidth_hz: float
    noise_w_per_hz: float
    outage_snr: float = 0.0


class Radio:
    """Sends bits over links.

    Attributes:
        path_loss_db: Path loss of each link [dB], by (lower, higher) device number.
    """

    def __init__(
        self,
        env: simpy.Environment,
        air: Air,
        channel: Channel,
        access: Access,
        path_loss_db: Mapping[tuple[int, int], float],
        on_transfer_end: Callable[[TransferRow], None],
    ) -> None:
        self.env = env
        self.air = air
        self.channel = channel
        self.access = access
        self.path_loss_db = path_loss_db
        self._path_power = {link: db_to_power(-loss) for link, loss in path_loss_db.items()}
        self._heard: dict[tuple[int, int], float] = {}
        self._on_transfer_end = on_transfer_end

    def _mean_power(self, a: int, b: int) -> float:
        return self._path_power[(a, b) if a < b else (b, a)]

    def joules_per_bit(self, sender: Device, receiver: int) -> float:
        """Energy of one bit at the gain that this link last had, or at its mean gain if it was never used [J/bit]."""
        link = (sender.number, receiver)
        gain2 = self._heard.get(link)
        if gain2 is None:
            gain2 = self._mean_power(*link) * self.channel.mean_power
        ratio = snr(sender.tx_power_w, math.sqrt(gain2), self.air.bandwidth_hz, self.air.noise_w_per_hz)
        rate_bps = shannon_rate_bps(self.air.bandwidth_hz, ratio)
        return sender.tx_power_w / rate_bps if rate_bps > 0 else math.inf

    def send(
        self,
        sender: Device,
        receiver: Device,
        size_bits: float,
        round: int,
        kind: str,
        stop: simpy.Event | None = None,
    ) -> Generator[simpy.Event, Any, TransferRow]:
        """Process: send ``size_bits`` over the link; returns the record of the transfer.

        The rate changes whenever the gain does and whenever somebody joins or leaves the band. The transfer ends
        early when either end dies, when ``stop`` fires, or when the link is in outage and will stay so for the round;
        energy is charged for the time on the air, whatever comes of it.
        """
        env, air, start_s = self.env, self.air, self.env.now
        link = (sender.number, receiver.number)
        left_bits, airtime_s, outcome = size_bits, 0.0, "delivered"
        first_gain, first_snr = math.nan, math.nan
        band = self.access.band(*link)
        endings = [*sender.endings(stop), *receiver.endings(None)]
        with band.join(), receiver.listening():
            draw = sender.meter.start("sending", 0.0)
            duration_s: float | None = None
            while left_bits > 0:
                faded, until_s = self.channel.power(*link, round, env.now)
                gain2 = self._heard[link] = self._mean_power(*link) * faded
                ratio = snr(sender.tx_power_w, math.sqrt(gain2), air.bandwidth_hz, air.noise_w_per_hz)
                if math.isnan(first_gain):
                    first_gain, first_snr = math.sqrt(gain2), ratio
                on_air = ratio > 0 and ratio >= air.outage_snr
                if not on_air and math.isinf(until_s):
                    outcome, duration_s = "outage", None
                    break
                share = band.share
                rate_bps = shannon_rate_bps(air.bandwidth_hz * share, ratio) if on_air else 0.0
                power_w = sender.tx_power_w * share if on_air else 0.0
                since_s, hold_s = env.now, until_s - env.now
                need_s = left_bits / rate_bps if on_air else math.inf
                piece_s = min(need_s, hold_s)
                sender.meter.change(draw, power_w, piece_s if need_s <= hold_s else math.inf)
                piece = env.timeout(piece_s)
                yield first_of(piece, *endings, *([band.changed] if band.shared else []))
                duration_s = piece_s if piece.processed else None
                spent_s = piece_s if piece.processed else env.now - since_s
                airtime_s += spent_s if on_air else 0.0
                # When the last bit is through, what is left *is* zero; a subtraction may leave a crumb
                # that is too small to move the clock.
                left_bits = (
                    0.0 if piece.processed and need_s <= hold_s else max(left_bits - rate_bps * spent_s, 0.0)
                )
                if left_bits > 0 and (reason := _reason_to_stop(sender, receiver, stop)):
                    outcome = reason
                    break
            energy_j = sender.meter.stop(draw, duration_s)
        row = TransferRow(
            round=round,
            kind=kind,
            sender=sender.number,
            receiver=receiver.number,
            size_bits=size_bits,
            sent_bits=size_bits - left_bits,
            start_s=start_s,
            end_s=env.now,
            airtime_s=airtime_s,
            energy_j=energy_j,
            gain=first_gain,
            snr_db=power_to_db(first_snr) if not math.isnan(first_snr) else math.nan,
            outcome=outcome,
        )
        if size_bits > 0:
            self._on_transfer_end(row)
        return row


def _reason_to_stop(sender: Device, receiver: Device, stop: simpy.Event | None) -> str | None:
    if not sender.alive:
        return "sender_died"
    if not receiver.alive:
        return "receiver_died"
    return "cut_off" if stop is not None and stop.processed else None
