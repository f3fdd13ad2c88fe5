"""Star topology: devices around an edge server, or around each of several."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from netsim.core.pairs import Pairs
from netsim.core.streams import stream
from netsim.world.topology.placement import Placement, Positions
from netsim.world.topology.topology import Topology


def draw_star(
    placement: Placement,
    count: int,
    servers_m: Callable[[Positions], Positions],
    seed: int,
    cloud_m: tuple[float, float] | None = None,
) -> Topology:
    """Place ``count`` devices by the first draw of ``placement``, each linked to each edge server.

    Edge servers are the nodes after the devices, and a cloud at ``cloud_m`` [m], which has no such links, comes last.
    Placement has the same stream as without a server, so the devices have the same positions.

    Args:
        placement: Places the devices.
        count: Number of devices.
        servers_m: Gives the edge servers' positions for those of the devices [m].
        seed: The run's seed.
        cloud_m: Where the cloud is drawn on a map.
    """
    positions = placement.positions(count, stream(seed, "placement", 0))
    servers = servers_m(positions)
    ends = np.stack(np.meshgrid(np.arange(count), count + np.arange(len(servers)), indexing="ij"), axis=-1)
    lengths_m = [math.dist(position, server) for position in positions for server in servers]
    nodes = np.vstack([positions, servers, *([cloud_m] if cloud_m else [])])
    return Topology(nodes, Pairs(ends.reshape(-1, 2), np.array(lengths_m)), 1, server=count)
