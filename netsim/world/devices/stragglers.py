"""Stragglers: slow-down factors of devices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions, Options
from netsim.core.streams import stream


class Stragglers(ABC):
    """Slow-down factors: computing takes ``factor`` times C/(f e) seconds and the same joules.

    The same FLOPs run at the same clock. In the rest of the time the processor waits (for memory, for other
    programs) and draws no power of its own. A device that is slow because its clock is low is a device with a
    lower ``frequency_hz``, and its energy then falls with f².
    """

    Options: ClassVar[type[Options]] = NoOptions

    def __init__(self, options: Any, device_count: int, seed: int) -> None:
        self.options = options
        self.device_count = device_count
        self.seed = seed

    @abstractmethod
    def factor(self, device: int, round: int) -> float:
        """Return the slow-down factor of ``device`` in ``round``."""


class NoStragglers(Stragglers):
    """No stragglers: no device is slow."""

    def factor(self, device: int, round: int) -> float:
        """Return 1."""
        return 1.0


class Given(Stragglers):
    """Slow-down factors given by device."""

    class Options(Options):
        """Block ``devices.stragglers`` with name ``given``."""

        factors: dict[int, float] = Field(description="factor by device number; devices not named have 1")

    options: Given.Options

    def __init__(self, options: Any, device_count: int, seed: int) -> None:
        super().__init__(options, device_count, seed)
        for device, factor in self.options.factors.items():
            if not 0 <= device < device_count:
                raise ScenarioError(
                    f"devices.stragglers.factors: no device {device}; devices are 0 to {device_count - 1}"
                )
            if not factor > 0:
                raise ScenarioError(
                    f"devices.stragglers.factors.{device}: must be greater than 0 (got {factor})"
                )

    def factor(self, device: int, round: int) -> float:
        """Return the given factor, the same in every round."""
        return self.options.factors.get(device, 1.0)


class Constant(Stragglers):
    """A share of the devices, drawn once, is slower by a constant factor."""

    class Options(Options):
        """Block ``devices.stragglers`` with name ``constant``."""

        factor: float = Field(gt=0, description="slow-down of a straggler")
        share: float = Field(
            gt=0, le=1, description="share of devices that are stragglers, rounded to devices"
        )

    options: Constant.Options

    def __init__(self, options: Any, device_count: int, seed: int) -> None:
        super().__init__(options, device_count, seed)
        order = stream(seed, "stragglers").permutation(device_count)
        self._slow = {int(d) for d in order[: round(self.options.share * device_count)]}

    def factor(self, device: int, round: int) -> float:
        """Return ``factor`` for the drawn devices, 1 for the others."""
        return self.options.factor if device in self._slow else 1.0


class Drawn(Stragglers):
    """Base class of random slow-down factors: each device draws its own, per run or per round."""

    class Options(Options):
        """Options of all random slow-down factors."""

        redraw: Literal["run", "round"] = Field("round", description="draw once per run, or anew each round")

    options: Drawn.Options

    def factor(self, device: int, round: int) -> float:
        """Return a draw from the device's own stream."""
        block = round if self.options.redraw == "round" else 0
        return self.draw(stream(self.seed, "stragglers", device, block))

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> float:
        """Return one random factor."""


class LogNormal(Drawn):
    """Log-normal slow-down with median 1."""

    class Options(Drawn.Options):
        """Block ``devices.stragglers`` with name ``lognormal``."""

        sigma: float = Field(ge=0, description="standard deviation of the factor's natural logarithm")

    options: LogNormal.Options

    def draw(self, rng: np.random.Generator) -> float:
        """Return exp(σ Z): half of the draws are below 1, their mean is exp(σ²/2)."""
        return float(np.exp(self.options.sigma * rng.standard_normal()))


class Exponential(Drawn):
    """Exponential slow-down above a minimum (the shifted exponential of the coded-computing literature)."""

    class Options(Drawn.Options):
        """Block ``devices.stragglers`` with name ``exponential``."""

        mean: float = Field(gt=0, description="mean factor")
        minimum: float = Field(1.0, ge=0, description="least factor; 0 for a pure exponential")

        @model_validator(mode="after")
        def _mean_above_minimum(self) -> Exponential.Options:
            if self.mean < self.minimum:
                raise ValueError(f"mean must be at least minimum ({self.minimum}), got {self.mean}")
            return self

    options: Exponential.Options

    def draw(self, rng: np.random.Generator) -> float:
        """Return minimum + Exp(mean - minimum)."""
        o = self.options
        return o.minimum + float(rng.exponential(o.mean - o.minimum))
