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
    """

    remaining_j: float
    joules_per_flop: float
    joules_per_bit: Mapping[int, float]
