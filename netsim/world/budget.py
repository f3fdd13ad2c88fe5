"""What a device can know of its energy before a round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Budget(NamedTuple):
    """What a device's battery allows, as far as the device can know before a round.

    Attributes:
        remaining_j: Joules left [J]; infinite for unlimited power.
        joules_per_flop: Energy of one FLOP on its processor [J].
        joules_per_bit: Energy of one bit to each neighbour at the gain it last saw [J/bit]. A neighbour
            that was never heard is rated at its mean gain.
    """

    remaining_j: float
    joules_per_flop: float
    joules_per_bit: Mapping[int, float]
