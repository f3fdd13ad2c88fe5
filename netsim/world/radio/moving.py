"""Path losses between nodes that move."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from netsim.core.arrays import Floats
from netsim.world.mobility.motion import Motion
from netsim.world.radio.units import db_to_power
from netsim.world.topology.links import Ends
from netsim.world.topology.topology import Link


class MovingLosses:
    """Path losses between moving nodes, from each update of their positions to the next.

    Args:
        motion: Where they are.
        losses_db: Computes the path losses of links [dB].
        gain_db: Gain of both antennas of each link [dB].
    """

    def __init__(
        self,
        motion: Motion,
        losses_db: Callable[[Sequence[Link]], Sequence[float]],
        gain_db: float = 0.0,
    ) -> None:
        self.motion = motion
        self._losses_db = losses_db
        self._gain_db = gain_db
        self._update = -1
        self._known: dict[tuple[int, int, bool], float] = {}

    def power(self, a: int, b: int, now_s: float, across: bool = False) -> float:
        """Return the power gain of path loss and antennas at ``now_s`` [s].

        It is 0 where there is no link, unless it is asked ``across`` links: all disturb each other.
        """
        update = self.motion.update(now_s)
        if update != self._update:
            self._update, self._known = update, {}
        pair = (a, b, across) if a < b else (b, a, across)
        if pair not in self._known:
            self._known[pair] = float(self.powers(np.array([pair[:2]]), update, across)[0])
        return self._known[pair]

    def powers(self, ends: Ends, update: int, across: bool = False) -> Floats:
        """Return the same of many pairs (lower number, higher number) [pairs, 2], from ``update`` on [pairs]."""
        heard = np.full(len(ends), True) if across else self.motion.linked(ends, update)
        losses_db = self._losses_db(self.motion.links(ends[heard], update))
        power = np.zeros(len(ends))
        power[heard] = [db_to_power(self._gain_db - loss_db) for loss_db in losses_db]
        return power
