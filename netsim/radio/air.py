"""What all links have in common."""

from __future__ import annotations

from dataclasses import dataclass


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
