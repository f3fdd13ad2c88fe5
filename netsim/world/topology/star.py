"""Star topology: devices around an edge server."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np

from netsim.core.streams import stream
from netsim.world.topology.placement import Placement
from netsim.world.topology.topology import Topology


def draw_star(placement: Placement, count: int, server_m: tuple[float, float], seed: int) -> Topology:
    """Place ``count`` devices by the first draw of ``placement``, each linked to a server at ``server_m`` [m].

    The server is the last node. Placement has the same stream as without a server, so the devices have the same
    positions.
    """
    positions = placement.positions(count, stream(seed, "placement", 0))
    graph = nx.star_graph([count, *range(count)])
    graph.add_nodes_from(range(count + 1))
    distance_m = {(k, count): math.dist(positions[k], server_m) for k in range(count)}
    return Topology(np.vstack([positions, np.asarray(server_m)]), graph, distance_m, 1, server=count)
