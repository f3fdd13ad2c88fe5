"""Rate of a link: from gain and bandwidth to SNR and rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

FloatOrArray = TypeVar("FloatOrArray", float, NDArray[np.float64])

BOLTZMANN_J_PER_K = 1.380649e-23


def thermal_noise_w_per_hz(temperature_k: float = 290.0) -> float:
    """Return the noise density of an ideal receiver, k_B T [W/Hz]; -173.98 dBm/Hz at 290 K."""
    return BOLTZMANN_J_PER_K * temperature_k


def snr(
    tx_power_w: float | FloatOrArray, gain: FloatOrArray, bandwidth_hz: float, noise_w_per_hz: float
) -> FloatOrArray:
    r"""Compute the signal-to-noise ratio :math:`p g^2 / (B N_0)` (DMML-KD, eq. 20).

    Args:
        tx_power_w: Transmit power in the band :math:`p` [W].
        gain: Amplitude gain :math:`g`, of one link or of several.
        bandwidth_hz: Bandwidth :math:`B` [Hz].
        noise_w_per_hz: Noise density :math:`N_0` [W/Hz].
    """
    return tx_power_w * gain * gain / (bandwidth_hz * noise_w_per_hz)


def shannon_rate_bps(bandwidth_hz: float, snr: float) -> float:
    r"""Compute the Shannon rate :math:`B \log_2(1 + \mathrm{SNR})` [bit/s]; base 2, since sizes are in bits."""
    return bandwidth_hz * math.log1p(snr) / math.log(2)


def shannon_rates_bps(bandwidth_hz: float, snr: Sequence[float]) -> NDArray[np.float64]:
    """Compute :func:`shannon_rate_bps` of several links [bit/s].

    The logarithm is Python's own for each element. NumPy's may differ from it in the last bit, and a transfer must
    take the same time in both computations.
    """
    return bandwidth_hz * np.array([*map(math.log1p, snr)]) / math.log(2)
