"""Conversion between decibels, used in scenarios and records, and SI units, used elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LARGEST_DB = 1000.0
"""Largest absolute value of a scenario's decibels; larger ones overflow as a power of ten."""


def db_to_power(value_db: float) -> float:
    """Return the power ratio of ``value_db`` decibels."""
    return 10.0 ** (value_db / 10.0)


def power_to_db(ratio: float) -> float:
    """Return the decibels of a power ratio; minus infinity for zero."""
    return 10.0 * math.log10(ratio) if ratio > 0 else -math.inf


def powers_to_db(ratios: Sequence[float]) -> NDArray[np.float64]:
    """Compute :func:`power_to_db` of several ratios with Python's logarithm; NumPy's may differ in the last bit."""
    if min(ratios, default=1.0) > 0:
        return 10.0 * np.array([*map(math.log10, ratios)])
    return np.array([power_to_db(ratio) for ratio in ratios])


def dbm_to_w(value_dbm: float) -> float:
    """Return the watts of ``value_dbm``: 0 dBm is 1 mW. Also converts densities: dBm/Hz to W/Hz."""
    return 1e-3 * db_to_power(value_dbm)
