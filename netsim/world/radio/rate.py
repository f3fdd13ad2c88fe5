"""Rate of a link: from gain and bandwidth to SNR and rate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from netsim.core.options import NoOptions, Options
from netsim.world.radio.blocks import Blocks
from netsim.world.radio.units import db_to_power

FloatOrArray = TypeVar("FloatOrArray", float, NDArray[np.float64])

BOLTZMANN_J_PER_K = 1.380649e-23
_LN2 = math.log(2)


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
    return bandwidth_hz * math.log1p(snr) / _LN2


def shannon_rates_bps(bandwidth_hz: float, snr: Sequence[float]) -> NDArray[np.float64]:
    """Compute :func:`shannon_rate_bps` of several links [bit/s].

    The logarithm is Python's own for each element. NumPy's may differ from it in the last bit, and a transfer must
    take the same time in both computations.
    """
    logarithms = np.fromiter(map(math.log1p, snr), dtype=float, count=len(snr))
    return bandwidth_hz * logarithms / _LN2


class Rate(ABC):
    """A model of the rate of a transfer: of its bandwidth and its signal-to-noise ratio.

    Attributes:
        Options: The model of the scenario's block.
        lossy: Whether parts of a message can get lost on the way; then it comes in :meth:`blocks`.
        answer_s: Time until a sender knows which blocks it must send again [s].
        seed: The run's seed.
    """

    Options: ClassVar[type[Options]] = NoOptions
    lossy: ClassVar[bool] = False

    def __init__(self, options: Any, seed: int) -> None:
        self.options = options
        self.seed = seed

    @property
    def answer_s(self) -> float:
        """Return the time: none, unless the options say another."""
        return float(getattr(self.options, "answer_s", 0.0))

    @property
    def least_snr(self) -> float:
        """Return the signal-to-noise ratio below which nothing gets through; from there on the rate is positive."""
        return 0.0

    @abstractmethod
    def rate_bps(self, bandwidth_hz: float, snr: float) -> float:
        """Return the rate of one transfer [bit/s]."""

    def rates_bps(self, bandwidth_hz: float, snr: Sequence[float]) -> NDArray[np.float64]:
        """Return the rate of several transfers [bit/s], to the last bit as :meth:`rate_bps` does."""
        return np.array([self.rate_bps(bandwidth_hz, ratio) for ratio in snr], dtype=float)

    def loss(self, snr: float, worst: float | None = None) -> float:
        """Return the probability that a block is lost, sent as suits the SNR ``worst``, by default ``snr`` itself."""
        return 0.0

    def blocks(self, size_bits: float, receivers: int, *name: str | int) -> Blocks | None:
        """Return the blocks of the next message called ``name``, to so many receivers; None if it has none.

        Its draws belong to kind, sender, receiver, round, which are the name, and the number of messages of that name.
        """
        return None


class Shannon(Rate):
    r"""Shannon's rate, :math:`B \log_2(1 + \mathrm{SNR}/\Gamma)`, with an optional gap :math:`\Gamma` and a cap.

    3GPP TR 36.942, Annex A.2, approximates LTE with the like: 0.6 of Shannon's rate, at most 4.4 bit/s/Hz.
    """

    class Options(Options):
        """Block ``radio.rate`` with name ``shannon``."""

        gap_db: float = Field(
            0.0, ge=0, le=1000, description="what the code lacks to capacity, as a loss of SNR Γ [dB]"
        )
        cap_bps_per_hz: float | None = Field(
            None, gt=0, description="largest rate, of the densest modulation [bit/s/Hz]; null: unlimited"
        )

    options: Shannon.Options

    def __init__(self, options: Any, seed: int) -> None:
        super().__init__(options, seed)
        self._gap = db_to_power(options.gap_db)
        self._cap = math.inf if options.cap_bps_per_hz is None else options.cap_bps_per_hz

    def rate_bps(self, bandwidth_hz: float, snr: float) -> float:
        """Return the rate of one transfer [bit/s]."""
        return min(shannon_rate_bps(bandwidth_hz, snr / self._gap), self._cap * bandwidth_hz)

    def rates_bps(self, bandwidth_hz: float, snr: Sequence[float]) -> NDArray[np.float64]:
        """Return the rate of several transfers [bit/s]."""
        if self._gap != 1.0:
            snr = [ratio / self._gap for ratio in snr]
        rates_bps = shannon_rates_bps(bandwidth_hz, snr)
        return rates_bps if math.isinf(self._cap) else np.minimum(rates_bps, self._cap * bandwidth_hz)


SHANNON = Shannon(Shannon.Options(), 0)
"""Without gap and cap."""
