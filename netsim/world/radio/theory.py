"""Closed forms for tests of the radio (docs/physics.md); the simulator does not use them."""

from __future__ import annotations

import math

import numpy as np
from scipy import special


def ergodic_capacity_bps_per_hz(mean_snr: float) -> float:
    r"""Compute the mean Shannon rate over Rayleigh fading, :math:`e^{1/s} E_1(1/s) / \ln 2` [bit/s/Hz].

    Alouini and Goldsmith 1999. Below about -28 dB :math:`e^{1/s}` overflows, so the scaled exponential integral is
    taken there by its asymptotic series.
    """
    x = 1.0 / mean_snr
    if x < 600:
        return float(math.exp(x) * special.exp1(x) / math.log(2))
    return (1 / x) * (1 - 1 / x + 2 / x**2 - 6 / x**3) / math.log(2)


def outage_probability(threshold_snr: float, mean_snr: float) -> float:
    r"""Compute the probability that a Rayleigh link's SNR is below ``threshold_snr``: :math:`1 - e^{-\gamma / s}`."""
    return -math.expm1(-threshold_snr / mean_snr)


def transfer_time_quantile_s(q: float, size_bits: float, bandwidth_hz: float, mean_snr: float) -> float:
    r"""Compute a quantile of the airtime of one transfer with one Rayleigh draw [s].

    :math:`T = S / (B \log_2(1 + s X))`, :math:`X \sim \mathrm{Exp}(1)`, falls in :math:`X`, so its q-quantile is at
    :math:`X = -\ln q`. The mean of :math:`T` does not exist: P(T > t) falls like 1/t.
    """
    return size_bits / (bandwidth_hz * math.log2(1 + mean_snr * -math.log(q)))


def linked_probability(range_over_radius: float) -> float:
    r"""Compute the probability that two uniform points in a disc of radius R are within r, as a function of r/R.

    At r = R it is :math:`1 - 3\sqrt{3}/(4\pi) = 0.5865`; times n - 1 it is the mean degree.
    """
    x = min(range_over_radius, 2.0)
    return (
        1
        + (2 / math.pi) * (x * x - 1) * math.acos(x / 2)
        - (x / math.pi) * (1 + x * x / 2) * math.sqrt(1 - x * x / 4)
    )


def harmonic_number(n: int) -> float:
    """Compute H_n: the mean of the slowest of n i.i.d. exponential stragglers is H_n times their mean."""
    return float(np.sum(1.0 / np.arange(1, n + 1)))
