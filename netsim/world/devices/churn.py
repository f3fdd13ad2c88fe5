"""Churn: when devices are away."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.streams import stream
from netsim.core.table import lines, number

Absence = tuple[float, float]
"""The times at which a device goes and comes back [s]; infinite if it does not come back."""


class Churn(ABC):
    """A rule that says when devices are away: switched off, without a part in anything.

    Every rule has arrivals and departures; a rule of its own adds absences in between (:meth:`absences_between`).
    """

    class Options(Options):
        """Options of all churn."""

        arrival_s: dict[int, float] = Field(
            {}, description="time at which a device comes, by its number [s]; others are there from the start"
        )
        departure_s: dict[int, float] = Field(
            {}, description="time at which a device goes for good, by its number [s]; others stay"
        )

    options: Churn.Options

    def __init__(self, options: Any, device_count: int, seed: int) -> None:
        self.options = options
        self.device_count = device_count
        self.seed = seed
        for key in ("arrival_s", "departure_s"):
            for device, time_s in getattr(options, key).items():
                if not 0 <= device < device_count:
                    raise ScenarioError(
                        f"devices.churn.{key}: no device {device}; devices are 0 to {device_count - 1}"
                    )
                if time_s < 0:
                    raise ScenarioError(f"devices.churn.{key}.{device}: must be at least 0 (got {time_s:g})")
        for device in options.departure_s:
            if not options.departure_s[device] > options.arrival_s.get(device, 0.0):
                raise ScenarioError(
                    f"devices.churn.departure_s.{device}: must be after the device's arrival "
                    f"({options.arrival_s.get(device, 0.0):g}), got {options.departure_s[device]:g}"
                )

    def absences(self, device: int) -> Iterator[Absence]:
        """Yield the absences of ``device``, one after the other, apart from each other; maybe without an end."""
        joined: Absence | None = None
        for from_s, to_s in self._overlapping(device):
            if joined and from_s <= joined[1]:
                joined = joined[0], max(joined[1], to_s)
                continue
            if joined:
                yield joined
            joined = from_s, to_s
        if joined:
            yield joined

    def _overlapping(self, device: int) -> Iterator[Absence]:
        comes_s = self.options.arrival_s.get(device, 0.0)
        goes_s = self.options.departure_s.get(device, math.inf)
        if comes_s > 0:
            yield 0.0, comes_s
        for from_s, to_s in self.absences_between(device):
            if from_s >= goes_s:
                break
            yield from_s, to_s
        if goes_s < math.inf:
            yield goes_s, math.inf

    def absences_between(self, device: int) -> Iterator[Absence]:
        """Yield the absences of ``device`` from the beginning of the run on, in the order of their beginnings."""
        yield from ()


class NoChurn(Churn):
    """No churn of its own: devices are there from their arrival to their departure, if any are given."""


class ExponentialChurn(Churn):
    """Crashes and returns at random: each device is there and away for exponential times, from its own stream."""

    class Options(Churn.Options):
        """Block ``devices.churn`` with name ``exponential``."""

        mean_here_s: float = Field(gt=0, description="mean time until a device that is there crashes [s]")
        mean_away_s: float = Field(gt=0, description="mean time until it is back [s]")

    options: ExponentialChurn.Options

    def absences_between(self, device: int) -> Iterator[Absence]:
        """Yield absences without an end; the first begins after an exponential time."""
        draw, now_s = stream(self.seed, "churn", device), 0.0
        while True:
            from_s = now_s + draw.exponential(self.options.mean_here_s)
            now_s = from_s + draw.exponential(self.options.mean_away_s)
            yield from_s, now_s


class TraceChurn(Churn):
    """Availability from a file: when each device is there."""

    class Options(Churn.Options):
        """Block ``devices.churn`` with name ``trace``."""

        file: Path = Field(
            description="CSV file: device, from_s, to_s in each line, one for each time that a device is there (to_s "
            "may be inf); a device without a line is always there"
        )

    options: TraceChurn.Options

    def __init__(self, options: Any, device_count: int, seed: int) -> None:
        super().__init__(options, device_count, seed)
        self._here: dict[int, list[Absence]] = {}
        try:
            self._read(options.file, device_count)
        except ScenarioError as error:
            raise ScenarioError(f"devices.churn.file: {error}") from None

    def _read(self, file: Path, device_count: int) -> None:
        """Read the times at which devices are there."""
        for place, words in lines(file, 3):
            if not words[0].isdecimal() or int(words[0]) >= device_count:
                raise ScenarioError(
                    f"{place}: {words[0]!r} is not the number of a device; devices are 0 to {device_count - 1}"
                )
            own = self._here.setdefault(int(words[0]), [])
            from_s, to_s = number(words[1]), number(words[2])
            if not 0 <= from_s < to_s:
                raise ScenarioError(f"{place}: must be from_s < to_s, from 0 on (got {', '.join(words[1:])})")
            if own and from_s < own[-1][1]:
                raise ScenarioError(
                    f"{place}: device {words[0]} is there from {from_s:g} s, but by the line before until "
                    f"{own[-1][1]:g} s; times of a device must be in order and apart"
                )
            own.append((from_s, to_s))

    def absences_between(self, device: int) -> Iterator[Absence]:
        """Yield the times between the lines of the device; after the last one it is away for good."""
        away_s = 0.0
        for from_s, to_s in self._here.get(device, [(0.0, math.inf)]):
            if from_s > away_s:
                yield away_s, from_s
            away_s = to_s
        if away_s < math.inf:
            yield away_s, math.inf
