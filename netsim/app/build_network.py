"""Builds the simulated world of a scenario: devices, links and radios."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import simpy

from netsim.app.air import End, air_of, rate_of
from netsim.app.build_servers import build_servers
from netsim.app.path_losses import losses_db
from netsim.events import Observer
from netsim.scenario.classes import class_by_device
from netsim.scenario.loading import Plan
from netsim.scenario.model import Devices, Difference
from netsim.world.devices import Device, Processor
from netsim.world.mobility.motion import Motion
from netsim.world.network import Network
from netsim.world.radio import Radio
from netsim.world.radio.access import Access
from netsim.world.radio.half_duplex import HalfDuplex
from netsim.world.radio.moving import MovingLosses
from netsim.world.topology.topology import Topology


def build_network(
    plan: Plan,
    env: simpy.Environment,
    topology: Topology,
    motion: Motion | None,
    devices: Sequence[Device],
    observer: Observer,
) -> Network:
    """Make radios, edge servers and the cloud, as far as there are any; put them together with devices and links.

    Args:
        plan: The scenario.
        env: The clock.
        topology: Positions and links as the run begins.
        motion: How devices move.
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
        first, of_links = losses(path_loss_key)
        moving = MovingLosses(motion, of_links, air.antenna_gain_db) if motion else None
        return Radio(env, air, channel, access, first, observer.on_transfers, moving)

    access, ends = parts["radio.access"].make(env), scenario.devices
    if scenario.radio.half_duplex:
        access = HalfDuplex(access)
    radio = radio_of("radio.path_loss", access, scenario.radio.bandwidth_hz, ends, ends)
    servers, cloud = build_servers(plan, env, topology, radio_of, observer)
    return Network(env, devices, topology, radio, stragglers, servers, cloud, motion)


def build_devices(env: simpy.Environment, options: Devices) -> list[Device]:
    """Make the scenario's devices, with what their classes and then ``overrides`` change; later entries win."""
    devices, classes = [], class_by_device(options)
    for number in range(options.count):
        processor, battery = options.processor, options.battery
        power = {"tx_power_w": options.tx_power_w, "rx_power_w": options.rx_power_w}
        power["idle_power_w"] = options.idle_power_w
        changes: list[Difference] = [options.classes[classes[number]]] if number in classes else []
        for change in (*changes, *(one for one in options.overrides if number in one.devices)):
            processor = Processor(
                **{**processor.model_dump(), **change.processor.model_dump(exclude_none=True)}
            )
            battery = change.battery or battery
            power |= {key: value for key in power if (value := getattr(change, key)) is not None}
        devices.append(Device(env, number, processor, battery.capacity_j, **power))
    return devices
