"""Rounds at two time scales: devices and their edge servers, edge servers and the cloud."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import simpy
from pydantic import Field, model_validator

from netsim.core.budget import Budget
from netsim.core.errors import ScenarioError
from netsim.events import EdgeRow
from netsim.learner import Learner
from netsim.protocols.cell import Cell
from netsim.protocols.node import Update, local_update
from netsim.protocols.open_rounds import OpenRounds
from netsim.protocols.server_protocol import ServerProtocol
from netsim.protocols.server_rounds import ServerRounds
from netsim.world.cloud import BackhaulOptions, CloudProcessor
from netsim.world.devices.device import Device, first_of
from netsim.world.network import EdgeServer, best_server
from netsim.world.topology.centres import Positions, centres

Process = Generator[simpy.Event, Any, Any]


class HierarchicalRounds(ServerProtocol):
    """Edge servers hold rounds with their devices; after ``edge_rounds`` of them the cloud averages their models.

    It is Client-Edge-Cloud hierarchical federated averaging (HierFAVG, Liu et al. 2020), κ₂ being ``edge_rounds``. Each
    edge server has a band of its own and holds its rounds as ``server_rounds`` does, at its own pace, and then sends
    its model to the cloud. The cloud waits for all of them, averages, and sends the average back. It also does after
    the last round.

    As an edge server begins a round, it takes those devices that it is the best server for at that moment: of the
    strongest link, without fading, or the nearest. A device that has moved away in the meantime ends its round first.
    """

    FAMILY = "hierarchical"
    has_cloud = True

    class Options(ServerRounds.Options):
        """Block ``protocol`` with name ``hierarchical_rounds``; the keys of a round are those of each edge server."""

        edge_rounds: int = Field(
            1, ge=1, description="rounds of the edge servers between two averages of the cloud, κ₂"
        )
        edges: int = Field(
            2,
            ge=1,
            le=1000,
            description="number of edge servers; they stand at the centres of clusters of devices (k-means)",
        )
        positions_m: tuple[tuple[float, float], ...] | None = Field(
            None, min_length=1, description="where the edge servers are instead, one [x, y] for each [m]"
        )
        attach: Literal["strongest", "nearest"] = Field(
            "strongest",
            description="a device's edge server, looked for at each round: of the lowest path loss, or the nearest",
        )
        backhaul: BackhaulOptions = Field(
            BackhaulOptions(), description="the links between edge servers and cloud"
        )
        cloud: CloudProcessor = Field(CloudProcessor(), description="the cloud's processor")

        @model_validator(mode="after")
        def _one_number_of_servers(self) -> Any:
            positions, said = self.positions_m, "edges" in self.model_fields_set
            if said and positions is not None and len(positions) != self.edges:
                raise ValueError(
                    f"positions_m: must have one [x, y] for each of {self.edges} edge servers (got {len(positions)}); "
                    "leave edges out"
                )
            return self

    MEMBERS: ClassVar[tuple[str, ...]] = ServerRounds.MEMBERS
    options: HierarchicalRounds.Options

    @classmethod
    def check(cls, options: Any, learner: Learner | None, device_count: int) -> None:
        """Check that there are enough devices.

        Raises:
            ScenarioError: There are fewer; names the key.
        """
        super().check(options, learner, device_count)
        if options.positions_m is None and options.edges > device_count:
            raise ScenarioError(
                f"protocol.edges: must be at most devices.count, {device_count} (got {options.edges}); or say where "
                "they are with protocol.positions_m"
            )

    @classmethod
    def server_count(cls, options: Any) -> int:
        """Return the number of edge servers."""
        return len(options.positions_m or range(options.edges))

    @classmethod
    def servers_m(cls, options: Any, devices_m: Positions, server_m: tuple[float, float]) -> Positions:
        """Return the positions that are given, or the centres of clusters of devices [m]."""
        return np.array(options.positions_m) if options.positions_m else centres(devices_m, options.edges)

    def start(self) -> simpy.Event:
        """Start the rounds; return the event at which the last one, and its average, has ended."""
        env, cloud = self.network.env, self.network.cloud
        assert cloud is not None
        self._cloud = cloud
        self._begin_devices()
        self.cells = [Cell(self, server) for server in self.network.servers]
        step = self.learner.first(self.work, cloud.node.number)
        self.states[cloud.node.number] = step.state
        self.open = OpenRounds(env, self.work, self.rounds, len(self.cells))
        self._at_work: set[int] = set()
        self._last_round = [0] * len(self.network.devices)
        self._last_server: dict[int, int] = {}
        self._since_s = env.now
        return env.process(self._life())

    def averages(self, t: int) -> bool:
        """Return whether the cloud averages after round ``t``."""
        return t % self.options.edge_rounds == 0 or t == self.rounds

    def take(self, server: EdgeServer, t: int) -> tuple[list[Device], int]:
        """Return the devices that ``server`` takes into round ``t``, and how many it takes over from other servers.

        A device that is in a round of another server, or was in round ``t`` there, is not taken.
        """
        free = [
            device
            for device in self.network.devices
            if device.alive and device.number not in self._at_work and self._last_round[device.number] < t
        ]
        taken = [d for d in free if best_server(self.network, d.number, self.options.attach) is server]
        handovers = sum(self._last_server.get(d.number, server.number) != server.number for d in taken)
        for device in taken:
            self._at_work.add(device.number)
            self._last_round[device.number], self._last_server[device.number] = t, server.number
        return taken, handovers

    def release(self, devices: Sequence[Device]) -> None:
        """Let other edge servers take ``devices``, whose round has ended."""
        self._at_work.difference_update(device.number for device in devices)

    def _life(self) -> Process:
        """Simulate all rounds (a SimPy process)."""
        env, first = self.network.env, 1
        while first <= self.rounds and any(
            device.alive or device.may_return for device in self.network.devices
        ):
            last = next(t for t in range(first, self.rounds + 1) if self.averages(t))
            processes = [env.process(self._period(cell, first, last)) for cell in self.cells]
            yield env.all_of(processes)
            if any(process.value for process in processes):
                yield from self._average(last)
            first = last + 1

    def _period(self, cell: Cell, first: int, last: int) -> Process:
        """Let an edge server hold its rounds and send its model to the cloud (a SimPy process).

        Return whether it has got to the end of round ``last``: it has not if nobody is left.
        """
        for t in range(first, last + 1):
            while not any(device.alive for device in self.network.devices):
                away = [device.back for device in self.network.devices if device.may_return]
                if not away:
                    return False
                yield first_of(*away)
            yield from cell.hold(t)
            if not self.averages(t):
                self.open.complete(t)
        if cell.heard:
            number, cloud = cell.server.number, self._cloud.node
            for message in self.learner.messages(number, last, [cloud.number]):
                yield from self._cloud.send(cell.server.node, cloud, message.size_bits, last)
        return True

    def _average(self, t: int) -> Process:
        """Let the cloud average what edge servers have sent, and send it back (a SimPy process)."""
        env, learner, node = self.network.env, self.learner, self._cloud.node
        cells = {cell.server.number: cell for cell in self.cells}
        arrived = {number: cell.outbox for number, cell in cells.items() if cell.heard}
        devices = {number: sorted(cells[number].heard) for number in arrived}
        flops = 0.0
        if arrived:
            step = learner.merge(self.work, node.number, t, self.states[node.number], arrived, devices)
            self.work.measure(node.number, t, env.now, step.metrics)
            budget = Budget(float("inf"), node.processor.joules_per_flop, {})
            update: Update = yield from local_update(
                learner, self.work, node, t, step.state, peers=list(arrived), budget=budget
            )
            self.states[node.number], flops = update.step.state, update.cost.total_flops
            self._measure_update(node.number, t, update)
            sending = [
                env.process(self._cloud.send(node, cells[number].server.node, message.size_bits, t))
                for message in learner.messages(node.number, t, list(cells))
                for number in message.receivers
            ]
            yield env.all_of(sending)
            for cell in self.cells:
                cell.adopt(update.step.state, update.step.outbox)
        else:
            self._evaluate(node.number, t, env.now, self.states[node.number])
        self.observer.on_edge_round(
            EdgeRow(
                t,
                node.number,
                "aggregated" if arrived else "empty",
                self._since_s,
                env.now,
                len(cells),
                0,
                len(cells),
                len(arrived),
                *self.ledger.take(node, t),
                flops=flops,
            )
        )
        self._since_s = env.now
        for _ in self.cells:
            self.open.complete(t)
