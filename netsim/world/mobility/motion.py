"""The network at each update of its devices' positions."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from netsim.core.arrays import Floats, Truths, Whole
from netsim.core.pairs import Pairs
from netsim.core.streams import stream
from netsim.world.mobility.mobility import Moving
from netsim.world.topology.links import Ends, LinkRule, distance_m
from netsim.world.topology.placement import Positions
from netsim.world.topology.topology import Link, Topology

KEPT = 512
"""Updates whose positions are kept."""


class Motion:
    """Positions and links from each update to the next; update n is at n ``every_s``.

    Args:
        mobility: How devices move.
        rule: Which devices are linked; None with edge servers, to each of which all are linked.
        first: The network as the run begins.
        seed: The run's seed.

    Attributes:
        patience_s: Time for which a transfer waits for a link that has gone [s].
    """

    def __init__(self, mobility: Moving, rule: LinkRule | None, first: Topology, seed: int) -> None:
        self._mobility = mobility
        self._rule = rule if rule is not None and rule.follows_positions else None
        self._first = first
        self._seed = seed
        options = mobility.options
        self.every_s = options.every_s
        self.patience_s = options.resume_within_s if options.on_link_loss == "resume" else 0.0
        self._positions: OrderedDict[int, Positions] = OrderedDict()
        self._latest: tuple[int, Topology] = 0, first

    def mobility(self) -> Moving:
        """Return the same ways once more, for somebody who asks in an order of his own."""
        return type(self._mobility)(self._mobility.options, self._mobility.placed_m, self._seed)

    def update(self, now_s: float) -> int:
        """Return the number of the last update at ``now_s`` [s]."""
        return int(self.updates(np.array([now_s]))[0])

    def updates(self, times_s: Floats) -> Whole:
        """Return the number of the last update at each of ``times_s`` [s]."""
        number = (times_s // self.every_s).astype(np.int64)
        return number + ((number + 1) * self.every_s <= times_s)  # the boundary itself, but for rounding

    def until_s(self, now_s: float) -> float:
        """Return the time of the next update [s]."""
        return (self.update(now_s) + 1) * self.every_s

    def positions_m(self, update: int) -> Positions:
        """Return where all nodes are from ``update`` on [m], [nodes, 2]; edge servers stay where they are."""
        known = self._positions.get(update)
        if known is None:
            moved = self._mobility.positions_m(update * self.every_s)
            known = self._positions[update] = np.vstack([moved, self._first.positions[len(moved) :]])
            if len(self._positions) > KEPT:
                self._positions.popitem(last=False)
        return known

    def topology(self, update: int) -> Topology:
        """Return positions and links from ``update`` on."""
        if self._latest[0] != update:
            positions, ends = self.positions_m(update), self._first.distance_m.ends
            if self._rule is not None:
                found, nodes = (
                    np.sort(self._rule.links(positions, stream(self._seed, "links", 0))),
                    len(positions),
                )
                ends = np.stack(np.divmod(np.unique(found @ [nodes, 1]), nodes), axis=1)
            known = Pairs(ends, distance_m(positions, ends))
            self._latest = update, Topology(positions, known, 1, self._first.server)
        return self._latest[1]

    def linked(self, ends: Ends, update: int) -> Truths:
        """Return whether each pair of nodes (lower number, higher number) [pairs, 2] is linked from ``update`` on."""
        if self._rule is None:  # such links stay
            return np.ones(len(ends), dtype=bool)
        return self._rule.linked(self.positions_m(update), ends)

    def links(self, ends: Ends, update: int) -> list[Link]:
        """Return the links between pairs that are linked from ``update`` on."""
        positions, name = self.positions_m(update), self._first.name
        columns = ends.tolist(), distance_m(positions, ends).tolist(), positions[ends].tolist()
        return [
            Link((a, name(b)), length_m, (tuple(one), tuple(other)))
            for (a, b), length_m, (one, other) in zip(*columns, strict=True)
        ]
