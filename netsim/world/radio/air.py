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
        acknowledgement_bits: Size of the answer to a message that arrived [bit]; 0: it is free and sure.
    """

    bandwidth_hz: float
    noise_w_per_hz: float
    outage_snr: float = 0.0
    acknowledgement_bits: float = 0.0
