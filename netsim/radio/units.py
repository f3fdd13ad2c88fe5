"""Decibels at the door, SI inside."""

from __future__ import annotations

import math


def db_to_power(value_db: float) -> float:
    """Power ratio of ``value_db`` decibels."""
    return 10.0 ** (value_db / 10.0)


def power_to_db(ratio: float) -> float:
    """Decibels of a power ratio; minus infinity for zero."""
    return 10.0 * math.log10(ratio) if ratio > 0 else -math.inf


def dbm_to_w(value_dbm: float) -> float:
    """Watts of ``value_dbm``: 0 dBm is 1 mW. Holds for densities too: dBm/Hz to W/Hz."""
    return 1e-3 * db_to_power(value_dbm)
