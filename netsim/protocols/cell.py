"""One of several edge servers below a cloud."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import simpy

from netsim.events import EdgeRow
from netsim.protocols.server_rounds import ServerRounds
from netsim.world.devices.device import Device
from netsim.world.edge_server import EdgeServer

if TYPE_CHECKING:
    from netsim.protocols.hierarchical import HierarchicalRounds

Process = Generator[simpy.Event, Any, Any]


class Cell(ServerRounds):
    """One edge server of a hierarchy, and its rounds.

    Attributes:
        heard: Devices whose uploads it has aggregated since the cloud has averaged.
        outbox: What its messages contain.
    """

    def __init__(self, whole: HierarchicalRounds, server: EdgeServer) -> None:
        network = replace(whole.network, servers=(server,), cloud=None)
        super().__init__(whole.options, network, whole.learner, whole.work, whole.rounds, whole.observer)
        self.states, self.ledger = whole.states, whole.ledger
        self.heard: set[int] = set()
        self._whole = whole
        self._begin_server()

    @property
    def outbox(self) -> Any:
        """Return what its messages contain."""
        return self._outbox

    def adopt(self, state: Any, outbox: Any) -> None:
        """Go on from the cloud's average."""
        self.states[self.server.number], self._outbox = state, outbox
        self.heard = set()

    def hold(self, t: int) -> Process:
        """Simulate round ``t`` with the devices that belong to the server now (a SimPy process)."""
        self._devices, self._handovers = self._whole.take(self.server, t)
        for node in (*self._devices, self.server.node):
            self.ledger.outside(node)  # it waited for the cloud, or for another server
        yield from self._round(t)
        self._whole.release(self._devices)

    def _present(self) -> Sequence[Device]:
        return self._devices

    def _aggregate(self, t: int, peers: Sequence[int], arrived: dict[int, Any]) -> Process:
        self.heard |= arrived.keys()
        return (yield from super()._aggregate(t, peers, arrived))

    def _evaluate(self, number: int, t: int, time_s: float, state: Any) -> None:
        if number != self.server.number or not self._whole.averages(t):  # then the average is evaluated
            super()._evaluate(number, t, time_s, state)

    def _tell_server(self, t: int, begin_s: float, chosen: int, arrived: int, flops: float) -> None:
        self.observer.on_edge_round(
            EdgeRow(
                t,
                self.server.number,
                "aggregated" if arrived else "empty",
                begin_s,
                self.network.env.now,
                len(self._devices),
                self._handovers,
                chosen,
                arrived,
                *self.ledger.take(self.server.node, t),
                flops=flops,
            )
        )
