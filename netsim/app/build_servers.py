"""Builds the edge servers of a scenario, and the cloud above them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import simpy

from netsim.app.air import End
from netsim.core.options import NoOptions
from netsim.core.streams import derive_seed
from netsim.events import Observer
from netsim.scenario.loading import Plan
from netsim.world.cloud import Cloud
from netsim.world.devices import Battery, Device
from netsim.world.edge_server import EdgeServer
from netsim.world.radio import Radio
from netsim.world.radio.access import Access, Shared, Uplink
from netsim.world.topology.topology import Topology

RadioOf = Callable[[str, Access, float, End, End], Radio]
"""A function that makes a radio of the key of its path loss, its access, its bandwidth [Hz] and both ends."""


def build_servers(
    plan: Plan, env: simpy.Environment, topology: Topology, radio_of: RadioOf, observer: Observer
) -> tuple[Sequence[EdgeServer], Cloud | None]:
    """Make the edge servers and the cloud, as far as the protocol has any.

    Args:
        plan: The scenario.
        env: The clock.
        topology: Where they are.
        radio_of: Makes their radios.
        observer: Is told of transfers.
    """
    if topology.server is None:
        return (), None
    protocol = plan.parts["protocol"]
    behind = len(topology.positions) - protocol.cls.has_cloud
    servers = [_server(plan, env, number, radio_of) for number in range(topology.server, behind)]
    if not protocol.cls.has_cloud:
        return servers, None
    options: Any = protocol.options
    node = Device(env, behind, options.cloud, Battery(math.inf), options.backhaul.power_w)
    return servers, Cloud(node, options.backhaul, observer.on_transfers)


def _server(plan: Plan, env: simpy.Environment, number: int, radio_of: RadioOf) -> EdgeServer:
    """Make the edge server ``number``."""
    scenario, options = plan.scenario, plan.scenario.server
    uplink, downlink, devices = options.uplink, options.downlink, scenario.devices
    first = number == devices.count
    seed = scenario.seed if first else derive_seed(scenario.seed, "server", number)
    division, together = (
        plan.parts[key].make(env) if key in plan.parts else None
        for key in ("server.uplink.access", "server.downlink.access")
    )
    division = division or Uplink(env, uplink.division == "redivided")
    together = together or Shared(NoOptions(), env)
    return EdgeServer(
        node=Device(
            env,
            number,
            options.processor,
            Battery(math.inf),
            options.tx_power_w,
            options.rx_power_w,
            options.idle_power_w,
        ),
        uplink=radio_of("server.uplink.path_loss", division, uplink.bandwidth_hz, devices, options),
        division=division,
        downlink=radio_of("server.downlink.path_loss", together, downlink.bandwidth_hz, options, devices),
        broadcasts=downlink.mode == "broadcast",
        selection=plan.parts["server.selection"].make(seed),
    )
