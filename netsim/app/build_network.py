"""Builds the simulated world of a scenario: links, radios, and the edge server."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import simpy

from netsim.app.air import End, air_of, rate_of
from netsim.app.path_losses import losses_db
from netsim.core.options import NoOptions
from netsim.events import Observer
from netsim.scenario.loading import Plan
from netsim.world.devices import Battery, Device
from netsim.world.edge_server import EdgeServer
from netsim.world.network import Network
from netsim.world.radio import Radio
from netsim.world.radio.access import Access, Shared, Uplink
from netsim.world.topology.star import draw_star
from netsim.world.topology.topology import Topology, draw_topology


def build_network(
    plan: Plan, env: simpy.Environment, topology: Topology, devices: Sequence[Device], observer: Observer
) -> Network:
    """Make the radios, and the edge server if the protocol has one; put them together with devices and links.

    Args:
        plan: The scenario.
        env: The clock.
        topology: Positions and links.
        devices: By number.
        observer: Is told of transfers.

    Raises:
        ScenarioError: A path loss is no loss, or the stragglers cannot be made as asked.
    """
    scenario, parts = plan.scenario, plan.parts
    with plan.named():
        stragglers = parts["devices.stragglers"].make(scenario.devices.count, scenario.seed)
    channel, rate = parts["radio.channel"].make(scenario.seed, scenario.radio.carrier_hz), rate_of(plan)

    def radio_of(
        path_loss_key: str, access: Access, bandwidth_hz: float, sender: End, receiver: End
    ) -> Radio:
        air = air_of(scenario.radio, rate, bandwidth_hz, sender, receiver)
        return Radio(
            env, air, channel, access, losses_db(plan, path_loss_key, topology), observer.on_transfers
        )

    access, ends = parts["radio.access"].make(env), scenario.devices
    radio = radio_of("radio.path_loss", access, scenario.radio.bandwidth_hz, ends, ends)
    server = _server(plan, env, radio_of) if parts["protocol"].cls.needs_server else None
    return Network(env, devices, topology, radio, stragglers, server)


def build_topology(plan: Plan, owners: Mapping[str, frozenset[int]]) -> Topology:
    """Draw where everybody is, and the links.

    Args:
        plan: The scenario.
        owners: Which devices own each modality.
    """
    scenario = plan.scenario
    placement, count = plan.parts["topology.placement"].make(), scenario.devices.count
    if plan.parts["protocol"].cls.needs_server:
        return draw_star(placement, count, scenario.server.position_m, scenario.seed)
    return draw_topology(
        placement,
        plan.parts["topology.links"].make(),
        count,
        owners,
        scenario.seed,
        scenario.topology.require_connected,
    )


def _server(
    plan: Plan, env: simpy.Environment, radio_of: Callable[[str, Access, float, End, End], Radio]
) -> EdgeServer:
    """Make the edge server, with radios that ``radio_of`` makes of path loss, access, bandwidth and both ends."""
    scenario, options = plan.scenario, plan.scenario.server
    uplink, downlink, devices = options.uplink, options.downlink, scenario.devices
    division = Uplink(env, uplink.division == "redivided")
    return EdgeServer(
        node=Device(
            env,
            scenario.devices.count,
            options.processor,
            Battery(math.inf),
            options.tx_power_w,
            options.rx_power_w,
            options.idle_power_w,
        ),
        uplink=radio_of("server.uplink.path_loss", division, uplink.bandwidth_hz, devices, options),
        division=division,
        downlink=radio_of(
            "server.downlink.path_loss", Shared(NoOptions(), env), downlink.bandwidth_hz, options, devices
        ),
        broadcasts=downlink.mode == "broadcast",
        selection=plan.parts["server.selection"].make(scenario.seed),
    )
