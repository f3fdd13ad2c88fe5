"""Path losses of links, by the component that a scenario names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np

from netsim.core.errors import ScenarioError
from netsim.core.pairs import Pairs
from netsim.scenario.loading import Plan
from netsim.world.radio.units import LARGEST_DB
from netsim.world.topology.topology import Link, Topology

LossesOf = Callable[[Sequence[Link]], Sequence[float]]
"""A function from links to the path loss of each [dB]."""


def losses_db(plan: Plan, key: str, topology: Topology) -> tuple[Pairs, LossesOf]:
    """Compute the path loss of each link as the run begins [dB] with the component that ``key`` names.

    Those of other pairs are computed when asked for, those at later times by the function that is returned, too. It
    raises a ScenarioError, without the file, if one is no loss, or a link is outside what the component covers.

    Raises:
        ScenarioError: One of them is no loss, or a link is outside what the component is valid for.
    """
    part, carrier_hz = plan.parts[key], plan.scenario.radio.carrier_hz
    path_loss = part.make(plan.scenario.seed)

    def of(links: Sequence[Link]) -> Sequence[float]:
        try:
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
    return Pairs(topology.distance_m.ends, found_db, lambda pair: float(of([topology.pair(*pair)])[0])), of
