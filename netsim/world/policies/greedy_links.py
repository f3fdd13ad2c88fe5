"""Policy that thins the topology."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar

import networkx as nx
from pydantic import Field

from netsim.core.options import Options
from netsim.world.policies.policy import Link, Policy


class GreedyLinksOptions(Options):
    """Block ``policies.links`` with name ``greedy_links``."""

    degree: int = Field(2, ge=0, description="links of a device up to which cheap ones are added to the tree")


class GreedyLinks(Policy):
    """The cheapest links that keep the network connected: a minimum spanning tree, and more links up to a degree.

    A link costs the energy of a bit each way at the last known gains. After the tree (Kruskal 1956) links come in the
    order of their costs, each if both its ends have fewer than ``degree``. A network of several parts keeps them.
    """

    Options: ClassVar[type[Options]] = GreedyLinksOptions
    options: GreedyLinksOptions

    def links(self, links: Sequence[Link], round: int) -> Iterable[tuple[int, int]]:
        """Return the tree, and what is added to it."""
        graph = nx.Graph()
        graph.add_weighted_edges_from(links)
        ordered = sorted(links, key=lambda link: (link.joules_per_bit, link.a, link.b))
        chosen = {(min(ends), max(ends)) for ends in nx.minimum_spanning_edges(graph, data=False)}
        degree = Counter(end for ends in chosen for end in ends)
        for a, b, _ in ordered:
            if (a, b) not in chosen and max(degree[a], degree[b]) < self.options.degree:
                chosen.add((a, b))
                degree.update((a, b))
        return sorted(chosen)
