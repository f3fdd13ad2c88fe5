"""Builds the simulated world of a scenario: devices, links, radios, and the edge server."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import simpy

from netsim.app.path_losses import losses_db
from netsim.core.options import NoOptions
from netsim.events import Observer
from netsim.scenario.classes import class_by_device
from netsim.scenario.loading import Plan
from netsim.scenario.model import Devices, Difference, RadioOptions
from netsim.world.devices import Device, Processor
from netsim.world.edge_server import EdgeServer
from netsim.world.mobility.motion import Motion
from netsim.world.network import Network
from netsim.world.radio import Air, Radio
from netsim.world.radio.access import Access, Shared, Uplink
from netsim.world.radio.units import db_to_power, dbm_to_w
from netsim.world.topology.topology import Topology


def build_network(
    plan: Plan,
    env: simpy.Environment,
    topology: Topology,
    motion: Motion | None,
    devices: Sequence[Device],
    observer: Observer,
) -> Network:
    """Make the radios, and the edge server if the protocol has one; put them together with devices and links.

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
    channel = parts["radio.channel"].make(scenario.seed)

    def radio_of(path_loss_key: str, access: Access, bandwidth_hz: float) -> Radio:
        air = _air(scenario.radio, bandwidth_hz)
        first, moving = losses_db(plan, path_loss_key, topology, motion)
        return Radio(env, air, channel, access, first, observer.on_transfers, moving)

    radio = radio_of("radio.path_loss", parts["radio.access"].make(env), scenario.radio.bandwidth_hz)
    server = _server(plan, env, radio_of) if parts["protocol"].cls.needs_server else None
    return Network(env, devices, topology, radio, stragglers, server, motion)


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


def _air(options: RadioOptions, bandwidth_hz: float) -> Air:
    """Gather what all links of a radio with ``bandwidth_hz`` have in common."""
    threshold_db = options.outage_snr_db
    return Air(
        bandwidth_hz,
        dbm_to_w(options.noise_dbm_per_hz),
        db_to_power(threshold_db) if threshold_db is not None else 0.0,
        options.acknowledgement_bits,
    )


def _server(
    plan: Plan, env: simpy.Environment, radio_of: Callable[[str, Access, float], Radio]
) -> EdgeServer:
    """Make the edge server, with radios that ``radio_of`` makes of path loss, access and bandwidth."""
    scenario, options = plan.scenario, plan.scenario.server
    uplink, downlink = options.uplink, options.downlink
    division = Uplink(env, uplink.division == "redivided")
    return EdgeServer(
        node=Device(
            env,
            scenario.devices.count,
            options.processor,
            math.inf,
            options.tx_power_w,
            options.rx_power_w,
            options.idle_power_w,
        ),
        uplink=radio_of("server.uplink.path_loss", division, uplink.bandwidth_hz),
        division=division,
        downlink=radio_of("server.downlink.path_loss", Shared(NoOptions(), env), downlink.bandwidth_hz),
        broadcasts=downlink.mode == "broadcast",
        selection=plan.parts["server.selection"].make(scenario.seed),
    )
