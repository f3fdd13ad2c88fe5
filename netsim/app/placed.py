"""Places of the devices as a run begins, their links, and how both change."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netsim.core.streams import stream
from netsim.scenario.loading import Plan
from netsim.world.mobility.mobility import Mobility, Moving
from netsim.world.mobility.motion import Motion
from netsim.world.topology.placement import Coordinates, Placement
from netsim.world.topology.star import draw_star
from netsim.world.topology.topology import Topology, draw_topology


def placed(plan: Plan) -> tuple[Placement, Mobility]:
    """Make placement and mobility; where devices move, the placement is where they are at 0 s."""
    seed, count = plan.scenario.seed, plan.scenario.devices.count
    placement: Placement = plan.parts["topology.placement"].make()
    part = plan.parts["mobility"]
    if not part.cls.moves:
        return placement, part.make(np.empty((0, 2)), seed)
    mobility: Mobility = part.make(placement.positions(count, stream(seed, "placement", 0)), seed)
    first_m = tuple(map(tuple, mobility.positions_m(0.0).tolist()))
    return Coordinates(Coordinates.Options(positions_m=first_m)), mobility


def build_topology(plan: Plan, owners: Mapping[str, frozenset[int]]) -> tuple[Topology, Motion | None]:
    """Draw where everybody is as the run begins, and the links then; say how both change if devices move.

    Args:
        plan: The scenario.
        owners: Which devices own each modality.
    """
    scenario, (placement, mobility) = plan.scenario, placed(plan)
    count, seed, protocol = scenario.devices.count, scenario.seed, plan.parts["protocol"]
    if protocol.cls.needs_server:
        rule, server_m = None, scenario.server.position_m
        first = draw_star(
            placement,
            count,
            lambda devices_m: protocol.cls.servers_m(protocol.options, devices_m, server_m),
            seed,
            server_m if protocol.cls.has_cloud else None,
        )
    else:
        rule = plan.parts["topology.links"].make()
        connected = scenario.topology.require_connected and not mobility.moves
        first = draw_topology(placement, rule, count, owners, seed, connected)
    return first, Motion(mobility, rule, first, seed) if isinstance(mobility, Moving) else None
