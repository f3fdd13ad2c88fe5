"""Times and energies that nodes have spent and that are not recorded yet."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from netsim.core.arrays import Floats
from netsim.events import ChargeRow, Observer, OutsideRow, RowBatch
from netsim.world.devices.device import Device
from netsim.world.devices.meter import Account
from netsim.world.network import Network


class _Page(NamedTuple):
    """A node when it was last recorded.

    Attributes:
        account: Its account.
        time_s: The time [s].
        round: Its round.
        absences: Number of times that it had gone.
        absence: Why it was not there, "dead" or "away"; empty if it was.
        harvested_j: Energy that had been harvested [J].
        wasted_j: Energy that had been wasted [J].
    """

    account: Account
    time_s: float
    round: int
    absences: int = 0
    absence: str = ""
    harvested_j: float = 0.0
    wasted_j: float = 0.0


class Ledger:
    """Ensures that each second and each joule of a node is recorded in exactly one row.

    When a round ends, the protocol takes what the round has cost (:meth:`take`). What a node spends between its rounds
    is recorded in rows of its own (:meth:`outside`). So battery capacity = recorded energy + remaining energy holds
    after each row, with what was harvested and wasted (:class:`~netsim.events.ChargeRow`).
    """

    def __init__(self, network: Network, observer: Observer) -> None:
        self._network = network
        self._observer = observer
        self._begin = _Page(Account(*[0.0] * 8), network.env.now, 0)
        self._pages: dict[int, _Page] = {}
        self._settled = False

    def take(self, node: Device, round: int) -> Account:
        """Return what ``node`` spent since its last row, for the row of its ``round``, which ends now."""
        page = self._pages.get(node.number, self._begin)
        self._pages[node.number] = after = self._page(node, round)
        if node.meter.followed and after.time_s > page.time_s:
            charge = after.harvested_j - page.harvested_j, after.wasted_j - page.wasted_j
            self._observer.on_charge(ChargeRow(node.number, round, page.time_s, after.time_s, *charge))
        return after.account.since(page.account)

    def outcome(self, node: Device, otherwise: str) -> str:
        """Return why ``node`` is not there, or was not at some time since its last row; ``otherwise`` if it was."""
        page = self._pages.get(node.number, self._begin)
        return node.reason if not node.alive or node.absences > page.absences else otherwise

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
        went = node.absences > page.absences
        outcome = node.reason if went else page.absence or "waited"
        stays = node.alive or node.may_return
        end_s = self._network.env.now if stays else min(self._network.env.now, max(node.gone_s, page.time_s))
        spent = self.take(node, page.round)
        if any(spent) or went or (end_s > page.time_s and page.absence):
            self._observer.on_outside(
                OutsideRow(
                    node.number,
                    page.round,
                    outcome,
                    page.time_s,
                    end_s,
                    *spent,
                    battery_j=node.battery.remaining_j,
                )
            )

    def catch_up(self, node: Device) -> None:
        """Record what ``node`` spent outside its rounds, if its last row does not end now."""
        if self._pages.get(node.number, self._begin).time_s < self._network.env.now:
            self.outside(node)

    def close(self) -> None:
        """Record, at the end of the run, what all nodes have spent since their last rows."""
        for node in () if self._settled else self._network.nodes:
            self.outside(node)

    def _page(self, node: Device, round: int) -> _Page:
        account, battery = node.meter.account(), node.battery
        return _Page(
            account,
            self._network.env.now,
            round,
            node.absences,
            "" if node.alive else "dead" if node.meter.dead else "away",
            battery.harvested_j,
            battery.wasted_j,
        )
