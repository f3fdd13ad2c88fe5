"""Times and energies that nodes have spent and that are not recorded yet."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from netsim.core.arrays import Floats
from netsim.events import Observer, OutsideRow, RowBatch
from netsim.world.devices.device import Device
from netsim.world.devices.meter import Account
from netsim.world.network import Network


class _Page(NamedTuple):
    """A node's account, the time [s], its round and whether it was alive, when it was last recorded."""

    account: Account
    time_s: float
    round: int
    alive: bool


class Ledger:
    """Ensures that each second and each joule of a node is recorded in exactly one row.

    When a round ends, the protocol takes what the round has cost (:meth:`take`). What a node spends between its rounds
    is recorded in rows of its own (:meth:`outside`). So battery capacity = recorded energy + remaining energy holds
    after each row.
    """

    def __init__(self, network: Network, observer: Observer) -> None:
        self._network = network
        self._observer = observer
        self._begin = _Page(Account(*[0.0] * 8), network.env.now, 0, True)
        self._pages: dict[int, _Page] = {}
        self._settled = False

    def take(self, node: Device, round: int) -> Account:
        """Return what ``node`` spent since its last row, for the row of its ``round``, which ends now."""
        page = self._pages.get(node.number, self._begin)
        self._pages[node.number] = after = self._page(node, round)
        return after.account.since(page.account)

    def settle(self, spent: Floats, since_s: Floats, round: int) -> None:
        """Record what all devices, on unlimited power, spent since they ended ``round``, their last; the run ends now.

        Args:
            spent: Seconds and joules of each, as rows of an account [8, devices].
            since_s: Time at which each ended the round [s].
            round: The round.
        """
        devices = np.flatnonzero(spent.any(axis=0))
        columns: list[Any] = [
            devices,
            round,
            "waited",
            since_s[devices],
            np.full(len(devices), self._network.env.now),
            *spent[:, devices],
            math.inf,
        ]
        if len(devices):
            self._observer.on_outsides(RowBatch(OutsideRow(*columns), len(devices)))
        self._settled = True

    def outside(self, node: Device) -> None:
        """Record what ``node`` spent since its last row, if anything, outside its rounds.

        It must not be called during a round of the node.
        """
        page = self._pages.get(node.number, self._begin)
        spent = self.take(node, page.round)
        died = page.alive and not node.alive
        if any(spent) or died:
            end_s = min(self._network.env.now, max(node.died_s, page.time_s))
            self._observer.on_outside(
                OutsideRow(
                    node.number,
                    page.round,
                    "died" if died else "waited",
                    page.time_s,
                    end_s,
                    *spent,
                    battery_j=node.battery.remaining_j,
                )
            )

    def close(self) -> None:
        """Record, at the end of the run, what all nodes have spent since their last rows."""
        for node in () if self._settled else self._network.nodes:
            self.outside(node)

    def _page(self, node: Device, round: int) -> _Page:
        return _Page(node.meter.account(), self._network.env.now, round, node.alive)
