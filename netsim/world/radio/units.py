"""Decibels at the door, SI inside."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LARGEST_DB = 1000.0
"""What is asked for in decibels is between minus this and this; powers of ten beyond it leave the range of numbers."""


def db_to_power(value_db: float) -> float:
    """Power ratio of ``value_db`` decibels."""
    return 10.0 ** (value_db / 10.0)


def power_to_db(ratio: float) -> float:
    """Decibels of a power ratio; minus infinity for zero."""
    return 10.0 * math.log10(ratio) if ratio > 0 else -math.inf


def powers_to_db(ratios: Sequence[float]) -> NDArray[np.float64]:
    """:func:`power_to_db` of several ratios, with Python's own logarithm: NumPy's may differ in the last bit."""
    if min(ratios, default=1.0) > 0:
        return 10.0 * np.array([*map(math.log10, ratios)])
    return np.array([power_to_db(ratio) for ratio in ratios])


def dbm_to_w(value_dbm: float) -> float:
    """Watts of ``value_dbm``: 0 dBm is 1 mW. Holds for densities too: dBm/Hz to W/Hz."""
    return 1e-3 * db_to_power(value_dbm)
