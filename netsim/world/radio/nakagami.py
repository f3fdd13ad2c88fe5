"""Nakagami-m fading: milder than Rayleigh's for m > 1, harder for m < 1."""

from __future__ import annotations

import math
from functools import cached_property

from pydantic import Field

from netsim.core.arrays import Floats
from netsim.world.radio.fading import BlockFading, IndependentBlocks


class Nakagami(IndependentBlocks):
    r"""Nakagami-m block fading, whose power gain has a gamma distribution of shape m; m = 1 is Rayleigh fading.

    A share :math:`u` of all gains is below :math:`\Omega P^{-1}(m, u) / m`, with mean :math:`\Omega` and the
    regularised lower incomplete gamma function :math:`P` (Nakagami, "The m-distribution", 1960).
    """

    class Options(BlockFading.Options):
        """Block ``radio.channel`` with name ``nakagami``."""

        m: float = Field(2.0, ge=0.5, le=1e6, description="shape m of the fading; 1: Rayleigh")

    options: Nakagami.Options

    @cached_property
    def power_of_unit_amplitude(self) -> float:
        """Return m Γ(m)² / Γ(m + 1/2)²."""
        m = self.options.m
        return m * math.exp(2 * (math.lgamma(m) - math.lgamma(m + 0.5)))

    @cached_property
    def rare_power(self) -> float:
        """Return the gain that one of a million exceeds."""
        from scipy import special  # takes longer to import than a scenario to check

        return self.mean_power * float(special.gammainccinv(self.options.m, 1e-6)) / self.options.m

    def quantiles(self, uniform: Floats) -> Floats:
        """Return the quantiles of the gamma distribution."""
        from scipy import special

        scale = self.mean_power / self.options.m
        gains: Floats = scale * special.gammaincinv(self.options.m, uniform)
        return gains
