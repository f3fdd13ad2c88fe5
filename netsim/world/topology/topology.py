"""A placement and its graph of links, connected where learning needs it to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import networkx as nx

from netsim.core.errors import ScenarioError
from netsim.core.streams import stream
from netsim.world.topology.links import LinkRule, distances_m
from netsim.world.topology.placement import Placement, Positions

DRAWS = 1000
"""Placements, and graphs where links are drawn, tried before giving up.

At Γ = 0, the hardest case of the paper, about 58 % of draws will do.
"""


class Link(NamedTuple):
    """Two nodes that hear each other: one link, whichever of them sends.

    Attributes:
        ends: Who they are: numbers of devices, the lower first; the edge server is called ``"server"`` and comes
            last. A random stream that is named after them does not depend on how many devices there are.
        distance_m: How far they are apart [m].
        positions_m: Where they are, [x, y] of each [m].
    """

    ends: tuple[int, int | str]
    distance_m: float
    positions_m: tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Topology:
    """Positions [m], graph of links and their lengths [m], and how many placements were drawn for it.

    Attributes:
        server: Number of the edge server, where there is one.
    """

    positions: Positions
    graph: nx.Graph
    distance_m: Mapping[tuple[int, int], float]
    draws: int
    server: int | None = None

    def links(self) -> dict[tuple[int, int], Link]:
        """Each link, by (lower, higher) number."""
        places = [(float(x), float(y)) for x, y in self.positions]
        return {
            (a, b): Link((a, "server" if b == self.server else b), distance_m, (places[a], places[b]))
            for (a, b), distance_m in self.distance_m.items()
        }


def disconnected_part(graph: nx.Graph, owners: Mapping[str, frozenset[int]]) -> str | None:
    """Which graph falls apart: ``"the graph"``, ``"the sub-graph of modality 'audio'"``, or None if none does."""
    if not nx.is_connected(graph):
        return "the graph"
    for modality, devices in owners.items():
        if devices and not nx.is_connected(graph.subgraph(devices)):
            return f"the sub-graph of modality {modality!r}"
    return None


def draw_topology(
    placement: Placement,
    links: LinkRule,
    count: int,
    owners: Mapping[str, frozenset[int]],
    seed: int,
    require_connected: bool,
) -> Topology:
    """Draw placements and links until the graph, and the sub-graph of each modality's owners, are connected.

    Information about a modality travels only between its owners, so a sub-graph that falls apart would
    train several models that never meet; the paper assumes that this does not happen and does not say how.

    Args:
        placement: Where devices are.
        links: Who hears whom.
        count: Number of devices.
        owners: Devices that own each modality.
        seed: The run's seed; placement and links of draw n have their own streams.
        require_connected: Take the first draw, whatever it is, if False.

    Raises:
        ScenarioError: No draw was connected, or placement and links are not random and not connected.
    """
    part: str | None = None
    for draw in range(DRAWS if placement.random or links.random else 1):
        positions = placement.positions(count, stream(seed, "placement", draw))
        graph = links.graph(positions, stream(seed, "links", draw))
        part = disconnected_part(graph, owners) if require_connected else None
        if part is None:
            return Topology(positions, graph, distances_m(graph, positions), draw + 1)
    tried = "in the placement given"
    if placement.random or links.random:
        tried = f"in any of {DRAWS} {'placements' if placement.random else 'graphs'} drawn"
    raise ScenarioError(
        f"topology: {part} is not connected {tried}; bring devices closer together, lengthen "
        "links.range_m, add edges, raise links.degree, or set require_connected: false"
    )
