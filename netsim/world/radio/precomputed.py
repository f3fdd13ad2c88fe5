"""Precomputed transfers: undisturbed transfers on all links of one sender."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from netsim.core.arrays import Floats
from netsim.world.devices.device import Device
from netsim.world.radio.air import Air
from netsim.world.radio.rate import snr
from netsim.world.radio.units import powers_to_db


class PrecomputedLinks:
    """Precomputed gains and rates of a sender's links over several rounds, with one gain per round and link.

    Gains are drawn for many rounds at once, so the rates are computed for many rounds at once. The operations are those
    of :meth:`netsim.world.radio.Radio.send`, in the same order, so the numbers agree to the last bit.

    Attributes:
        tx_power_w: Transmit power of each link [W].
        first_round: The round of the first row of all tables.
        power_gain: Power gain g², path loss included [rounds, links].
        gain: Amplitude gain g [rounds, links].
        snr_db: Signal-to-noise ratio [dB] [rounds, links].
        rate_bps: Rate [bit/s] [rounds, links].
        delivered: Whether a message is delivered; if not, the link is in outage and nothing is sent [rounds, links].
        all_delivered: Whether all messages of a round are delivered [rounds].
    """

    def __init__(self, air: Air, tx_power_w: float, power_gain: Floats, first_round: int) -> None:
        """Compute rates from ``power_gain`` [rounds, links], with a band and ``tx_power_w`` [W] for each link."""
        self.first_round = first_round
        self.power_gain = power_gain
        self.gain = np.sqrt(power_gain)
        ratio = snr(tx_power_w, self.gain, air.bandwidth_hz, air.noise_w_per_hz)
        ratios = ratio.ravel().tolist()
        self.snr_db = powers_to_db(ratios).reshape(ratio.shape)
        self.rate_bps = air.rate.rates_bps(air.bandwidth_hz, ratios).reshape(ratio.shape)
        self.delivered = np.asarray((ratio > 0) & (ratio >= air.outage_snr))
        self.all_delivered: list[bool] = np.all(self.delivered, axis=1).tolist()
        self.tx_power_w = tx_power_w
        self._usual: Airtimes | None = None

    def covers(self, round: int) -> bool:
        """Return whether ``round`` is one of the precomputed rounds."""
        return 0 <= round - self.first_round < len(self.all_delivered)

    def airtimes(self, size_bits: float) -> Airtimes:
        """Return the airtimes of messages of ``size_bits`` [bit]; those of the last size are kept."""
        if self._usual is None or self._usual.size_bits != size_bits:
            airtime_s = np.divide(
                size_bits, self.rate_bps, out=np.zeros_like(self.rate_bps), where=self.delivered
            )
            self._usual = Airtimes(
                size_bits,
                airtime_s,
                airtime_s.tolist(),
                airtime_s.max(axis=1).tolist(),
                self.tx_power_w * airtime_s,
            )
        return self._usual


class Airtimes(NamedTuple):
    """Airtimes and energies of messages of one size on :class:`PrecomputedLinks`; zero where nothing is sent.

    Attributes:
        size_bits: Their size [bit].
        airtime_s: Time on the air [s] [rounds, links].
        listed_s: The same as lists.
        longest_s: The longest of each round [s] [rounds].
        energy_j: Energy of the sender [J] [rounds, links].
    """

    size_bits: float
    airtime_s: Floats
    listed_s: list[list[float]]
    longest_s: list[float]
    energy_j: Floats


class Fan:
    """The links of one sender to a fixed set of receivers.

    Attributes:
        numbers: Receivers of undisturbed transfers.
        disturbed: The other receivers.
        receivers: ``numbers`` as an array [links].
        mean_power: Power gain of path loss alone [links].
        meters: Power meter of each of ``numbers``.
        precomputed: Precomputed gains and rates of ``numbers``; None before the first transfer.
        last: Power gain of each link at its last use [links].
        longest_s: Longest airtime at its last use [s].
        all_arrive: True for each link.
    """

    def __init__(self, receivers: tuple[int, ...], undisturbed: Sequence[Device], mean_power: Floats) -> None:
        self.numbers = tuple(device.number for device in undisturbed)
        self.disturbed = tuple(n for n in receivers if n not in self.numbers)
        self.receivers = np.array(self.numbers, dtype=np.int64)
        self.mean_power = mean_power
        self.meters = [device.unlimited for device in undisturbed if device.unlimited is not None]
        self.precomputed: PrecomputedLinks | None = None
        self.last: Floats | None = None
        self.longest_s = 0.0
        self.all_arrive = [True] * len(self.numbers)

    def gains(self) -> dict[int, float]:
        """Return the power gain of each link at its last use, by receiver."""
        return {} if self.last is None else dict(zip(self.numbers, self.last.tolist(), strict=True))
