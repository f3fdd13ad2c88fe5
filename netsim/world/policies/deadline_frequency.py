"""Policy of the lowest frequency that is in time."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from netsim.core.options import Options
from netsim.world.policies.policy import Policy, Sight


class DeadlineFrequencyOptions(Options):
    """Block ``policies.cpu_frequency`` with name ``deadline_frequency``."""

    deadline_s: float = Field(gt=0, description="time in which to compute and send [s]")


class DeadlineFrequency(Policy):
    r"""The lowest frequency with which a round is done in time, if it sends for as long as it did last.

    It is :math:`f = C / (e (T - t))` for C FLOPs, e FLOPs per cycle, T seconds, and t seconds of sending in the last
    round (0 before the first); the next higher one of a list. If none is in time, it is the highest one.
    """

    Options: ClassVar[type[Options]] = DeadlineFrequencyOptions
    options: DeadlineFrequencyOptions

    def cpu_frequency(self, sight: Sight) -> float:
        """Return the lowest frequency that is in time [Hz]."""
        left_s = self.options.deadline_s - (sight.last.sending_s if sight.last else 0.0)
        if left_s <= 0 or not sight.cycles:
            return sight.top_hz
        needed_hz = sight.cycles / left_s
        if sight.frequencies_hz is None:
            return min(needed_hz, sight.top_hz)
        return next((one for one in sight.frequencies_hz if one >= needed_hz * (1 - 1e-12)), sight.top_hz)
