"""Neighbours in a round, where links come and go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from netsim.protocols.roster import Roster


class Company:
    """The neighbours of devices in their rounds.

    A link belongs to a round if it is there when the first of its ends begins the round, and the other end is then in
    the round before. So who is somebody's neighbour in a round has that one for a neighbour, too, and neighbours are at
    most one round apart, as on links that stay. A device that has fallen farther behind is not waited for; it is
    alone until it has caught up, and so may be one that has just returned. Neighbours stay so until the round ends,
    wherever they go.

    Args:
        devices: Number of devices.

    Attributes:
        roster: Who takes part in which rounds.
    """

    def __init__(self, devices: int) -> None:
        self.roster = Roster(devices)
        self._met: defaultdict[int, list[list[int]]] = defaultdict(lambda: [[] for _ in range(devices)])
        self._begun: defaultdict[int, dict[int, float]] = defaultdict(dict)

    def begin(self, device: int, round: int, near: Sequence[int], now_s: float) -> list[int]:
        """Let ``device`` begin ``round`` while others are ``near``; return its neighbours in the order of numbers."""
        met, begun, before = self._met[round], self._begun[round], self._begun.get(round - 1)
        begun[device] = now_s
        for other in near:
            if other not in begun and (before is None or before.get(other, now_s) < now_s):
                met[device].append(other)
                met[other].append(device)
        met[device].sort()
        return met[device]

    def around(self, device: int, round: int) -> Mapping[int, Sequence[int]]:
        """Return the neighbours, in ``round``, of ``device`` and of each of its neighbours."""
        met = self._met[round]
        return {k: sorted(met[k]) for k in (device, *met[device])}

    def close(self, round: int) -> None:
        """Forget a round that all have left."""
        self._met.pop(round, None)
        self._begun.pop(round, None)
