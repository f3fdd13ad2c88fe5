"""Placement of devices on the plane."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions, Options
from netsim.world.topology.files import read_positions_m

Positions = NDArray[np.float64]


class Placement(ABC):
    """A rule that places devices on the plane.

    Attributes:
        random: Whether another draw gives another placement (a fixed one is not drawn again).
    """

    Options: ClassVar[type[Options]] = NoOptions
    random: ClassVar[bool] = False

    def __init__(self, options: Any) -> None:
        self.options = options

    def check(self, count: int) -> None:  # noqa: B027 (a hook)
        """Check whether ``count`` devices can be placed like that, as far as that is known before they are.

        Raises:
            ScenarioError: They cannot; the message names the key.
        """

    @abstractmethod
    def positions(self, count: int, rng: np.random.Generator) -> Positions:
        """Return positions of ``count`` devices [m], shape [count, 2]."""


class Disc(Placement):
    """Random positions, uniform in a disc."""

    class Options(Options):
        """Block ``topology.placement`` with name ``disc``."""

        diameter_m: float = Field(100.0, gt=0, description="diameter of the disc [m]")

    random = True
    options: Disc.Options

    def positions(self, count: int, rng: np.random.Generator) -> Positions:
        """Draw positions uniformly in area: the radius is R √U, since R U would crowd the centre."""
        radius = self.options.diameter_m / 2 * np.sqrt(rng.random(count))
        angle = 2 * math.pi * rng.random(count)
        return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


class Grid(Placement):
    """Positions on a square grid, row by row."""

    class Options(Options):
        """Block ``topology.placement`` with name ``grid``."""

        spacing_m: float = Field(gt=0, description="distance between rows and between columns [m]")
        columns: int | None = Field(
            None, gt=0, description="devices in a row; default: as square as possible"
        )

    options: Grid.Options

    def positions(self, count: int, rng: np.random.Generator) -> Positions:
        """Place device k in row k // columns, column k % columns."""
        columns = self.options.columns or math.ceil(math.sqrt(count))
        index = np.arange(count)
        return (np.column_stack([index % columns, index // columns]) * self.options.spacing_m).astype(
            np.float64
        )


class Coordinates(Placement):
    """Given positions: listed here, or in a file."""

    class Options(Options):
        """Block ``topology.placement`` with name ``coordinates``."""

        positions_m: tuple[tuple[float, float], ...] | None = Field(
            None, description="one [x, y] per device [m]"
        )
        file: Path | None = Field(
            None, description="instead of positions_m: a .csv file with x, y of a device a line [m]"
        )

        @model_validator(mode="after")
        def _one_of_them(self) -> Coordinates.Options:
            if (self.positions_m is None) == (self.file is None):
                raise ValueError("must have either positions_m, one [x, y] per device, or file")
            return self

    options: Coordinates.Options

    def check(self, count: int) -> None:
        """Check that there is one position per device."""
        self._given(count)

    def positions(self, count: int, rng: np.random.Generator) -> Positions:
        """Return the given positions."""
        return np.array(self._given(count), dtype=float).reshape(count, 2)

    def _given(self, count: int) -> Sequence[tuple[float, float]]:
        if self.options.file is not None:
            try:
                return read_positions_m(self.options.file, count)
            except ScenarioError as error:
                raise ScenarioError(f"topology.placement.file: {error}") from None
        given = self.options.positions_m or ()
        if len(given) != count:
            raise ScenarioError(
                f"topology.placement.positions_m: must have one [x, y] per device ({count}), got {len(given)}"
            )
        return given
