"""Builds the simulated world of a scenario: links and radios."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import simpy

from netsim.app.air import End, air_of, rate_of
from netsim.app.build_devices import build_devices
from netsim.app.build_servers import build_servers
from netsim.app.path_losses import losses_of
from netsim.app.placed import build_topology
from netsim.events import Observer
from netsim.scenario.loading import Plan
from netsim.world.network import Network
from netsim.world.radio import Radio
from netsim.world.radio.access import Access
from netsim.world.radio.half_duplex import HalfDuplex


def build_network(
    plan: Plan, env: simpy.Environment, owners: Mapping[str, frozenset[int]], observer: Observer
) -> Network:
    """Make devices and links, radios, and edge servers and the cloud, as far as there are any.

    Args:
        plan: The scenario.
        env: The clock.
        owners: Which devices own each modality.
        observer: Is told of transfers.

    Raises:
        ScenarioError: Something cannot be made as asked.
    """
    scenario, parts = plan.scenario, plan.parts
    with plan.named():
        topology, motion = build_topology(plan, owners)
        devices = build_devices(env, plan)
        stragglers = parts["devices.stragglers"].make(scenario.devices.count, scenario.seed)
    channel, rate = parts["radio.channel"].make(scenario.seed, scenario.radio.carrier_hz), rate_of(plan)

    losses = cache(lambda key, gain_db: losses_of(plan, key, topology, motion, gain_db))

    def radio_of(
        path_loss_key: str, access: Access, bandwidth_hz: float, sender: End, receiver: End
    ) -> Radio:
        air = air_of(scenario.radio, rate, bandwidth_hz, sender, receiver)
        path_losses = losses(path_loss_key, air.antenna_gain_db)
        return Radio(env, air, channel, access, path_losses, observer.on_transfers)

    access, ends = parts["radio.access"].make(env), scenario.devices
    if scenario.radio.half_duplex:
        access = HalfDuplex(access)
    radio = radio_of("radio.path_loss", access, scenario.radio.bandwidth_hz, ends, ends)
    servers, cloud = build_servers(plan, env, topology, radio_of, observer)
    return Network(env, devices, topology, radio, stragglers, servers, cloud, motion)
