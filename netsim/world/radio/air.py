"""Properties common to all links."""

from __future__ import annotations

from dataclasses import dataclass

from netsim.world.radio.rate import SHANNON, Rate


@dataclass(frozen=True)
class Air:
    """Properties common to all links.

    Attributes:
        bandwidth_hz: Bandwidth B of a band [Hz].
        noise_w_per_hz: Noise density N0 [W/Hz].
        outage_snr: SNR below which a link is in outage; 0 for no outage.
        acknowledgement_bits: Size of the answer to a delivered message [bit]; 0: it is free and always arrives.
        rate: Rate of a transfer, from its bandwidth and SNR.
        antenna_gain_db: Gain of the antennas of both ends of a link together [dB].
    """

    bandwidth_hz: float
    noise_w_per_hz: float
    outage_snr: float = 0.0
    acknowledgement_bits: float = 0.0
    rate: Rate = SHANNON
    antenna_gain_db: float = 0.0
