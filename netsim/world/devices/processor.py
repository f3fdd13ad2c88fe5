"""A processor: FLOPs to seconds and joules."""

from __future__ import annotations

from functools import cached_property

from pydantic import Field

from netsim.core.options import Options


class Processor(Options):
    r"""A processor with dynamic power only (DMML-KD, eq. 20; Burd and Brodersen 1996).

    C FLOPs take :math:`C / (f e)` seconds and :math:`\varepsilon f^2 C / e` joules: C / e cycles at
    :math:`\varepsilon f^2` joules each.
    """

    frequency_hz: float = Field(1e9, gt=0, description="clock frequency f [Hz]")
    flops_per_cycle: float = Field(4.0, gt=0, description="FLOPs per cycle e")
    effective_capacitance_f: float = Field(2e-28, ge=0, description="effective capacitance ε [F]")

    @cached_property
    def flops_per_s(self) -> float:
        """Return the speed [FLOP/s]."""
        return self.frequency_hz * self.flops_per_cycle

    def time_s(self, flops: float) -> float:
        """Return the time of ``flops`` FLOPs [s]."""
        return flops / self.flops_per_s

    @cached_property
    def joules_per_flop(self) -> float:
        """Return the energy of one FLOP [J]: 5e-11 J with the paper's values."""
        return self.effective_capacitance_f * self.frequency_hz**2 / self.flops_per_cycle

    def energy_j(self, flops: float) -> float:
        """Return the energy of ``flops`` FLOPs [J]."""
        return self.joules_per_flop * flops
