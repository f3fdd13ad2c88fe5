"""Radios that cannot send and receive at the same time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import simpy

from netsim.world.radio.access import Access, Band
from netsim.world.radio.air import Air
from netsim.world.radio.hearing import Ether


@dataclass(eq=False)
class _Transfer:
    """A transfer that is running or waits.

    Attributes:
        number: Its place in the order in which transfers come.
        ahead: Number of earlier ones that are here and that it cannot run beside.
        free: Event at which there are none left.
    """

    number: int
    ahead: int
    free: simpy.Event


class HalfDuplex(Access):
    """Access of half-duplex radios: a transfer waits until its sender receives nothing and its receiver sends nothing.

    Who waits longest comes first: a transfer never overtakes an earlier one that it would hold up. So everybody's turn
    comes.

    Args:
        access: What divides the band among the transfers that need not wait.
    """

    def __init__(self, access: Access) -> None:
        super().__init__(access.options, access.env)
        self._access = access
        self._count = 0
        self._from: defaultdict[int, dict[int, _Transfer]] = defaultdict(dict)  # by sender and number
        self._to: defaultdict[int, dict[int, _Transfer]] = defaultdict(dict)  # by receiver and number

    def use(self, air: Air, ether: Ether) -> None:
        """Learn what the links have in common, and tell the access method."""
        self._access.use(air, ether)

    def densest(self, senders: int) -> float:
        """Return what the access method returns."""
        return self._access.densest(senders)

    def band(self, sender: int, receiver: int) -> Band:
        """Return the band that the access method gives."""
        return self._access.band(sender, receiver)

    @contextmanager
    def radios(self, sender: int, receiver: int) -> Generator[simpy.Event | None]:
        """Keep ``sender`` sending and ``receiver`` receiving while the block runs; yield when that can begin."""
        ahead = len(self._to[sender]) + len(self._from[receiver])
        self._count += 1
        this = _Transfer(self._count, ahead, self.env.event())
        self._from[sender][this.number] = self._to[receiver][this.number] = this
        try:
            yield this.free if ahead else None
        finally:
            del self._from[sender][this.number], self._to[receiver][this.number]
            for other in (*self._to[sender].values(), *self._from[receiver].values()):
                if other.number > this.number:
                    other.ahead -= 1
                    if not other.ahead:
                        other.free.succeed()
