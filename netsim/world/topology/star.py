"""Star topology: devices around an edge server."""

from __future__ import annotations

import math

import numpy as np

from netsim.core.pairs import Pairs
from netsim.core.streams import stream
from netsim.world.topology.placement import Placement
from netsim.world.topology.topology import Topology


def draw_star(placement: Placement, count: int, server_m: tuple[float, float], seed: int) -> Topology:
    """Place ``count`` devices by the first draw of ``placement``, each linked to a server at ``server_m`` [m].

    The server is the last node. Placement has the same stream as without a server, so the devices have the same
    positions.
    """
    positions = placement.positions(count, stream(seed, "placement", 0))
    ends = np.stack([np.arange(count), np.full(count, count)], axis=1)
    distance_m = Pairs(ends, np.array([math.dist(position, server_m) for position in positions]))
    return Topology(np.vstack([positions, np.asarray(server_m)]), distance_m, 1, server=count)
