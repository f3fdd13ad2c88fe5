"""Builds the devices of a scenario."""

from __future__ import annotations

import math
from itertools import chain

import simpy

from netsim.core.errors import ScenarioError
from netsim.scenario.classes import changed_processor, changes_of, class_by_device
from netsim.scenario.loading import Plan
from netsim.world.devices import Device
from netsim.world.devices.harvest import NoHarvest

POWERS = ("tx_power_w", "rx_power_w", "idle_power_w", "sleep_power_w", "wake_j")
"""Keys of a device's powers."""


def build_devices(env: simpy.Environment, plan: Plan) -> list[Device]:
    """Make the scenario's devices, with what their classes and then ``overrides`` change; later entries win.

    Raises:
        ScenarioError: Unlimited power cannot be harvested into, or churn or a harvester cannot be made as asked.
    """
    options, seed = plan.scenario.devices, plan.scenario.seed
    churn = plan.parts["devices.churn"].make(options.count, seed)
    devices, classes = [], class_by_device(options)
    for number in range(options.count):
        parts = {key: plan.parts[f"devices.{key}"] for key in ("battery", "harvest")}
        powers = {key: getattr(options, key) for key in POWERS}
        changes = changes_of(options, number, classes)
        for place, change in changes:
            parts |= {key: own for key in parts if (own := plan.device_parts.get((*place, key)))}
            powers |= {key: value for key in powers if (value := getattr(change, key)) is not None}
        battery = parts["battery"].cls(**dict(parts["battery"].options))
        harvest = None if parts["harvest"].cls is NoHarvest else parts["harvest"].make(number, seed)
        if harvest is not None and math.isinf(battery.capacity_j):
            raise ScenarioError(
                f"devices.harvest: device {number} has unlimited power, which is not harvested into; set "
                "devices.battery.capacity_j, or harvest: none"
            )
        absences = churn.absences(number)
        first = next(absences, None)
        devices.append(
            Device(
                env,
                number,
                changed_processor(options.processor, (change for _, change in changes)),
                battery,
                **powers,
                harvest=harvest,
                absences=None if first is None else chain([first], absences),
            )
        )
    return devices
