"""Path losses of links, by the component that a scenario names."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np

from netsim.core.errors import ScenarioError
from netsim.core.own_code import code_of_ones_own
from netsim.core.pairs import Pairs
from netsim.scenario.classes import changes_of, class_by_device
from netsim.scenario.loading import Plan
from netsim.scenario.model import Devices
from netsim.world.mobility.motion import Motion
from netsim.world.radio.losses import Losses, MovingLosses
from netsim.world.radio.units import LARGEST_DB
from netsim.world.topology.topology import Link, Topology


def losses_of(plan: Plan, key: str, topology: Topology, motion: Motion | None, gain_db: float) -> Losses:
    """Compute path losses with the component that ``key`` names: those of links now, others when asked for.

    Args:
        plan: The scenario.
        key: A key of a path loss.
        topology: Links as the run begins.
        motion: How nodes move, if they do.
        gain_db: Gain of both antennas of each link [dB].

    Raises:
        ScenarioError: One of them is no loss, or a link is outside what the component is valid for.
    """
    part, carrier_hz = plan.parts[key], plan.scenario.radio.carrier_hz
    path_loss = part.make(plan.scenario.seed)
    extra_db = _extra_db(plan.scenario.devices)

    def of(links: Sequence[Link]) -> Sequence[float]:
        try:
            with code_of_ones_own(part.name, path_loss.losses_db):
                found_db: Sequence[float] = path_loss.losses_db(links, carrier_hz)
        except ScenarioError as error:
            raise ScenarioError(f"{key}: {error}") from error
        for link, found in zip(links, found_db, strict=True):
            if not isinstance(found, (float, Real)) or not float(found) >= -LARGEST_DB:
                raise ScenarioError(
                    f"{key}: {part.name!r} gives {found!r} dB for the link {link.ends[0]} - {link.ends[1]} of "
                    f"{link.distance_m:g} m; loss_db must return decibels, inf where nothing gets through"
                )
        return found_db

    with plan.named():
        found_db = np.array(of(list(topology.links())), dtype=float)
    if motion is not None:
        return MovingLosses(Pairs(topology.distance_m.ends, found_db), gain_db, motion, of, extra_db)
    other = Pairs(topology.distance_m.ends, found_db, lambda pair: float(of([topology.pair(*pair)])[0]))
    return Losses(other, gain_db, extra_db)


def _extra_db(devices: Devices) -> dict[int, float]:
    """Return what the antennas of devices have more than ``devices.antenna_gain_dbi`` where they differ [dB]."""
    classes, found = class_by_device(devices), {}
    for number in range(devices.count) if devices.classes or devices.overrides else ():
        for _, change in changes_of(devices, number, classes):
            if change.antenna_gain_dbi is not None:
                found[number] = change.antenna_gain_dbi - devices.antenna_gain_dbi
    return {number: extra for number, extra in found.items() if extra}
