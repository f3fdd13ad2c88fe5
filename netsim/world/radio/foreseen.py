"""Foreseen transfers: those of one sender that begin together and that nothing will disturb, computed as they begin.

Their gains may change many times: bits over time are a sum over blocks of constant gain. The operations are those of
:meth:`netsim.world.radio.radio.Radio.send`, in the same order, so the numbers agree to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from netsim.core.arrays import Floats
from netsim.world.radio.air import Air
from netsim.world.radio.fading import Channel
from netsim.world.radio.rate import snr


class Outlook:
    """The gains of one sender's links from now on, block by block.

    Args:
        air: What the links have in common.
        channel: Their fading; it has blocks.
        sender: Number of the sender.
        receivers: Numbers of the receivers.
        tx_power_w: Transmit power [W].
        mean_power: Power gain of path loss alone [links].
        round: The sender's round.
    """

    def __init__(
        self,
        air: Air,
        channel: Channel,
        sender: int,
        receivers: Sequence[int],
        tx_power_w: float,
        mean_power: Floats,
        round: int,
    ) -> None:
        self._air = air
        self._channel = channel
        self._links = np.full(len(receivers), sender), np.array(receivers)
        self._tx_power_w = tx_power_w
        self._mean_power = mean_power
        self._round = round
        self._first, self._row = 0, 0
        self._snr: list[list[float]] = []

    def at(self, now_s: float) -> tuple[Sequence[float], float]:
        """Return the SNR of each link now, and how long it holds [s]."""
        found = self._channel.block(self._round, now_s)
        assert found is not None
        block, until_s = found
        self._row = block - self._first
        if not 0 <= self._row < len(self._snr):
            self._first, faded = self._channel.powers(*self._links, block)
            self._power_gain, air = self._mean_power * faded, self._air
            ratio = snr(self._tx_power_w, np.sqrt(self._power_gain), air.bandwidth_hz, air.noise_w_per_hz)
            self._snr, self._row = ratio.tolist(), block - self._first
        return self._snr[self._row], until_s

    def gains(self) -> Sequence[float]:
        """Return the amplitude gain of each link at the time of the last call of :meth:`at`."""
        return [*map(math.sqrt, self._power_gain[self._row].tolist())]

    def power_gain(self, link: int) -> float:
        """Return the power gain of a link, by its place, at the time of the last call of :meth:`at`."""
        return float(self._power_gain[self._row, link])


class Foreseen(NamedTuple):
    """Foreseen transfers of one sender; sequences are by link.

    Attributes:
        gain: Amplitude gain at the beginning.
        snr: Signal-to-noise ratio at the beginning.
        left_bits: Bits that are left at the end [bit]; more than zero is an outage.
        airtime_s: Time on the air [s].
        energy_j: Energy of the sender [J].
        end_s: End [s].
        last_gain: Power gain when it was last looked at.
        due_j: All energies of the sender in the order in which they are due [J].
    """

    gain: Sequence[float]
    snr: Sequence[float]
    left_bits: Sequence[float]
    airtime_s: Sequence[float]
    energy_j: Sequence[float]
    end_s: Sequence[float]
    last_gain: Sequence[float]
    due_j: Sequence[float]


def foresee(
    begin_s: float,
    sizes_bits: Sequence[float],
    outlook: Outlook,
    air: Air,
    tx_power_w: float,
    shared: bool,
    hopeless: Callable[[int], bool],
) -> Foreseen:
    """Compute transfers that begin at ``begin_s`` [s], to their ends.

    Args:
        begin_s: Their beginning [s].
        sizes_bits: Size of each [bit].
        outlook: Their links' gains.
        air: What the links have in common.
        tx_power_w: Transmit power [W].
        shared: Whether they share one band and the power; otherwise each has the whole band and all power.
        hopeless: Returns whether a link, by its place, is in outage for good.
    """
    count, rate_of = len(sizes_bits), air.rate.rate_bps
    left_bits, due_j, flying, now_s = [*sizes_bits], list[float](), [*range(count)], begin_s
    airtime_s, energy_j, end_s, last_gain = ([0.0] * count for _ in range(4))
    snr, until_s = outlook.at(now_s)
    weakest = min(snr, default=0.0)
    found = Foreseen(outlook.gains(), snr, left_bits, airtime_s, energy_j, end_s, last_gain, due_j)
    whole: list[tuple[float, float]] = []  # blocks in which all were on the air to the end; not added yet
    least_bits = 1e-9 * max(sizes_bits, default=0.0)  # more than rounding errors

    def add_up() -> None:
        for link in flying:
            for step_s, spent_j in whole:
                airtime_s[link] += step_s
                energy_j[link] += spent_j
        whole.clear()

    while flying:
        if now_s >= until_s:
            snr, until_s = outlook.at(now_s)
            weakest = min(snr)
        waiting: Sequence[int] = ()
        if weakest <= 0 or weakest < air.outage_snr:
            add_up()
            waiting = [link for link in flying if snr[link] <= 0 or snr[link] < air.outage_snr]
            for link in waiting:
                if math.isinf(until_s) or hopeless(link):
                    end_s[link], last_gain[link] = now_s, outlook.power_gain(link)
                    flying.remove(link)
        share = 1.0 / len(flying) if shared and flying else 1.0
        width_hz, power_w = air.bandwidth_hz * share, tx_power_w * share
        step_s = hold_s = until_s - now_s
        next_s = now_s + hold_s
        if waiting:
            rates_bps = [0.0 if link in waiting else rate_of(width_hz, snr[link]) for link in flying]
        else:
            rates_bps = [rate_of(width_hz, snr[link]) for link in flying]
            after = [left_bits[link] - rate * hold_s for link, rate in zip(flying, rates_bps, strict=True)]
            if min(after, default=0.0) > least_bits:
                for link, bits in zip(flying, after, strict=True):
                    left_bits[link] = bits
                spent_j = power_w * (next_s - now_s)
                whole.append((hold_s, spent_j))
                due_j += [spent_j] * len(flying)
                now_s = next_s
                continue
        add_up()
        needs_s = [
            left_bits[link] / rate if rate else math.inf for link, rate in zip(flying, rates_bps, strict=True)
        ]
        if (
            shared and now_s + min(needs_s, default=math.inf) < next_s
        ):  # the first end changes the others' rates
            next_s = now_s + min(needs_s)
            step_s = next_s - now_s
        step_j, ended, staying, staying_j = power_w * (next_s - now_s), [], [], []
        for link, rate_bps, need_s in zip(flying, rates_bps, needs_s, strict=True):
            if need_s <= hold_s and now_s + need_s <= next_s:
                ended.append((need_s, link))
                continue
            if rate_bps:
                bits = left_bits[link] = max(left_bits[link] - rate_bps * step_s, 0.0)
                spent_j = step_j if bits else power_w * step_s
                airtime_s[link] += step_s
                energy_j[link] += spent_j
                staying_j.append(spent_j)
                if not bits:  # by rounding
                    end_s[link], last_gain[link] = next_s, outlook.power_gain(link)
                    continue
            staying.append(link)
        for need_s, link in sorted(ended):
            spent_j = power_w * need_s
            due_j.append(spent_j)
            energy_j[link] += spent_j
            airtime_s[link] += need_s
            left_bits[link], end_s[link], last_gain[link] = 0.0, now_s + need_s, outlook.power_gain(link)
        due_j += staying_j
        flying, now_s = staying, next_s
    return found
