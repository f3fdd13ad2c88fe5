"""Which devices hear each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import networkx as nx
import numpy as np
from pydantic import Field
from scipy.spatial import cKDTree

from netsim.errors import ScenarioError
from netsim.options import NoOptions, Options
from netsim.topology.placement import Positions


class LinkRule(ABC):
    """Turns positions into an undirected graph of links.

    Attributes:
        Options: The model of the scenario's ``topology.links`` block.
        random: Whether another draw gives another graph for the same positions.
    """

    Options: ClassVar[type[Options]] = NoOptions
    random: ClassVar[bool] = False

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def graph(self, positions: Positions, rng: np.random.Generator) -> nx.Graph:
        """The graph of links; nodes are 0 to len(positions) - 1.

        Args:
            positions: Where the devices are [m], shape [devices, 2].
            rng: This draw's own stream, for rules that are random.

        Raises:
            ScenarioError: There is no such graph of so many devices.
        """


class Range(LinkRule):
    """A link wherever the distance is within range."""

    class Options(Options):
        """Block ``topology.links`` with name ``range``."""

        range_m: float = Field(50.0, gt=0, description="longest distance of a link [m]")

    options: Range.Options

    def graph(self, positions: Positions, rng: np.random.Generator) -> nx.Graph:
        """All pairs with distance <= range_m."""
        graph = nx.Graph()
        graph.add_nodes_from(range(len(positions)))
        pairs = cKDTree(positions).query_pairs(self.options.range_m, output_type="ndarray")
        graph.add_edges_from(sorted((int(a), int(b)) for a, b in pairs))
        return graph


class Edges(LinkRule):
    """Given links, whatever the distance."""

    class Options(Options):
        """Block ``topology.links`` with name ``edges``."""

        edges: tuple[tuple[int, int], ...] = Field(description="pairs of device numbers")

    options: Edges.Options

    def graph(self, positions: Positions, rng: np.random.Generator) -> nx.Graph:
        """As given."""
        graph = nx.Graph()
        graph.add_nodes_from(range(len(positions)))
        for a, b in self.options.edges:
            if a == b or not {a, b} <= set(graph):
                raise ScenarioError(
                    f"topology.links.edges: [{a}, {b}] must name two different devices "
                    f"from 0 to {len(positions) - 1}"
                )
            graph.add_edge(a, b)
        return graph


class Regular(LinkRule):
    """Links drawn at random such that every device has equally many, whatever the distance."""

    class Options(Options):
        """Block ``topology.links`` with name ``regular``."""

        degree: int = Field(ge=1, description="links of each device; degree times devices must be even")

    random = True
    options: Regular.Options

    def graph(self, positions: Positions, rng: np.random.Generator) -> nx.Graph:
        """A random regular graph (Steger and Wormald 1999, nearly uniform for degrees small beside the count)."""
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
        drawn = nx.random_regular_graph(degree, count, seed=int(rng.integers(2**63)))
        graph = nx.Graph()
        graph.add_nodes_from(range(count))
        graph.add_edges_from(sorted((min(a, b), max(a, b)) for a, b in drawn.edges))
        return graph


def distances_m(graph: nx.Graph, positions: Positions) -> dict[tuple[int, int], float]:
    """Distance of each link [m], by (lower, higher) device number."""
    return {
        (min(a, b), max(a, b)): float(np.hypot(*(positions[a] - positions[b])))
        for a, b in sorted(graph.edges)
    }
