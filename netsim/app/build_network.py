"""Builds the simulated world of a scenario: links and radios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import simpy

from netsim.app.air import End, air_of, rate_of
from netsim.app.build_servers import build_servers
from netsim.app.path_losses import losses_db
from netsim.events import Observer
from netsim.scenario.loading import Plan
from netsim.world.devices import Device
from netsim.world.network import Network
from netsim.world.radio import Radio
from netsim.world.radio.access import Access
from netsim.world.radio.half_duplex import HalfDuplex
from netsim.world.topology.star import draw_star
from netsim.world.topology.topology import Topology, draw_topology


def build_network(
    plan: Plan, env: simpy.Environment, topology: Topology, devices: Sequence[Device], observer: Observer
) -> Network:
    """Make radios, edge servers and the cloud, as far as there are any; put them together with devices and links.

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

    losses = cache(lambda key: losses_db(plan, key, topology))

    def radio_of(
        path_loss_key: str, access: Access, bandwidth_hz: float, sender: End, receiver: End
    ) -> Radio:
        air = air_of(scenario.radio, rate, bandwidth_hz, sender, receiver)
        return Radio(env, air, channel, access, losses(path_loss_key), observer.on_transfers)

    access, ends = parts["radio.access"].make(env), scenario.devices
    if scenario.radio.half_duplex:
        access = HalfDuplex(access)
    radio = radio_of("radio.path_loss", access, scenario.radio.bandwidth_hz, ends, ends)
    servers, cloud = build_servers(plan, env, topology, radio_of, observer)
    return Network(env, devices, topology, radio, stragglers, servers, cloud)


def build_topology(plan: Plan, owners: Mapping[str, frozenset[int]]) -> Topology:
    """Draw where everybody is, and the links.

    Args:
        plan: The scenario.
        owners: Which devices own each modality.
    """
    scenario = plan.scenario
    placement, count = plan.parts["topology.placement"].make(), scenario.devices.count
    protocol, server_m = plan.parts["protocol"], scenario.server.position_m
    if protocol.cls.needs_server:
        return draw_star(
            placement,
            count,
            lambda devices_m: protocol.cls.servers_m(protocol.options, devices_m, server_m),
            scenario.seed,
            server_m if protocol.cls.has_cloud else None,
        )
    return draw_topology(
        placement,
        plan.parts["topology.links"].make(),
        count,
        owners,
        scenario.seed,
        scenario.topology.require_connected,
    )
