"""Base class of mobility models: where devices are at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from netsim.core.arrays import Floats
from netsim.core.options import NoOptions, Options
from netsim.world.topology.placement import Positions


class Mobility(ABC):
    """A model of how devices move. A position is a function of the run's seed, the device and the time.

    Positions are asked for in the order of time, mostly, and for all devices at once. A model may keep how far it has
    come; if it is asked for an earlier time, it begins anew.

    Args:
        options: The scenario's block ``mobility``.
        placed_m: Where ``topology.placement`` puts the devices [m], [devices, 2]; a model may begin elsewhere.
        seed: The run's seed.

    Attributes:
        Options: The model of the scenario's block.
        moves: Whether anybody ever moves.
    """

    Options: ClassVar[type[Options]] = NoOptions
    moves: ClassVar[bool] = True

    def __init__(self, options: Any, placed_m: Positions, seed: int) -> None:
        self.options = options
        self.placed_m = placed_m
        self.seed = seed

    @classmethod  # noqa: B027 (a hook)
    def check(cls, options: Any, count: int) -> None:
        """Check whether ``count`` devices can move like that, as far as that is known before the run.

        Raises:
            ScenarioError: They cannot; the message begins with the key inside the block.
        """

    @abstractmethod
    def positions_m(self, time_s: float) -> Positions:
        """Return where the devices are at ``time_s`` [s] [m], [devices, 2]."""


class Static(Mobility):
    """Nobody moves: devices stay where ``topology.placement`` puts them."""

    moves = False

    def positions_m(self, time_s: float) -> Positions:
        """Return the placement."""
        return self.placed_m


class Moving(Mobility):
    """Base class of models in which devices move: links and path losses follow the positions at each update."""

    class Options(Options):
        """Options of all models in which devices move."""

        every_s: float = Field(1.0, gt=0, description="time between two updates of links and path losses [s]")
        on_link_loss: Literal["drop", "resume"] = Field(
            "drop",
            description="a transfer whose link goes ends without having arrived (drop), or waits without power until "
            "the link is back and goes on with the bits that are left (resume); it is charged for what it used",
        )
        resume_within_s: float = Field(
            60.0, gt=0, description="with resume: a link that is away for longer ends the transfer [s]"
        )

    options: Moving.Options


class Area(Options):
    """A part of the plane that devices move in."""

    area_m: tuple[float, float, float, float] | None = Field(
        None, description="a rectangle: lowest x, lowest y, highest x, highest y [m]"
    )

    @model_validator(mode="after")
    def _has_an_inside(self) -> Any:
        if self.area_m is not None and not (
            self.area_m[0] < self.area_m[2] and self.area_m[1] < self.area_m[3]
        ):
            raise ValueError(
                f"area_m: must be lowest x, lowest y, highest x, highest y (got {list(self.area_m)})"
            )
        return self


def inside(uniform: Floats, area_m: tuple[float, float, float, float]) -> Positions:
    """Return points of a rectangle [points, 2], uniform if the numbers ``uniform`` [2, points] are, in [0, 1)."""
    low, high = np.array(area_m[:2]), np.array(area_m[2:])
    return low + (high - low) * uniform.T
