"""What nodes spent that is in no record yet."""

from __future__ import annotations

from typing import NamedTuple

from netsim.events import Observer, OutsideRow
from netsim.world.devices.device import Device
from netsim.world.devices.meter import Account
from netsim.world.network import Network


class _Page(NamedTuple):
    """A node when a row was last written of it: its account, the time [s], its round, whether it lived."""

    account: Account
    time_s: float
    round: int
    alive: bool


class Ledger:
    """Sees to it that each second and each joule of a node is in one row: of a round of its, or of none.

    A protocol takes out what a round has cost as the round ends (:meth:`take`). What a node spends outside its rounds
    gets rows of its own (:meth:`outside`), so that capacity = recorded + left holds whenever somebody asks.
    """

    def __init__(self, network: Network, observer: Observer) -> None:
        self._network = network
        self._observer = observer
        self._pages = {node.number: self._page(node, 0) for node in network.nodes}

    def take(self, node: Device, round: int) -> Account:
        """What ``node`` spent in its ``round``, which ends now: all since its last row."""
        page = self._pages[node.number]
        self._pages[node.number] = after = self._page(node, round)
        return after.account.since(page.account)

    def outside(self, node: Device) -> None:
        """A row of what ``node`` spent since its last round, if it was anything; none of its rounds is under way."""
        page = self._pages[node.number]
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
        """The run ends: what is in no record yet is outside all rounds."""
        for node in self._network.nodes:
            self.outside(node)

    def _page(self, node: Device, round: int) -> _Page:
        return _Page(node.meter.account(), self._network.env.now, round, node.alive)
