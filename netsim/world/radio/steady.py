"""Links whose gains hold for a whole round, looked up for many rounds at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netsim.core.arrays import Floats, Whole
from netsim.world.radio.air import Air
from netsim.world.radio.fading import Channel
from netsim.world.radio.rate import snr


class Gains(NamedTuple):
    """Gains of some links in one round.

    Attributes:
        power_gain: Power gain g², path loss included [links].
        gain: Amplitude gain g [links].
        snr: Signal-to-noise ratio with all power spread over the whole band [links].
    """

    power_gain: Floats
    gain: Floats
    snr: Floats


class SteadyLinks:
    """Links, each from its sender to its receiver, on a steady channel.

    Args:
        air: What the links have in common.
        channel: Their fading.
        senders: Number of each link's sender.
        receivers: Number of each link's receiver.
        tx_power_w: Transmit power of each link's sender [W].
        mean_power: Power gain of each link's path loss alone.
    """

    def __init__(
        self,
        air: Air,
        channel: Channel,
        senders: Whole,
        receivers: Whole,
        tx_power_w: Floats,
        mean_power: Floats,
    ) -> None:
        self.senders = senders
        self.receivers = receivers
        self._air = air
        self._channel = channel
        self.tx_power_w = tx_power_w
        self._mean_power = mean_power
        self._first_round = 0
        self._faded: Floats | None = None  # power gains relative to path loss [rounds, links]

    def gains(self, round: int) -> Gains:
        """Return the gains of ``round``; no use of the links is noted."""
        if self._faded is None or not 0 <= round - self._first_round < len(self._faded):
            self._first_round, self._faded = self._channel.powers(self.senders, self.receivers, round)
        power_gain = self._mean_power * self._faded[round - self._first_round]
        gain, air = np.sqrt(power_gain), self._air
        return Gains(power_gain, gain, snr(self.tx_power_w, gain, air.bandwidth_hz, air.noise_w_per_hz))
