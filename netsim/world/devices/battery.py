"""Joules left."""

from __future__ import annotations

import math


class Battery:
    """An ideal battery: what is taken out is gone, nothing leaks, nothing comes back.

    Attributes:
        capacity_j: Joules at the start [J]; infinite for mains power.
        spent_j: Joules taken out so far, by category of consumption [J].
    """

    EMPTY = 1e-12
    """What is left counts as nothing below this share of the capacity: rounding, not energy."""

    def __init__(self, capacity_j: float) -> None:
        self.capacity_j = capacity_j
        self.spent_j = {"compute": 0.0, "sending": 0.0, "receiving": 0.0, "idle": 0.0}

    @property
    def remaining_j(self) -> float:
        """Joules left [J]: the capacity less what each category took."""
        if self.capacity_j == math.inf:
            return math.inf
        return max(self.capacity_j - sum(self.spent_j.values()), 0.0)

    @property
    def empty(self) -> bool:
        """Whether nothing is left."""
        return not math.isinf(self.capacity_j) and self.remaining_j <= self.EMPTY * self.capacity_j

    def take(self, category: str, energy_j: float) -> float:
        """Take out ``energy_j``, or what is left if that is less; returns what was taken [J]."""
        taken_j = min(energy_j, self.remaining_j)
        self.spent_j[category] += taken_j
        return taken_j
