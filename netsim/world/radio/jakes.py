"""Fading of moving devices: correlated in time as Jakes' model says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from netsim.core.arrays import Floats, Whole
from netsim.core.philox import Draws
from netsim.world.radio.path_loss import SPEED_OF_LIGHT_M_PER_S
from netsim.world.radio.rician import Rician

WAVES = 64
"""Scattered waves. The power gain's distribution differs from the exponential one by 0.1 / WAVES at most."""

DRAWS = 2 * WAVES + 4
"""Uniform draws of a link: a direction and a phase of each wave and of a line of sight, rounded up to fours."""

AT_ONCE = 1 << 16
"""Waves that are computed together, so that they stay in a processor's cache."""


class Jakes(Rician):
    r"""Rayleigh fading of moving devices, with the autocorrelation :math:`J_0(2 \pi f_D \tau)` of Clarke and Jakes.

    The Doppler frequency is :math:`f_D = v f / c` at speed :math:`v` and carrier :math:`f`. A link's gain is a sum of
    :math:`N` = :data:`WAVES` sinusoids with random directions and phases (Xiao, Zheng and Beaulieu, "Novel
    sum-of-sinusoids simulation models for Rayleigh and Rician fading channels", IEEE Trans. Wireless Communications
    5(12), 2006, which improves Zheng and Xiao 2003),

    .. math:: z(t) = N^{-1/2} \sum_{n=1}^N e^{2 \pi j (f_D t \cos((2 \pi n + \theta_n) / N) + \varphi_n)},

    whose mean over links has the autocorrelation exactly. It is sampled at the beginning of each block of
    ``coherence_time_s``. Directions and phases are the link's own draws, so gains are a function of seed, link and
    time. A line of sight has a random direction and phase of its own.
    """

    class Options(Rician.Options):
        """Block ``radio.channel`` with name ``jakes``."""

        speed_m_per_s: float = Field(1.5, gt=0, description="relative speed of a link's ends v [m/s]")
        coherence_time_s: float | None = Field(
            None,
            gt=0,
            description="length of the blocks in which a gain holds [s]; null: a tenth of 1/f_D, after which the "
            "correlation is 0.90",
        )
        k_db: float | None = Field(
            None,
            ge=-1000,
            le=60,
            description="power of a line of sight over that of all other waves, K [dB]; null: none (Rayleigh)",
        )

    options: Jakes.Options

    def __init__(self, options: Any, seed: int, carrier_hz: float = 2.6e9) -> None:
        super().__init__(options, seed, carrier_hz)
        self._waves = Draws(seed, "fading", "waves")

    @property
    def doppler_hz(self) -> float:
        """Return the largest Doppler shift, v f/c [Hz]."""
        return self.options.speed_m_per_s * self.carrier_hz / SPEED_OF_LIGHT_M_PER_S

    @property
    def coherence_s(self) -> float:
        """Return the length of a block [s]."""
        return self.options.coherence_time_s or 0.1 / self.doppler_hz

    def of_one(self, a: int, b: int, first: int, count: int) -> Floats:
        """Return the gains of one link [count]."""
        return self._some(self._waves.of_one(a, b, 0, DRAWS)[:, np.newaxis], first, count)[:, 0]

    def of_many(self, a: Whole, b: Whole, first: int, count: int) -> Floats:
        """Return the gains of many links [count, links]."""
        some = max(AT_ONCE // (WAVES * count), 1)
        pieces = [slice(since, since + some) for since in range(0, len(a), some)]
        parts = [self._some(self._waves.of_many(a[i], b[i], 0, DRAWS), first, count) for i in pieces]
        return np.concatenate([np.empty((count, 0)), *parts], axis=1)

    def _some(self, drawn: Floats, first: int, count: int) -> Floats:
        """Return the gains [count, links] of links whose draws are given [DRAWS, links]."""
        drawn, waves = drawn[:, np.newaxis], np.arange(WAVES)[:, np.newaxis, np.newaxis]
        directions = np.concatenate(
            [(waves + drawn[:WAVES]) / WAVES, drawn[-4:-3]]
        )  # the last is the line of sight
        phases = np.concatenate([drawn[WAVES:-4], drawn[-3:-2]])
        cycles = self.doppler_hz * self.coherence_s * np.arange(first, first + count)[:, np.newaxis]
        turns = np.cos(2 * np.pi * directions) * cycles + phases
        angles = 2 * np.pi * (turns - np.floor(turns))
        power = np.zeros(angles.shape[1:])
        for part in (np.cos(angles), np.sin(angles)):
            *scattered, sight = part
            # Wave by wave, for a sum over an axis may be rounded in another order for one link than for many.
            amplitude = sum(scattered) / math.sqrt(WAVES) + math.sqrt(self._k) * sight
            power += amplitude * amplitude
        return self.mean_power / (self._k + 1) * power
