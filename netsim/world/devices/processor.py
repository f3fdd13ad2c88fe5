"""A processor: FLOPs to seconds and joules."""

from __future__ import annotations

from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from netsim.core.options import Options

Governor = Literal["fixed", "race_to_idle", "just_in_time"]
FREQUENCIES = "clock frequencies that it can run at, ascending [Hz]; null: any"
GOVERNOR = (
    "which frequency a computation runs at: frequency_hz (fixed), the highest listed one (race_to_idle), or the lowest "
    "listed one that meets compute_deadline_s, and the highest if none does (just_in_time)"
)


class Processor(Options):
    r"""A processor with dynamic and static power (DMML-KD, eq. 20; Burd and Brodersen 1996).

    At frequency f, C FLOPs take :math:`C / (f e)` seconds and :math:`\varepsilon f^2 C / e` joules: C / e cycles at
    :math:`\varepsilon f^2` joules each. The static power :math:`P_0` is drawn for as long as it computes. So a FLOP
    costs least at :math:`f^* = (P_0 / 2\varepsilon)^{1/3}`.
    """

    frequency_hz: float = Field(1e9, gt=0, description="clock frequency f [Hz]")
    flops_per_cycle: float = Field(4.0, gt=0, description="FLOPs per cycle e")
    effective_capacitance_f: float = Field(2e-28, ge=0, description="effective capacitance ε [F]")
    static_power_w: float = Field(0.0, ge=0, description="power drawn while computing at any frequency [W]")
    frequencies_hz: tuple[float, ...] | None = Field(None, min_length=1, description=FREQUENCIES)
    governor: Governor = Field("fixed", description=GOVERNOR)
    compute_deadline_s: float | None = Field(
        None, gt=0, description="time in which a round's computation is to be done [s], for just_in_time"
    )

    @model_validator(mode="after")
    def _frequencies_fit(self) -> Self:
        listed = self.frequencies_hz
        if listed is None:
            if self.governor != "fixed":
                raise ValueError(f"governor: {self.governor!r} chooses from a list; set frequencies_hz")
        elif min(listed) <= 0 or list(listed) != sorted(set(listed)):
            raise ValueError("frequencies_hz: must be positive and ascending, each once")
        elif self.governor == "fixed" and self.frequency_hz not in listed:
            raise ValueError(
                f"frequency_hz: {self.frequency_hz:g} is not one of frequencies_hz: "
                f"{', '.join(f'{one:g}' for one in listed)}"
            )
        if (self.governor == "just_in_time") != (self.compute_deadline_s is not None):
            raise ValueError(
                "compute_deadline_s: just_in_time needs it, and no other governor does "
                f"(got governor {self.governor!r}, compute_deadline_s {self.compute_deadline_s})"
            )
        return self

    @cached_property
    def steady(self) -> bool:
        """Return whether all computations run at one frequency."""
        return self.governor != "just_in_time"

    @cached_property
    def top_hz(self) -> float:
        """Return the frequency of all computations or, if they differ, the highest one [Hz]."""
        return self.frequency_hz if self.governor == "fixed" else max(self.frequencies_hz or ())

    @cached_property
    def highest_hz(self) -> float:
        """Return the highest frequency that it can run at [Hz]."""
        return max(self.frequencies_hz or (self.frequency_hz,))

    @property
    def most_dynamic_w(self) -> float:
        """Return the dynamic power of computing at the highest frequency [W]."""
        return self.effective_capacitance_f * self.highest_hz**3

    def clock_hz(self, flops: float) -> float:
        """Return the frequency at which ``flops`` FLOPs are computed [Hz]."""
        if self.compute_deadline_s is None:
            return self.top_hz
        needed_hz = flops / self.flops_per_cycle / self.compute_deadline_s * (1 - 1e-12)
        return next((one for one in self.frequencies_hz or () if one >= needed_hz), self.top_hz)

    @cached_property
    def flops_per_s(self) -> float:
        """Return the speed at the frequency ``top_hz`` [FLOP/s]."""
        return self.top_hz * self.flops_per_cycle

    @cached_property
    def dynamic_joules_per_flop(self) -> float:
        """Return the dynamic energy of one FLOP at the frequency ``top_hz`` [J]: 5e-11 J with the paper's values."""
        return self._dynamic_j(self.top_hz)

    @cached_property
    def joules_per_flop(self) -> float:
        """Return the energy of one FLOP at the frequency ``top_hz``, static power included [J]."""
        return self.dynamic_joules_per_flop + self.static_power_w / self.flops_per_s

    def time_s(self, flops: float) -> float:
        """Return the time of ``flops`` FLOPs [s]."""
        return flops / (self.flops_per_s if self.steady else self.clock_hz(flops) * self.flops_per_cycle)

    def dynamic_j(self, flops: float) -> float:
        """Return the dynamic energy of ``flops`` FLOPs [J]."""
        return (
            self.dynamic_joules_per_flop if self.steady else self._dynamic_j(self.clock_hz(flops))
        ) * flops

    def energy_j(self, flops: float) -> float:
        """Return the energy of ``flops`` FLOPs, static power included [J]."""
        return self.dynamic_j(flops) + self.static_power_w * self.time_s(flops)

    def _dynamic_j(self, frequency_hz: float) -> float:
        """Return the dynamic energy of one FLOP [J]."""
        return self.effective_capacitance_f * frequency_hz**2 / self.flops_per_cycle
