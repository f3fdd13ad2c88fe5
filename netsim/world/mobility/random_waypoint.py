"""Random waypoint: devices walk from one random point to the next."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from netsim.core.arrays import Floats, Whole
from netsim.core.philox import Draws
from netsim.world.mobility.mobility import Area, Moving, inside
from netsim.world.topology.placement import Positions


class RandomWaypoint(Moving):
    r"""Walks to a uniform random point at a uniform random speed, pauses there, and goes on to the next.

    The run begins in the stationary state (Navidi and Camp, IEEE Trans. Mobile Computing 3(1), 2004), wherever
    ``topology.placement`` puts the devices. A device pauses with probability :math:`P/(P + E[L] E[1/V])`, for a uniform
    part of the pause. Otherwise it is at a uniform point of a leg drawn with a density like its length, at a speed with
    a density like 1/v. So distributions of speed and position are those of all later times: there is no warm-up.

    Without pauses the mean speed is :math:`(b - a)/\ln(b/a)`. It tends to 0 with a, and the model with a = 0 has no
    stationary state: slow legs never end (Yoon, Liu and Noble 2003).
    """

    class Options(Area, Moving.Options):
        """Block ``mobility`` with name ``random_waypoint``."""

        diameter_m: float | None = Field(
            None,
            gt=0,
            description="instead of area_m: a disc around the origin, as placement `disc` has it [m]",
        )
        speed_mps: tuple[float, float] = Field(
            (0.5, 2.0), description="lowest and highest speed, uniform in between [m/s]"
        )
        pause_s: float = Field(0.0, ge=0, description="time at each point [s]")

        @model_validator(mode="after")
        def _moves_somewhere(self) -> Any:
            if (self.area_m is None) == (self.diameter_m is None):
                raise ValueError("must have either area_m, a rectangle, or diameter_m, a disc")
            low, high = self.speed_mps
            if not 0 < low <= high:
                raise ValueError(
                    f"speed_mps: must be lowest and highest speed, greater than 0 (got {[low, high]}); from 0 on there "
                    "is no stationary state, since the mean speed falls to 0 for ever"
                )
            return self

    options: RandomWaypoint.Options
    _from_m: Positions  # of each device's leg, and its times; the next begins after a pause
    _to_m: Positions
    _depart_s: Floats
    _arrive_s: Floats
    _next_s: Floats
    _time_s: float

    def __init__(self, options: Any, placed_m: Positions, seed: int) -> None:
        super().__init__(options, placed_m, seed)
        self._draws = Draws(seed, "waypoints")
        self._begin()

    def positions_m(self, time_s: float) -> Positions:
        """Return where the devices are at ``time_s`` [s] [m], [devices, 2]."""
        if time_s < self._time_s:
            self._begin()
        self._time_s = time_s
        while len(over := np.flatnonzero(self._next_s <= time_s)):
            self._walk_on(over)
        length_s = self._arrive_s - self._depart_s
        part = np.clip(
            np.divide(time_s - self._depart_s, length_s, out=np.ones_like(length_s), where=length_s > 0), 0, 1
        )
        return self._from_m + part[:, None] * (self._to_m - self._from_m)

    def speeds_mps(self) -> Floats:
        """Return the speed of each device at the time last asked for [m/s]; 0 in a pause."""
        walks = (self._depart_s <= self._time_s) & (self._time_s < self._arrive_s)
        length_m = np.hypot(*(self._to_m - self._from_m).T)
        return np.divide(length_m, self._arrive_s - self._depart_s, out=np.zeros_like(length_m), where=walks)

    def _walk_on(self, devices: Whole) -> None:
        """Let ``devices`` leave for their next points, at the end of their pauses."""
        self._leg[devices] += 1
        x, y, speed, _ = self._draws.of_many(devices, self._leg[devices], 0, 4)
        low, high = self.options.speed_mps
        self._from_m[devices] = self._to_m[devices]
        self._to_m[devices] = self._points(np.stack([x, y]))
        self._depart_s[devices] = self._next_s[devices]
        length_m = np.hypot(*(self._to_m[devices] - self._from_m[devices]).T)
        self._arrive_s[devices] = self._depart_s[devices] + length_m / (low + (high - low) * speed)
        self._next_s[devices] = self._arrive_s[devices] + self.options.pause_s

    def _points(self, uniform: Floats) -> Positions:
        """Return uniform points of the area [points, 2], from uniform numbers [2, points]."""
        if self.options.area_m is not None:
            return inside(uniform, self.options.area_m)
        radius_m = self.options.diameter_m / 2 * np.sqrt(uniform[0])  # type: ignore[operator]
        angle = 2 * math.pi * uniform[1]
        return np.column_stack([radius_m * np.cos(angle), radius_m * np.sin(angle)])

    def _begin(self) -> None:
        """Draw the stationary state at time 0; leg 0 is the one that a device is on."""
        count, (low, high) = len(self.placed_m), self.options.speed_mps
        self._time_s, self._leg = 0.0, np.zeros(count, dtype=np.int64)
        self._from_m, self._to_m = self._first_legs(count)
        numbers = np.arange(count)
        pauses, part, speed, _ = self._draws.of_many(numbers, self._leg, 0, 4)
        pause_s, length_m = self.options.pause_s, np.hypot(*(self._to_m - self._from_m).T)
        walking_s = self._mean_length_m() * (math.log(high / low) / (high - low) if high > low else 1 / low)
        duration_s = length_m / (low * (high / low) ** speed)
        self._depart_s = -part * duration_s
        self._arrive_s = self._depart_s + duration_s
        rests = pauses < pause_s / (pause_s + walking_s)
        # A device that rests is at a uniform point, not at the end of a leg that was drawn by its length.
        self._to_m[rests] = self._points(self._draws.of_many(numbers, self._leg, 4, 4)[:2])[rests]
        self._from_m[rests] = self._to_m[rests]
        self._depart_s[rests] = self._arrive_s[rests] = -pause_s * (1 - part[rests])
        self._next_s = self._arrive_s + pause_s

    def _first_legs(self, count: int) -> tuple[Positions, Positions]:
        """Draw legs with a density like their length: one of length L is kept with probability L / longest."""
        begin_m, end_m = np.zeros((2, count, 2))
        draws, left, attempt = Draws(self.seed, "first legs"), np.arange(count), 0
        while len(left):
            a, b, c, d, keep, *_ = draws.of_many(left, np.full_like(left, attempt), 0, 8)
            begin_m[left], end_m[left] = self._points(np.stack([a, b])), self._points(np.stack([c, d]))
            length_m = np.hypot(*(end_m[left] - begin_m[left]).T)
            left, attempt = left[keep * self._longest_m() >= length_m], attempt + 1
        return begin_m, end_m

    def _longest_m(self) -> float:
        if (area := self.options.area_m) is None:
            return float(self.options.diameter_m)  # type: ignore[arg-type]
        return math.hypot(area[2] - area[0], area[3] - area[1])

    def _mean_length_m(self) -> float:
        """Return the mean distance of two uniform points: 128 R / 45π in a disc; of a rectangle: Ghosh 1951."""
        if (area := self.options.area_m) is None:
            return 64 * self.options.diameter_m / (45 * math.pi)  # type: ignore[operator]
        a, b = area[2] - area[0], area[3] - area[1]
        d = math.hypot(a, b)
        return (a**3 / b**2 + b**3 / a**2 + d * (3 - a**2 / b**2 - b**2 / a**2)) / 15 + (
            b**2 / a * math.log((a + d) / b) + a**2 / b * math.log((b + d) / a)
        ) / 6
