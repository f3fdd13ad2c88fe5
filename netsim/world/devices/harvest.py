"""Harvesters: power from outside that charges a device's battery."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions, Options
from netsim.core.streams import stream
from netsim.core.table import rows_of_numbers

Piece = tuple[float, float]
"""A power [W], and the time until which it stays [s]."""


class Harvest(ABC):
    """A harvester of one device: its power at any time, constant between changes."""

    Options: ClassVar[type[Options]] = NoOptions

    def __init__(self, options: Any, device: int, seed: int) -> None:
        self.options = options
        self.device = device
        self.seed = seed

    @abstractmethod
    def power(self, now_s: float) -> Piece:
        """Return the power now [W], and the time until which it stays [s], which is later than now."""

    def can_come(self, after_s: float) -> bool:
        """Return whether it will ever give power after ``after_s`` [s]."""
        return True


class NoHarvest(Harvest):
    """No harvester: a battery is not charged."""

    def power(self, now_s: float) -> Piece:
        """Return nothing, for ever."""
        return 0.0, math.inf

    def can_come(self, after_s: float) -> bool:
        """Return False."""
        return False


class ConstantHarvest(Harvest):
    """A harvester of constant power."""

    class Options(Options):
        """Block ``devices.harvest`` with name ``constant``."""

        power_w: float = Field(ge=0, description="power harvested [W]")

    options: ConstantHarvest.Options

    def power(self, now_s: float) -> Piece:
        """Return the same power, for ever."""
        return self.options.power_w, math.inf

    def can_come(self, after_s: float) -> bool:
        """Return whether the power is more than nothing."""
        return self.options.power_w > 0


class ProfileHarvest(Harvest):
    """A harvester whose power is given at some times, and stays until the next one.

    Before the first time there is none. After the last one its power stays for ever, or the profile begins anew.
    """

    class Options(Options):
        """Block ``devices.harvest`` with name ``profile``."""

        steps: tuple[tuple[float, float], ...] | None = Field(
            None, min_length=1, description="time [s] and power from then on [W], in the order of times"
        )
        file: Path | None = Field(None, description="CSV file of the same, time_s, power_w in each line")
        period_s: float | None = Field(
            None, gt=0, description="length after which the profile begins anew [s]; null: it does not"
        )

        @field_validator("steps")
        @classmethod
        def _in_order(cls, steps: Any) -> Any:
            if steps and (text := _mistake(steps, None)):
                raise ValueError(text)
            return steps

        @model_validator(mode="after")
        def _one_source(self) -> ProfileHarvest.Options:
            if (self.steps is None) == (self.file is None):
                raise ValueError("steps: the profile is either here or in a file; set one of steps and file")
            if self.steps and (text := _mistake(self.steps, self.period_s)):
                raise ValueError(text)
            return self

    options: ProfileHarvest.Options

    def __init__(self, options: Any, device: int, seed: int) -> None:
        super().__init__(options, device, seed)
        steps = options.steps
        if options.file is not None:
            try:
                steps = [(time_s, power_w) for _, (time_s, power_w) in rows_of_numbers(options.file, 2)]
            except ScenarioError as error:
                raise ScenarioError(f"devices.harvest.file: {error}") from None
            if text := _mistake(steps, options.period_s):
                raise ScenarioError(f"devices.harvest.file: {options.file}: {text}")
        self._times_s, self._powers_w = map(list, zip(*steps, strict=True))

    def power(self, now_s: float) -> Piece:
        """Return the power of the last time that is not later than now."""
        period_s, times_s = self.options.period_s, self._times_s
        if period_s is None:
            place = bisect_right(times_s, now_s)
            until_s = times_s[place] if place < len(times_s) else math.inf
            return self._powers_w[place - 1] if place else 0.0, until_s
        begun = math.floor(now_s / period_s)
        begun += (begun + 1) * period_s <= now_s  # rounding
        ends_s = [begun * period_s + time_s for time_s in times_s]
        place = bisect_right(ends_s, now_s)
        until_s = ends_s[place] if place < len(ends_s) else (begun + 1) * period_s
        return self._powers_w[place - 1] if place else 0.0, until_s

    def can_come(self, after_s: float) -> bool:
        """Return whether a power above nothing is still to come, or stays."""
        if self.options.period_s is not None:
            return any(power_w > 0 for power_w in self._powers_w)
        return any(
            power_w > 0 for power_w in self._powers_w[max(bisect_right(self._times_s, after_s) - 1, 0) :]
        )


def _mistake(steps: Any, period_s: float | None) -> str:
    """Return what is wrong with a profile; nothing if it is right."""
    times_s = [time_s for time_s, _ in steps]
    if not steps:
        return "has no line of time_s, power_w"
    if times_s[0] < 0 or any(b <= a for a, b in pairwise(times_s)):
        return "times must be at least 0, and each later than the one before"
    for time_s, power_w in steps:
        if not power_w >= 0 or math.isinf(power_w):
            return f"power at {time_s:g} s: a harvester gives at least 0 W (got {power_w:g})"
    if period_s is not None and times_s[-1] >= period_s:
        return f"the last time, {times_s[-1]:g} s, must be before the period's end, {period_s:g} s"
    return ""


DAY_S = 86_400.0


class Solar(Harvest):
    r"""A solar panel: half a sine from sunrise to sunset, day after day, and clouds.

    Without clouds the panel gives :math:`\eta A G \sin(\pi (t - t_r)/(t_s - t_r))`, so a day has
    :math:`(2/\pi) \eta A G (t_s - t_r)` joules. The sine is cut into steps, each of which has the mean power of its
    part, so the energy of a day is exact whatever their length. In each block of ``cloud_s`` seconds the sky is cloudy
    with probability ``cloudy``, drawn from the device's own stream, or from one that all devices share.
    """

    class Options(Options):
        """Block ``devices.harvest`` with name ``solar``."""

        peak_w_per_m2: float = Field(
            1000.0, ge=0, description="irradiance at noon under a clear sky, G [W/m²]"
        )
        area_m2: float = Field(0.01, gt=0, description="area of the panel, A [m²]")
        efficiency: float = Field(0.2, gt=0, le=1, description="electric share of what shines on it, η")
        sunrise_h: float = Field(6.0, ge=0, lt=24, description="sunrise, t_r [h after midnight]")
        sunset_h: float = Field(18.0, gt=0, le=24, description="sunset, t_s [h after midnight]")
        start_h: float = Field(
            0.0, ge=0, lt=24, description="time of day as the run begins [h after midnight]"
        )
        step_s: float = Field(600.0, gt=0, description="longest time of constant power [s]")
        cloudy: float = Field(0.0, ge=0, le=1, description="probability that a block of time is cloudy")
        clouds_pass: float = Field(0.25, ge=0, le=1, description="share of the power that clouds let through")
        cloud_s: float = Field(3600.0, gt=0, description="length of a block of clear or cloudy sky [s]")
        sky: Literal["own", "shared"] = Field(
            "own", description="each device under its own clouds, or all under the same"
        )

        @model_validator(mode="after")
        def _day_has_light(self) -> Solar.Options:
            if self.sunset_h <= self.sunrise_h:
                raise ValueError(
                    f"sunset_h: must be after sunrise_h ({self.sunrise_h:g}), got {self.sunset_h:g}"
                )
            return self

    options: Solar.Options

    def __init__(self, options: Any, device: int, seed: int) -> None:
        super().__init__(options, device, seed)
        o = self.options
        self._light_s = (o.sunset_h - o.sunrise_h) * 3600
        self._steps = math.ceil(self._light_s / o.step_s)
        self._peak_w = o.peak_w_per_m2 * o.area_m2 * o.efficiency
        angle = math.pi / self._steps
        self._means_w = [
            self._peak_w * (math.cos(i * angle) - math.cos((i + 1) * angle)) / angle
            for i in range(self._steps)
        ]

    def power(self, now_s: float) -> Piece:
        """Return the mean power of the present step, less what clouds keep off."""
        o = self.options
        first_s = (o.sunrise_h - o.start_h) * 3600  # sunrise of day 0, maybe before the run
        day = math.floor((now_s - first_s) / DAY_S)
        day += first_s + (day + 1) * DAY_S <= now_s  # rounding
        begin_s = first_s + day * DAY_S
        length_s = self._light_s / self._steps
        step = math.floor((now_s - begin_s) / length_s)
        step += begin_s + (step + 1) * length_s <= now_s
        if step >= self._steps:
            return 0.0, begin_s + DAY_S
        power_w, until_s = self._means_w[step], begin_s + (step + 1) * length_s
        if o.cloudy > 0:
            block = math.floor(now_s / o.cloud_s)
            block += (block + 1) * o.cloud_s <= now_s
            until_s = min(until_s, (block + 1) * o.cloud_s)
            who = ("all",) if o.sky == "shared" else (self.device,)
            if stream(self.seed, "clouds", *who, block).random() < o.cloudy:
                power_w *= o.clouds_pass
        return power_w, until_s

    def can_come(self, after_s: float) -> bool:
        """Return whether it ever gives power."""
        o = self.options
        return self._peak_w > 0 and (o.cloudy < 1 or o.clouds_pass > 0)
