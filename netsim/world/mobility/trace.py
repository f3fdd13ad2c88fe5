"""Mobility from a file: measured or computed ways."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from netsim.core.arrays import Floats, Whole
from netsim.core.errors import ScenarioError
from netsim.world.mobility.mobility import Moving
from netsim.world.topology.placement import Positions

COLUMNS = ("time_s", "device", "x_m", "y_m")


class Ways(NamedTuple):
    """Points of all devices, by device and time.

    Attributes:
        time_s: Time of each point [s] [points].
        places_m: Position of each [m] [points, 2].
        first: First point of each device, and the number of points at the end [devices + 1].
    """

    time_s: Floats
    places_m: Positions
    first: Whole


class Trace(Moving):
    """Ways from a file: each device goes straight from one given point to the next, from 0 s on."""

    class Options(Moving.Options):
        """Block ``mobility`` with name ``trace``."""

        file: Path = Field(
            description="a .csv or .parquet file with the columns time_s, device, x_m, y_m; rows in any order of "
            "devices, each device's in the order of time"
        )
        end: Literal["error", "hold"] = Field(
            "error",
            description="a way that ends before the run does: the run stops and says so (error), or the device stays "
            "where it is (hold)",
        )

    options: Trace.Options

    @classmethod
    def check(cls, options: Trace.Options, count: int) -> None:
        """Read the file, and check that it has a way for each device."""
        try:
            read_ways(options.file, count)
        except ScenarioError as error:
            raise ScenarioError(f"mobility.file: {error}") from None

    def __init__(self, options: Any, placed_m: Positions, seed: int) -> None:
        super().__init__(options, placed_m, seed)
        self._at: Whole = self._ways.first[:-1].copy()  # the point that each device was at last

    @cached_property
    def _ways(self) -> Ways:
        return read_ways(self.options.file, len(self.placed_m))

    def positions_m(self, time_s: float) -> Positions:
        """Return where the devices are at ``time_s`` [s] [m], [devices, 2].

        Raises:
            ScenarioError: A way has ended, and devices may not stay there.
        """
        times_s, places_m, first = self._ways
        last = first[1:] - 1
        if (times_s[self._at] > time_s).any():
            self._at = first[:-1].copy()
        over = np.flatnonzero(times_s[last] < time_s)
        if len(over) and self.options.end == "error":
            k = over[0]
            raise ScenarioError(
                f"mobility.file: {self.options.file}: the way of device {k} ends at {times_s[last[k]]:g} s, and the "
                f"run goes on at {time_s:g} s; give it a longer one, or let devices stay with mobility.end: hold"
            )
        while len(
            late := np.flatnonzero((self._at < last) & (times_s[np.minimum(self._at + 1, last)] <= time_s))
        ):
            self._at[late] += 1
        then = np.minimum(self._at + 1, last)
        length_s = times_s[then] - times_s[self._at]
        part = np.divide(
            time_s - times_s[self._at], length_s, out=np.zeros_like(length_s), where=length_s > 0
        )
        return places_m[self._at] + part[:, None] * (places_m[then] - places_m[self._at])


def read_ways(path: Path, count: int) -> Ways:
    """Read the ways of ``count`` devices.

    Raises:
        ScenarioError: The file cannot be read, a value is no number, a device is unknown or has no way, or its times do
            not begin with 0 and increase.
    """
    table = _read(path)
    device, numbers = table[1], np.stack([table[0], table[2], table[3]])
    for row in np.flatnonzero(~np.isfinite(numbers).all(axis=0))[:1]:
        raise ScenarioError(f"{path}: row {row + 1}: time_s, x_m and y_m must be numbers that are finite")
    for row in np.flatnonzero((device % 1 != 0) | ~((device >= 0) & (device < count)))[:1]:
        raise ScenarioError(
            f"{path}: row {row + 1}: {device[row]:g} is not the number of a device; devices are 0 to {count - 1}"
        )
    device = device.astype(np.int64)
    order = np.argsort(device, kind="stable")
    first = np.searchsorted(device[order], np.arange(count + 1))
    for k in np.flatnonzero(first[1:] == first[:-1])[:1]:
        raise ScenarioError(f"{path}: has no way for device {k}; each of the {count} devices needs one")
    time_s = numbers[0, order]
    for k in np.flatnonzero(time_s[first[:-1]] != 0)[:1]:
        raise ScenarioError(
            f"{path}: the way of device {k} begins at {time_s[first[k]]:g} s; each must begin at 0 s"
        )
    steps = np.diff(time_s) <= 0
    steps[first[1:-1] - 1] = False  # from one device to the next
    for place in np.flatnonzero(steps)[:1]:
        raise ScenarioError(
            f"{path}: row {order[place + 1] + 1}: the times of device {device[order[place]]} must increase (got "
            f"{time_s[place + 1]:g} s after {time_s[place]:g} s)"
        )
    return Ways(time_s, numbers[1:, order].T, first)


def _read(path: Path) -> list[Floats]:
    """Return the columns of a trace as numbers; nan for what is none."""
    import pandas as pd  # takes longer to import than a scenario to check

    kinds: dict[str, Any] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if path.suffix.lower() not in kinds:
        raise ScenarioError(f"{path}: must end in .csv or .parquet")
    try:
        table = kinds[path.suffix.lower()](path)
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # the readers raise errors of many kinds
        raise ScenarioError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise ScenarioError(f"{path}: has no column {missing[0]!r}; it must have {', '.join(COLUMNS)}")
    if not len(table):
        raise ScenarioError(f"{path}: has no rows")
    return [pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float) for name in COLUMNS]
