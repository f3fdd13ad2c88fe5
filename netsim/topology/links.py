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
    """Turns positions into an undirected graph of links."""

    Options: ClassVar[type[Options]] = NoOptions

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def graph(self, positions: Positions) -> nx.Graph:
        """The graph of links; nodes are 0 to len(positions) - 1."""


class Range(LinkRule):
    """A link wherever the distance is within range."""

    class Options(Options):
        """Block ``topology.links`` with name ``range``."""

        range_m: float = Field(50.0, gt=0, description="longest distance of a link [m]")

    options: Range.Options

    def graph(self, positions: Positions) -> nx.Graph:
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

    def graph(self, positions: Positions) -> nx.Graph:
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


def distances_m(graph: nx.Graph, positions: Positions) -> dict[tuple[int, int], float]:
    """Distance of each link [m], by (lower, higher) device number."""
    return {
        (min(a, b), max(a, b)): float(np.hypot(*(positions[a] - positions[b])))
        for a, b in sorted(graph.edges)
    }
