"""Points of a sweep: values of keys that are drawn, from ranges and lists."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from netsim.core.options import Options
from netsim.core.streams import stream

MOST_RUNS = 100_000
"""Runs that a sweep may have."""

Direction = Literal["minimize", "maximize"]
"""As Optuna calls it."""


class Range(Options):
    """Numbers between two ends."""

    low: float = Field(description="lowest value")
    high: float = Field(description="highest value")
    log: bool = Field(False, description="whether values are spread evenly in their logarithm")
    whole: bool = Field(False, description="whether values are whole numbers")

    @model_validator(mode="after")
    def _ends(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must be below high, and above 0 where log is true")
        return self

    def at(self, place: float) -> float | int:
        """Return the value at ``place``, from 0 to 1."""
        if self.log:
            value = math.exp(math.log(self.low) + place * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + place * (self.high - self.low)
        return self.of(value)

    def of(self, value: float) -> float | int:
        """Return ``value`` as a scenario gets it: whole, or with six digits."""
        return round(value) if self.whole else float(f"{value:.6g}")


class Sample(Options):
    """Points drawn from ranges and lists."""

    count: int = Field(ge=1, le=MOST_RUNS, description="number of points")
    keys: dict[str, Range | Annotated[list[Any], Field(min_length=1)]] = Field(
        min_length=1, description="by key, a range or a list of values"
    )
    how: Literal["sobol", "random"] = Field(
        "sobol", description="points that fill the space evenly (scrambled Sobol), or independent ones"
    )
    seed: int = Field(0, ge=0, description="seed of the points; has nothing to do with the runs'")

    def points(self) -> list[dict[str, Any]]:
        """Return the points: values by key."""
        if self.how == "sobol":
            from scipy.stats.qmc import Sobol

            power = math.ceil(math.log2(self.count))
            drawn = Sobol(len(self.keys), rng=self.seed).random_base2(power)[: self.count]
        else:
            drawn = stream(self.seed, "sweep").random((self.count, len(self.keys)))
        return [
            {key: _chosen(of, place) for (key, of), place in zip(self.keys.items(), row, strict=True)}
            for row in drawn.tolist()
        ]


class Study(Options):
    """Points that are searched for: each depends on what came out of those before."""

    trials: int = Field(ge=1, le=MOST_RUNS, description="number of points")
    keys: dict[str, Range | Annotated[list[Any], Field(min_length=1)]] = Field(
        min_length=1, description="by key, a range or a list of values"
    )
    minimise: list[str] = Field(
        [], description="numbers of a run that should be low, such as `joules`, or one of them"
    )
    maximise: list[str] = Field(
        [], description="numbers that should be high, such as `accuracy fused`, or one of them"
    )
    batch: int = Field(4, ge=1, description="points that are chosen together, so that they run at a time")
    seed: int = Field(
        0, ge=0, le=2**32 - 1, description="seed of the search; has nothing to do with the runs'"
    )

    @field_validator("minimise", "maximise", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _aims(self) -> Study:
        aims = [*self.minimise, *self.maximise]
        if not aims or len({*aims}) < len(aims):
            raise ValueError("minimise and maximise must name at least one number of a run, each once")
        return self

    @property
    def aims(self) -> dict[str, Direction]:
        """Return the direction of each number by its name."""
        aims: dict[str, Direction] = dict.fromkeys(self.minimise, "minimize")
        return aims | dict.fromkeys(self.maximise, "maximize")

    def ends(self) -> list[dict[str, Any]]:
        """Return points with which each key has its lowest and its highest value, or each value of its list."""
        values = {
            key: [of.of(of.low), of.of(of.high)] if isinstance(of, Range) else of
            for key, of in self.keys.items()
        }
        first = {key: own[0] for key, own in values.items()}
        return [first, *(first | {key: value} for key, own in values.items() for value in own[1:])]


def _chosen(of: Range | list[Any], place: float) -> Any:
    return of.at(place) if isinstance(of, Range) else of[min(int(place * len(of)), len(of) - 1)]
