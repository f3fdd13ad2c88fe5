"""Rules for links between devices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import networkx as nx
import numpy as np
from pydantic import Field, model_validator

from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions, Options
from netsim.world.topology.files import read_links
from netsim.world.topology.placement import Positions
from netsim.world.topology.regular import regular_links


class LinkRule(ABC):
    """A rule that makes an undirected graph of links from positions.

    Attributes:
        Options: The model of the scenario's ``topology.links`` block.
        random: Whether another draw gives another graph for the same positions.
    """

    Options: ClassVar[type[Options]] = NoOptions
    random: ClassVar[bool] = False

    def __init__(self, options: Any) -> None:
        self.options = options

    def check(self, count: int) -> None:  # noqa: B027 (a hook)
        """Check whether such a graph of ``count`` devices can exist, as far as that is known before it is drawn.

        Raises:
            ScenarioError: It cannot; the message names the key.
        """

    @abstractmethod
    def graph(self, positions: Positions, rng: np.random.Generator) -> nx.Graph:
        """Return the graph of links; nodes are 0 to len(positions) - 1.

        Args:
            positions: Positions of the devices [m], shape [devices, 2].
            rng: Stream of this draw, for random rules.

        Raises:
            ScenarioError: There is no such graph of this number of devices.
        """


class Range(LinkRule):
    """Links between all devices within range.

    Attributes:
        ROUNDING: Relative tolerance of the range: decimal coordinates are rounded, and so are their differences
            (0.3 - 0.2 > 0.1).
    """

    ROUNDING: ClassVar[float] = 1e-9

    class Options(Options):
        """Block ``topology.links`` with name ``range``."""

        range_m: float = Field(50.0, gt=0, description="longest distance of a link [m]")

    options: Range.Options

    def graph(self, positions: Positions, rng: np.random.Generator) -> nx.Graph:
        """Link all pairs with distance <= range_m, up to rounding; distances are those of the table ``links``."""
        from scipy.spatial import cKDTree  # takes longer to import than a scenario to check

        longest_m = self.options.range_m * (1 + self.ROUNDING)
        # The tree rounds distances in another way, so it searches a little farther, and distance_m decides.
        near = cKDTree(positions).query_pairs(longest_m * (1 + self.ROUNDING), output_type="ndarray")
        return _graph(
            len(positions), ((a, b) for a, b in near.tolist() if distance_m(positions, a, b) <= longest_m)
        )


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

    def graph(self, positions: Positions, rng: np.random.Generator) -> nx.Graph:
        """Return the graph of the given links."""
        count = len(positions)
        return _graph(count, self._pairs(count))

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

    def graph(self, positions: Positions, rng: np.random.Generator) -> nx.Graph:
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
        return _graph(count, regular_links(degree, count, rng))


def _graph(count: int, links: Iterable[tuple[int, int]]) -> nx.Graph:
    """Return the graph of ``links``, by (lower, higher) device number, in an order that depends on them alone."""
    graph = nx.Graph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from(sorted(links))
    return graph


def distance_m(positions: Positions, a: int, b: int) -> float:
    """Return the distance of two devices [m]."""
    return float(np.hypot(*(positions[a] - positions[b])))


def distances_m(graph: nx.Graph, positions: Positions) -> dict[tuple[int, int], float]:
    """Return the distance of each link [m], by (lower, higher) device number."""
    return {(min(a, b), max(a, b)): distance_m(positions, a, b) for a, b in sorted(graph.edges)}
