"""A placement and its graph of links, connected where learning requires it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from netsim.core.arrays import Whole
from netsim.core.errors import ScenarioError
from netsim.core.pairs import Pairs
from netsim.core.streams import stream
from netsim.world.topology.links import Ends, LinkRule, distance_m
from netsim.world.topology.placement import Placement, Positions

DRAWS = 1000
"""Placements, and graphs where links are drawn, tried before giving up.

At Γ = 0, the hardest case of the paper, about 58 % of draws are connected.
"""

MOST_PLACED, FEWEST_DRAWS = 1_000_000, 20
"""Devices in all those draws; of large networks there are fewer draws, but at least so many."""


class Link(NamedTuple):
    """A link between two nodes, for both directions.

    Attributes:
        ends: The two nodes: numbers of devices, the lower first; the edge server is called ``"server"`` and comes
            last, others after it ``"server 1"`` and so on. So a random stream with these names does not depend on the
            number of devices.
        distance_m: Distance between them [m].
        positions_m: Position [x, y] of each [m].
    """

    ends: tuple[int, int | str]
    distance_m: float
    positions_m: tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Topology:
    """Positions of nodes, links and their lengths.

    Attributes:
        positions: Positions [m], shape [nodes, 2].
        distance_m: Length of each link [m], by its (lower, higher) number, in ascending order.
        draws: Number of placements drawn for it.
        server: Number of the edge server, where there is one; of several it is the first.
    """

    positions: Positions
    distance_m: Pairs
    draws: int
    server: int | None = None

    @cached_property
    def graph(self) -> nx.Graph:
        """Return nodes and links as a graph."""
        graph = nx.Graph()
        graph.add_nodes_from(range(len(self.positions)))
        graph.add_edges_from(self.distance_m)
        return graph

    @cached_property
    def degree(self) -> Whole:
        """Return the number of links of each node [nodes]."""
        return np.bincount(self.distance_m.ends.ravel(), minlength=len(self.positions))

    @cached_property
    def neighbours(self) -> list[list[int]]:
        """Return the neighbours of each node, in the order of their numbers."""
        a, b = self.distance_m.ends.T
        senders, receivers = np.append(a, b), np.append(b, a)
        listed = receivers[np.lexsort((receivers, senders))].tolist()
        return [listed[since:until] for since, until in pairwise([0, *np.cumsum(self.degree).tolist()])]

    def links(self) -> Iterator[Link]:
        """Return the links, one after the other."""
        places = list(map(tuple, self.positions.tolist()))
        lengths_m = zip(self.distance_m, self.distance_m.numbers.tolist(), strict=True)
        for (a, b), length_m in lengths_m:
            yield Link((a, self.name(b)), length_m, (places[a], places[b]))

    def name(self, node: int) -> int | str:
        """Return what ``node`` is called in a :class:`Link`."""
        if self.server is None or node < self.server:
            return node
        return "server" if node == self.server else f"server {node - self.server}"

    def pair(self, a: int, b: int) -> Link:
        """Return nodes ``a`` < ``b`` and what is between them, as if they were linked."""
        places = self.positions[a].tolist(), self.positions[b].tolist()
        length_m = float(distance_m(self.positions, np.array([[a, b]]))[0])
        return Link((a, self.name(b)), length_m, (tuple(places[0]), tuple(places[1])))


def disconnected_part(count: int, links: Ends, owners: Mapping[str, frozenset[int]]) -> str | None:
    """Return what ``links`` leave unconnected: ``"the graph"`` or the sub-graph of a modality; None if nothing."""
    if not _is_connected(np.arange(count), links):
        return "the graph"
    for modality, devices in owners.items():
        if devices and not _is_connected(np.array(sorted(devices)), links):
            return f"the sub-graph of modality {modality!r}"
    return None


def _is_connected(devices: NDArray[np.int64], links: Ends) -> bool:
    """Return whether ``links`` between ``devices``, in ascending order, connect all of them."""
    a, b = np.searchsorted(devices, links[np.isin(links, devices).all(axis=1)]).T
    if len(a) < len(devices) - 1:
        return False
    reached, before = np.arange(len(devices)), None
    while (
        before is None or (reached != before).any()
    ):  # the lowest device that each is known to be connected with
        before, reached = reached, reached.copy()
        np.minimum.at(reached, a, before[b])
        np.minimum.at(reached, b, before[a])
        reached = reached[reached]
    return not reached.any()


def draw_topology(
    placement: Placement,
    links: LinkRule,
    count: int,
    owners: Mapping[str, frozenset[int]],
    seed: int,
    require_connected: bool,
) -> Topology:
    """Draw placements and links until the graph, and the sub-graph of each modality's owners, are connected.

    Information about a modality travels only between its owners, so a sub-graph that is not connected would train
    several models without exchange between them. The paper assumes that this does not happen and does not say how.

    Args:
        placement: Rule that places the devices.
        links: Rule that links them.
        count: Number of devices.
        owners: Devices that own each modality.
        seed: The run's seed; placement and links of draw n have their own streams.
        require_connected: Take the first draw, connected or not, if False.

    Raises:
        ScenarioError: No draw was connected, or placement and links are not random and not connected.
    """
    part: str | None = None
    draws = max(FEWEST_DRAWS, min(DRAWS, MOST_PLACED // count)) if placement.random or links.random else 1
    for draw in range(draws):
        positions = placement.positions(count, stream(seed, "placement", draw))
        ends = np.unique(np.sort(links.links(positions, stream(seed, "links", draw)), axis=1), axis=0)
        part = disconnected_part(count, ends, owners) if require_connected else None
        if part is None:
            return Topology(positions, Pairs(ends, distance_m(positions, ends)), draw + 1)
    tried = "in the placement given"
    if placement.random or links.random:
        tried = f"in any of {draws} {'placements' if placement.random else 'graphs'} drawn"
    raise ScenarioError(
        f"topology: {part} is not connected {tried}; bring devices closer together, lengthen "
        "links.range_m, add edges, raise links.degree, or set require_connected: false"
    )
