"""Rician fading: a line of sight beside what is scattered."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field

from netsim.core.arrays import Floats, Whole
from netsim.core.philox import Draws
from netsim.world.radio.fading import BlockFading
from netsim.world.radio.units import db_to_power


class Rician(BlockFading):
    r"""Rician block fading: :math:`g^2 = \Omega |\sqrt{K} + z|^2 / (K + 1)` with a complex normal :math:`z`, E|z|² = 1.

    K is the power of the line of sight over that of all scattered waves; the scattered power :math:`|z|^2` is the draw
    of Rayleigh fading. So the gains are those of ``rayleigh`` where K is 0 (minus infinity in dB).
    """

    class Options(BlockFading.Options):
        """Block ``radio.channel`` with name ``rician``."""

        k_db: float | None = Field(
            9.0,
            ge=-1000,
            le=60,
            description="power of the line of sight over that of all other waves, K [dB]; default: the mean of TR "
            "38.901 (UMi, UMa, Table 7.5-6); null: no line of sight",
        )

    options: Rician.Options

    def __init__(self, options: Any, seed: int, carrier_hz: float = 2.6e9) -> None:
        super().__init__(options, seed, carrier_hz)
        self._phases = Draws(seed, "fading", "phase")
        self._k = 0.0 if options.k_db is None else db_to_power(options.k_db)

    @cached_property
    def power_of_unit_amplitude(self) -> float:
        r"""Return :math:`1 / E[g]^2` at unit power, :math:`E[g] = \sqrt{\pi/(4(K+1))}\, L_{1/2}(-K)` (Rice 1948).

        With the Bessel functions scaled by :math:`e^{-K/2}`, :math:`L_{1/2}(-K) = (1 + K) I_0 + K I_1`.
        """
        from scipy import special  # takes longer to import than a scenario to check

        k = self._k
        laguerre = float((1 + k) * special.ive(0, k / 2) + k * special.ive(1, k / 2))
        return 4 * (k + 1) / (math.pi * laguerre**2)

    @cached_property
    def rare_power(self) -> float:
        """Return the gain that one of a million exceeds: 2 (K + 1) g² is chi-squared, non-central by 2 K."""
        from scipy import special

        return self.mean_power * float(special.chndtrix(1 - 1e-6, 2, 2 * self._k)) / (2 * (self._k + 1))

    def of_one(self, a: int, b: int, first: int, count: int) -> Floats:
        """Return the gains of one link's own draws [count]."""
        return self._gains(*(draws.of_one(a, b, first, count) for draws in (self._draws, self._phases)))

    def of_many(self, a: Whole, b: Whole, first: int, count: int) -> Floats:
        """Return the same of many links [count, links]."""
        return self._gains(*(draws.of_many(a, b, first, count) for draws in (self._draws, self._phases)))

    def _gains(self, uniform: Floats, phase: Floats) -> Floats:
        """Return gains where scattered waves have the power of ``uniform``, at ``phase`` to the line of sight."""
        scattered, k = -np.log1p(-uniform), self._k
        power = scattered + k + 2 * np.sqrt(k * scattered) * np.cos(2 * np.pi * phase)
        gains: Floats = self.mean_power / (k + 1) * np.maximum(power, 0.0)
        return gains
