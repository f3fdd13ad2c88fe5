"""The energy that a device has, as far as it can know before a round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Budget(NamedTuple):
    """A device's remaining energy and its costs, as far as the device can know before a round.

    Attributes:
        remaining_j: Energy left in the battery [J]; infinite for unlimited power.
        joules_per_flop: Energy of one FLOP on its processor [J].
        joules_per_bit: Energy of one bit to each neighbour at the last known gain [J/bit]. Before the first transfer it
            is the energy at the mean gain.
        iterations: The most local steps that a policy of the scenario allows; None: any number.
    """

    remaining_j: float
    joules_per_flop: float
    joules_per_bit: Mapping[int, float]
    iterations: int | None = None

    def at_most(self, steps: int) -> int:
        """Return ``steps``, or what the policy allows if that is less."""
        return steps if self.iterations is None else min(steps, self.iterations)
