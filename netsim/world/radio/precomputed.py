"""What will become of transfers that nothing can disturb, on all links of one sender."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netsim.world.devices.device import Device
from netsim.world.radio.air import Air
from netsim.world.radio.rate import shannon_rates_bps, snr
from netsim.world.radio.units import powers_to_db

Floats = NDArray[np.float64]


class Foresight:
    """A sender's links over some rounds to come, each of which has one gain for the whole round.

    Gains are drawn for many rounds at once, so what follows from them is computed for many rounds at once. The
    operations are those of :meth:`netsim.world.radio.Radio.send`, in the same order: the same numbers to the last bit.

    Attributes:
        first_round: The round of the first row of all tables.
        power_gain: Power gain g², path loss included [rounds, links].
        gain: Amplitude gain g [rounds, links].
        snr_db: Signal-to-noise ratio [dB] [rounds, links].
        rate_bps: Rate [bit/s] [rounds, links].
        delivered: Whether a message gets through; if not, the link is in outage and nothing is sent [rounds, links].
        all_delivered: Whether all of a round do [rounds].
    """

    def __init__(self, air: Air, tx_power_w: float, power_gain: Floats, first_round: int) -> None:
        """What ``power_gain`` [rounds, links] comes to in bands of their own, at ``tx_power_w`` [W] each."""
        self.first_round = first_round
        self.power_gain = power_gain
        self.gain = np.sqrt(power_gain)
        ratio = snr(tx_power_w, self.gain, air.bandwidth_hz, air.noise_w_per_hz)
        ratios = ratio.ravel().tolist()
        self.snr_db = powers_to_db(ratios).reshape(ratio.shape)
        self.rate_bps = shannon_rates_bps(air.bandwidth_hz, ratios).reshape(ratio.shape)
        self.delivered = np.asarray((ratio > 0) & (ratio >= air.outage_snr))
        self.all_delivered: list[bool] = np.all(self.delivered, axis=1).tolist()
        self._tx_power_w = tx_power_w
        self._usual: Airtimes | None = None

    def covers(self, round: int) -> bool:
        """Whether ``round`` is one of those that are foreseen."""
        return 0 <= round - self.first_round < len(self.all_delivered)

    def airtimes(self, size_bits: float) -> Airtimes:
        """What messages of ``size_bits`` [bit] take; they mostly have the size that they had before."""
        if self._usual is None or self._usual.size_bits != size_bits:
            airtime_s = np.divide(
                size_bits, self.rate_bps, out=np.zeros_like(self.rate_bps), where=self.delivered
            )
            self._usual = Airtimes(
                size_bits,
                airtime_s,
                airtime_s.tolist(),
                airtime_s.max(axis=1).tolist(),
                self._tx_power_w * airtime_s,
            )
        return self._usual


class Airtimes(NamedTuple):
    """What messages of one size take on the links of a :class:`Foresight`; nothing where nothing is sent.

    Attributes:
        size_bits: Their size [bit].
        airtime_s: Time on the air [s] [rounds, links].
        listed_s: The same as lists.
        longest_s: The longest of each round [s] [rounds].
        energy_j: What the sender spends [J] [rounds, links].
    """

    size_bits: float
    airtime_s: Floats
    listed_s: list[list[float]]
    longest_s: list[float]
    energy_j: Floats


class Fan:
    """The links of one sender to some receivers, always the same ones.

    Attributes:
        numbers: Receivers of transfers that nothing can disturb.
        disturbed: The other receivers.
        receivers: ``numbers`` as an array [links].
        mean_power: Power gain of path loss alone [links].
        meters: Of each of ``numbers``.
        seen: What is foreseen.
        last: Power gain of each link when it was last used [links].
        longest_s: The longest time on the air when it was last used [s].
        all_arrive: True for each link.
    """

    def __init__(self, receivers: tuple[int, ...], undisturbed: Sequence[Device], mean_power: Floats) -> None:
        self.numbers = tuple(device.number for device in undisturbed)
        self.disturbed = tuple(n for n in receivers if n not in self.numbers)
        self.receivers = np.array(self.numbers, dtype=np.int64)
        self.mean_power = mean_power
        self.meters = [device.mains for device in undisturbed if device.mains is not None]
        self.seen: Foresight | None = None
        self.last: Floats | None = None
        self.longest_s = 0.0
        self.all_arrive = [True] * len(self.numbers)

    def gains(self) -> dict[int, float]:
        """Power gain of each link when it was last used, by receiver."""
        return {} if self.last is None else dict(zip(self.numbers, self.last.tolist(), strict=True))
