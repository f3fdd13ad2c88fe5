"""Path losses of all links, by the component that a scenario names."""

from __future__ import annotations

from numbers import Real

import numpy as np

from netsim.core.errors import ScenarioError
from netsim.core.pairs import Pairs
from netsim.scenario.loading import Plan
from netsim.world.radio.units import LARGEST_DB
from netsim.world.topology.topology import Topology


def losses_db(plan: Plan, key: str, topology: Topology) -> Pairs:
    """Compute the path loss of each link [dB] with the component that ``key`` names.

    Raises:
        ScenarioError: One of them is no loss.
    """
    part, carrier_hz = plan.parts[key], plan.scenario.radio.carrier_hz
    path_loss = part.make(plan.scenario.seed)
    found_db: list[float] = []
    for link in topology.links():
        found = path_loss.loss_db(link, carrier_hz)
        if not isinstance(found, (float, Real)) or not float(found) >= -LARGEST_DB:
            raise ScenarioError(
                f"{plan.file}: {key}: {part.name!r} gives {found!r} dB for the link {link.ends[0]} - {link.ends[1]} of "
                f"{link.distance_m:g} m; loss_db must return decibels, inf where nothing gets through"
            )
        found_db.append(float(found))
    return Pairs(topology.distance_m.ends, np.array(found_db))
