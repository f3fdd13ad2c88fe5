"""Rules for links between devices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from netsim.core.arrays import Truths
from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions, Options
from netsim.world.topology.files import read_links
from netsim.world.topology.placement import Positions
from netsim.world.topology.regular import regular_links

Ends = NDArray[np.int64]
"""Numbers of the two devices that each link connects, [links, 2]."""


class LinkRule(ABC):
    """A rule that makes links without direction from positions.

    Attributes:
        Options: The model of the scenario's ``topology.links`` block.
        random: Whether another draw gives other links for the same positions.
        follows_positions: Whether links come and go when devices move; if not, they stay as they are drawn.
    """

    Options: ClassVar[type[Options]] = NoOptions
    random: ClassVar[bool] = False
    follows_positions: ClassVar[bool] = False

    def __init__(self, options: Any) -> None:
        self.options = options

    def check(self, count: int) -> None:  # noqa: B027 (a hook)
        """Check whether ``count`` devices can have such links, as far as that is known before they are drawn.

        Raises:
            ScenarioError: It cannot; the message names the key.
        """

    def count(self, positions: Positions) -> float:
        """Return about how many links there will be between devices at ``positions``; 0 where that is not known."""
        return 0.0

    @abstractmethod
    def links(self, positions: Positions, rng: np.random.Generator) -> Ends:
        """Return the links [links, 2]; neither their order nor that of a link's ends matters.

        Args:
            positions: Positions of the devices [m], shape [devices, 2].
            rng: Stream of this draw, for random rules.

        Raises:
            ScenarioError: This number of devices cannot have such links.
        """

    def linked(self, positions: Positions, pairs: Ends) -> Truths:
        """Return whether each of ``pairs`` [pairs, 2], the lower number first, is linked, if links follow positions."""
        found = np.sort(self.links(positions, np.random.default_rng(0)), axis=1)
        return np.isin(pairs @ [len(positions), 1], found @ [len(positions), 1])


class Range(LinkRule):
    """Links between all devices within range.

    Attributes:
        ROUNDING: Relative tolerance of the range: decimal coordinates are rounded, and so are their differences
            (0.3 - 0.2 > 0.1).
        FEW: Devices of which all pairs are looked at; a tree for more takes longer to import than a small run to start.
    """

    ROUNDING: ClassVar[float] = 1e-9
    FEW: ClassVar[int] = 200
    follows_positions = True

    class Options(Options):
        """Block ``topology.links`` with name ``range``."""

        range_m: float = Field(50.0, gt=0, description="longest distance of a link [m]")

    options: Range.Options

    def count(self, positions: Positions) -> float:
        """Count the pairs within the range; none of them is kept."""
        from scipy.spatial import cKDTree

        tree = cKDTree(positions)
        return float(tree.count_neighbors(tree, self.options.range_m) - len(positions)) / 2

    def links(self, positions: Positions, rng: np.random.Generator) -> Ends:
        """Link all pairs with distance <= range_m, up to rounding; distances are those of the table ``links``."""
        if len(positions) <= self.FEW:
            pairs = np.stack(np.triu_indices(len(positions), 1), axis=1)
            return pairs[self.linked(positions, pairs)]
        from scipy.spatial import cKDTree  # takes longer to import than a scenario to check

        # The tree rounds distances in another way, so it searches a little farther, and distance_m decides.
        farther_m = self._longest_m * (1 + self.ROUNDING)
        near: Ends = cKDTree(positions).query_pairs(farther_m, output_type="ndarray")
        return near[self.linked(positions, near)]

    def linked(self, positions: Positions, pairs: Ends) -> Truths:
        """Return whether each of ``pairs`` is within the range."""
        return distance_m(positions, pairs) <= self._longest_m

    @property
    def _longest_m(self) -> float:
        return self.options.range_m * (1 + self.ROUNDING)


class Edges(LinkRule):
    """Given links, regardless of distance: listed here, or in a file."""

    class Options(Options):
        """Block ``topology.links`` with name ``edges``."""

        edges: tuple[tuple[int, int], ...] | None = Field(None, description="pairs of device numbers")
        file: Path | None = Field(
            None,
            description="instead of edges: a .csv file with two device numbers a line, or an undirected .graphml file "
            "whose nodes are device numbers",
        )

        @model_validator(mode="after")
        def _one_of_them(self) -> Edges.Options:
            if (self.edges is None) == (self.file is None):
                raise ValueError("must have either edges, pairs of device numbers, or file")
            return self

    options: Edges.Options

    def check(self, count: int) -> None:
        """Check that each link has two different devices as its ends."""
        self._pairs(count)

    def links(self, positions: Positions, rng: np.random.Generator) -> Ends:
        """Return the given links."""
        return _ends(self._pairs(len(positions)))

    def _pairs(self, count: int) -> Sequence[tuple[int, int]]:
        if self.options.file is not None:
            try:
                return read_links(self.options.file, count)
            except ScenarioError as error:
                raise ScenarioError(f"topology.links.file: {error}") from None
        for a, b in self.options.edges or ():
            if a == b or not {a, b} <= set(range(count)):
                raise ScenarioError(
                    f"topology.links.edges: [{a}, {b}] must name two different devices from 0 to {count - 1}"
                )
        return self.options.edges or ()


class Regular(LinkRule):
    """Random links such that every device has the same number of them, regardless of distance."""

    class Options(Options):
        """Block ``topology.links`` with name ``regular``."""

        degree: int = Field(ge=1, description="links of each device; degree times devices must be even")

    random = True
    options: Regular.Options

    def count(self, positions: Positions) -> float:
        """Return half of the links' ends."""
        return len(positions) * self.options.degree / 2

    def links(self, positions: Positions, rng: np.random.Generator) -> Ends:
        """Draw a regular graph with uniform probability; see :func:`netsim.world.topology.regular.regular_links`."""
        degree, count = self.options.degree, len(positions)
        if degree >= count:
            raise ScenarioError(
                f"topology.links.degree: must be less than the number of devices, {count} (got {degree})"
            )
        if degree * count % 2:
            raise ScenarioError(
                f"topology.links.degree: degree times devices must be even, since a link has two ends "
                f"(got {degree} × {count}); change either by one"
            )
        return _ends(regular_links(degree, count, rng))


def _ends(links: Iterable[tuple[int, int]]) -> Ends:
    return np.array(list(links), dtype=np.int64).reshape(-1, 2)


def distance_m(positions: Positions, links: Ends) -> NDArray[np.float64]:
    """Return the distance of each link's devices [m]."""
    x_m, y_m = (positions[links[:, 0]] - positions[links[:, 1]]).T
    return np.hypot(x_m, y_m)
