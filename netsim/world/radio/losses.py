"""Path losses between nodes, which stay where they are or move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from netsim.core.arrays import Floats, Whole
from netsim.core.pairs import Pairs
from netsim.world.mobility.motion import Motion
from netsim.world.radio.units import db_to_power
from netsim.world.topology.links import Ends
from netsim.world.topology.topology import Link

LossesOf = Callable[[Sequence[Link]], Sequence[float]]
"""A function from links to the path loss of each [dB]."""


class Losses:
    """Path losses between nodes that stay where they are.

    Args:
        first_db: Path loss of each link as the run begins [dB], and of other pairs when asked for.
        gain_db: Gain of both antennas of each link [dB].
        extra_db: What the antennas of some nodes have more, by their numbers [dB].

    Attributes:
        first_db: The same path losses.
    """

    def __init__(
        self, first_db: Pairs, gain_db: float = 0.0, extra_db: Mapping[int, float] | None = None
    ) -> None:
        self.first_db = first_db
        self._gain_db = gain_db
        self._extra_db = extra_db or {}
        self._known: dict[tuple[int, int], float] = {}

    def power(self, a: int, b: int, now_s: float, across: bool = False) -> float:
        """Return the power gain of path loss and antennas at ``now_s`` [s].

        It is 0 where a link has gone, unless it is asked ``across`` links: all disturb each other.
        """
        pair = (a, b) if a < b else (b, a)
        known = self._known.get(pair)
        if known is None:
            known = self._known[pair] = self._powers([self.first_db[pair]], [pair])[0]
        return known

    def first_powers(self, a: Whole, b: Whole) -> Floats:
        """Return the power gains of many links as the run begins, from nodes ``a`` to nodes ``b``."""
        places = self.first_db.places(np.minimum(a, b), np.maximum(a, b))
        if self._extra_db:
            ends = np.stack([a, b], axis=1).tolist()
            return np.array(self._powers(self.first_db.numbers[places].tolist(), ends))
        return np.array(self._powers(self.first_db.numbers.tolist(), ()))[places]

    def _powers(self, losses_db: Iterable[float], ends: Iterable[Sequence[int]]) -> list[float]:
        """Return the power gains of links; their ``ends`` are not looked at where all antennas are equal."""
        extra_db = self._extra_db
        if not extra_db:
            return [db_to_power(self._gain_db - loss_db) for loss_db in losses_db]
        return [
            db_to_power(self._gain_db + extra_db.get(a, 0.0) + extra_db.get(b, 0.0) - loss_db)
            for loss_db, (a, b) in zip(losses_db, ends, strict=True)
        ]


class MovingLosses(Losses):
    """Path losses between moving nodes, from each update of their positions to the next.

    Args:
        first_db: Path loss of each link as the run begins [dB].
        gain_db: Gain of both antennas of each link [dB].
        motion: Where the nodes are.
        losses_db: Computes the path losses of links.
        extra_db: What the antennas of some nodes have more, by their numbers [dB].
    """

    def __init__(
        self,
        first_db: Pairs,
        gain_db: float,
        motion: Motion,
        losses_db: LossesOf,
        extra_db: Mapping[int, float] | None = None,
    ) -> None:
        super().__init__(first_db, gain_db, extra_db)
        self.motion = motion
        self._losses_db = losses_db
        self._update = -1
        self._now: dict[tuple[int, int, bool], float] = {}

    def power(self, a: int, b: int, now_s: float, across: bool = False) -> float:
        """Return the power gain of path loss and antennas at ``now_s`` [s]; see :meth:`Losses.power`."""
        update = self.motion.update(now_s)
        if update != self._update:
            self._update, self._now = update, {}
        pair = (a, b, across) if a < b else (b, a, across)
        if pair not in self._now:
            self._now[pair] = float(self.powers(np.array([pair[:2]]), update, across)[0])
        return self._now[pair]

    def powers(self, ends: Ends, update: int, across: bool = False) -> Floats:
        """Return the same of many pairs (lower number, higher number) [pairs, 2], from ``update`` on [pairs]."""
        heard = np.full(len(ends), True) if across else self.motion.linked(ends, update)
        power = np.zeros(len(ends))
        losses_db = self._losses_db(self.motion.links(ends[heard], update))
        power[heard] = self._powers(losses_db, ends[heard].tolist())
        return power
