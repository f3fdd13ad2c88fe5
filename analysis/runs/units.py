"""Readable units for seconds and joules in output; values elsewhere stay SI."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

TIME_UNITS = ((0.1, 1e-3, "ms"), (600.0, 1.0, "s"), (3600.0, 60.0, "min"), (np.inf, 3600.0, "h"))
ENERGY_UNITS = ((0.1, 1e-3, "mJ"), (1e3, 1.0, "J"), (1e6, 1e3, "kJ"), (np.inf, 1e6, "MJ"))
UNITS = {"_s": TIME_UNITS, "_j": ENERGY_UNITS}


def time_unit(largest_s: float) -> tuple[float, str]:
    """Return the factor [s] and the name of a unit of time for values up to ``largest_s``."""
    return choose(TIME_UNITS, largest_s)


def energy_unit(largest_j: float) -> tuple[float, str]:
    """Return the factor [J] and the name of a unit of energy for values up to ``largest_j``."""
    return choose(ENERGY_UNITS, largest_j)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its ``_s`` and ``_j`` columns in one suitable unit each, named in the heading.

    The unit suits the typical value (the median), not the largest: one transfer in a deep fade must not change the
    unit of all others from seconds to hours.
    """
    table = table.copy()
    for suffix, units in UNITS.items():
        names = [name for name in table.columns if str(name).endswith(suffix)]
        values = np.abs(table[names].to_numpy(dtype=float)).ravel() if names else np.array([])
        values = values[np.isfinite(values) & (values > 0)]
        factor, unit = choose(units, float(np.median(values)) if len(values) else 1.0)
        for name in names:
            table[name] = table[name] / factor
        table = table.rename(columns={name: f"{name.removesuffix(suffix)} [{unit}]" for name in names})
    return table.rename(columns=lambda name: str(name).replace("_", " "))


def largest(values: Iterable[float]) -> float:
    """Return the largest finite value; 1 if there is none."""
    finite = [value for value in values if np.isfinite(value)]
    return max(finite, default=1.0) or 1.0


def choose(units: tuple[tuple[float, float, str], ...], value: float) -> tuple[float, str]:
    """Return factor and name of the unit that suits a value, of those in ``units``."""
    return next((factor, name) for below, factor, name in units if value < below)
