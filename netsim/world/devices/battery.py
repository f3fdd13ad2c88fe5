"""An ideal battery."""

from __future__ import annotations

import math


class Battery:
    """An ideal battery: it neither leaks nor recharges.

    Attributes:
        capacity_j: Joules at the start [J]; infinite for unlimited power.
        spent_j: Joules taken out so far, by category of consumption [J].
    """

    EMPTY = 1e-12
    """A remainder below this share of the capacity counts as empty: it is a rounding error."""

    def __init__(self, capacity_j: float) -> None:
        self.capacity_j = capacity_j
        self.spent_j = {"compute": 0.0, "sending": 0.0, "receiving": 0.0, "idle": 0.0}

    @property
    def remaining_j(self) -> float:
        """Return the energy left [J]: the capacity less the energy of each category."""
        if self.capacity_j == math.inf:
            return math.inf
        return max(self.capacity_j - sum(self.spent_j.values()), 0.0)

    @property
    def empty(self) -> bool:
        """Return whether the battery is empty."""
        return not math.isinf(self.capacity_j) and self.remaining_j <= self.EMPTY * self.capacity_j

    def take(self, category: str, energy_j: float) -> float:
        """Take out ``energy_j``, or the energy left if that is less; return the energy taken [J]."""
        taken_j = min(energy_j, self.remaining_j)
        self.spent_j[category] += taken_j
        return taken_j
