"""Base class of protocols with an edge server: choosing devices, training, uploading, aggregating, recording."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import simpy

from netsim.core.asking import asked, is_whole
from netsim.core.errors import ScenarioError
from netsim.events import RoundBatch, RoundRow, ServerRow
from netsim.learner import Learner
from netsim.protocols.node import Update, local_update
from netsim.protocols.protocol import Protocol
from netsim.protocols.star import Star, members
from netsim.world.devices.device import Device
from netsim.world.edge_server import EdgeServer
from netsim.world.selection import Candidate

Process = Generator[simpy.Event, Any, Any]


@dataclass
class Errand:
    """One turn of a device, from the download of the server's model to the upload of its own.

    Attributes:
        outcome: Outcome as in the table ``rounds``; "idle" until something happens.
        received: Whether the download arrived.
        slowdown: The device's straggler factor.
        update: The device's local update.
        arrived: Whether the upload reached the server.
        upload_s: Duration of the upload [s]; None if it was not completed.
        on_arrival: Called when an upload reaches the server.
    """

    outcome: str = "idle"
    received: bool = False
    slowdown: float = 1.0
    update: Update = field(default_factory=Update)
    arrived: bool = False
    upload_s: float | None = None
    on_arrival: Callable[[], None] = lambda: None

    @property
    def times_s(self) -> tuple[float | None, float | None]:
        """Return the durations of the computation and of the upload [s]; None for what was not completed."""
        return self.update.compute_s, self.upload_s


class ServerProtocol(Protocol):
    """Base class of protocols with an edge server.

    Attributes:
        MEMBERS: Names of options that may not exceed the number of devices with samples.
    """

    FAMILY = "server"
    needs_server = True
    ends_early = True
    MEMBERS: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def check(cls, options: Any, learner: Learner | None, device_count: int) -> None:
        """Check that there are as many devices with samples as the options ask for.

        Raises:
            ScenarioError: There are fewer; names the key.
        """
        there = len(members(learner, device_count))
        for key in cls.MEMBERS:
            wanted = getattr(options, key)
            if wanted is not None and wanted > there:
                raise ScenarioError(
                    f"protocol.{key}: must be at most the number of devices that hold samples, {there} (got {wanted})"
                )

    @cached_property
    def server(self) -> EdgeServer:
        """Return the edge server."""
        assert self.network.server is not None
        return self.network.server

    @cached_property
    def star(self) -> Star:
        """Return the server's devices and the links to them."""
        return Star(self.network, self.learner)

    def start(self) -> simpy.Event:
        """Start the server's process; return the event at which it has ended."""
        self._begin_devices()
        self._begin_server()
        return self.network.env.process(self._life())

    def _begin_devices(self) -> None:
        """Give devices their first states."""
        for device in self.network.devices:
            self.heed(device)
            device.sleep()
        for k in self.star.members:
            self.states[k] = self.learner.first(self.work, k).state

    def _begin_server(self) -> None:
        """Give the server its first state."""
        step = self.learner.first(self.work, self.server.number)
        self.states[self.server.number], self._outbox = step.state, step.outbox
        self._last: dict[int, tuple[float | None, float | None]] = {}  # times of errands, which hold models
        self._chosen_times = dict.fromkeys(self.star.members, 0)
        self._used_in: dict[int, int] = {}  # last round, by device
        self._aggregated = 0

    def _life(self) -> Process:
        """Simulate all rounds (a SimPy process)."""
        raise NotImplementedError

    def _choose(self, free: Sequence[int], count: int, number: int) -> list[int]:
        """Choose ``count`` of the devices ``free`` and return them in order; ``number`` counts the choices.

        Raises:
            ScenarioError: The policy chooses others, or fails.
        """
        candidates = []
        for k in free:
            device, last_s = self.star.members[k], self._last.get(k, (None, None))
            candidates.append(
                Candidate(
                    k,
                    device.battery.remaining_j,
                    self.star.power_gain(device),
                    *last_s,
                    self._chosen_times[k],
                    self._aggregated + 1 - self._used_in.get(k, 0),
                )
            )
        choose = self.server.selection.choose
        when = (
            f"server.selection: {type(self.server.selection).__name__}.choose, round {self._aggregated + 1}"
        )
        allowed = f"{count} different devices of {_listed(free)}"
        found = asked(
            when, choose, allowed, lambda one: _is_choice(one, free, count), candidates, count, number
        )
        chosen = sorted(int(k) for k in found)
        for k in chosen:
            self._chosen_times[k] += 1
        return chosen

    def _train_and_upload(
        self,
        device: Device,
        n: int,
        outbox: Any,
        errand: Errand,
        stop: simpy.Event,
        deaf: simpy.Event | None = None,
    ) -> Process:
        """Let a device train from ``outbox``, which it received, and upload, as its ``n``-th round (a SimPy process).

        The outcome is noted in ``errand``. If ``stop`` cuts the training off, its tasks are cancelled. A protocol that
        throws an upload away must cancel its tasks, too. Acknowledgements can be sent until ``deaf`` happens.
        """
        env, learner, k, server = self.network.env, self.learner, device.number, self.server.number
        errand.received = True
        errand.slowdown = self.network.stragglers.factor(k, n)
        update: Update = yield from local_update(
            learner,
            self.work,
            device,
            n,
            self.states[k],
            peers=(server,),
            budget=self.star.budget(device),
            arrived={server: outbox},
            slowdown=errand.slowdown,
            stop=stop,
            into=errand.update,
        )
        if not update.done:
            errand.outcome = ending(device, stop)
            return
        self.states[k] = update.step.state
        self._trained(device, n, update)
        for message in learner.messages(k, n, [server]):
            begin_s = env.now
            row = yield from self.server.uplink.send(
                device, self.server.node, message.size_bits, n, "upload", stop
            )
            delivered = row.outcome == "delivered"
            if delivered:
                errand.upload_s, errand.arrived = env.now - begin_s, True
                errand.on_arrival()
            known = delivered and (
                yield from self.server.downlink.acknowledge(self.server.node, device, n, deaf)
            )
            if learner.hears_acknowledgements and device.alive:
                learner.acknowledged(k, n, {server: known})
            if not delivered:
                errand.outcome = ending(device, stop)
                return
        errand.outcome = "finished"

    def _trained(self, device: Device, n: int, update: Update) -> None:
        """Record the metrics of ``device``'s update in its ``n``-th round, which is also the server's round."""
        self._measure_update(device.number, n, update)

    def _measure_update(self, number: int, t: int, update: Update) -> None:
        """Record the metrics of a local update and of its evaluation for round ``t``."""
        self.work.measure(number, t, update.end_s, update.step.metrics)
        self._evaluate(number, t, update.end_s, update.step.state)

    def _evaluate(self, number: int, t: int, time_s: float, state: Any) -> None:
        """Order the evaluation of a node's ``state`` at ``time_s`` [s], and record it for round ``t``."""
        self.work.measure(number, t, time_s, self.learner.evaluate(self.work, number, t, state))

    def _aggregate(self, t: int, peers: Sequence[int], arrived: dict[int, Any]) -> Process:
        """Let the server aggregate what ``arrived`` in round ``t`` (a SimPy process); return the FLOPs that this takes.

        The model is evaluated afterwards. If nothing arrived, the model stays as it is and nothing is computed.
        """
        env, learner, number = self.network.env, self.learner, self.server.number
        self._aggregated = t
        self._used_in |= dict.fromkeys(arrived, t)
        step = learner.aggregate(self.work, number, t, self.states[number], arrived)
        self.work.measure(number, t, env.now, step.metrics)
        if not arrived:
            self.states[number] = step.state
            self._outbox = self._outbox if step.outbox is None else step.outbox
            self._evaluate(number, t, env.now, step.state)
            return 0.0
        update: Update = yield from local_update(
            learner, self.work, self.server.node, t, step.state, peers=peers, budget=self.star.server_budget
        )
        self._measure_update(number, t, update)
        # Not earlier, because until now the server has the model of the previous round.
        self.states[number], self._outbox = update.step.state, update.step.outbox
        return update.cost.total_flops

    def _tell_devices(
        self, devices: Sequence[Device], n: int, begin_s: float, errands: Mapping[int, Errand]
    ) -> None:
        """Record rows of ``rounds`` from ``begin_s`` [s] to now, the ``n``-th; who has no errand was not chosen."""
        idle = Errand()
        own = [errands.get(device.number, idle) for device in devices]
        rows = [
            self._row(device, n, begin_s, one, one is not idle)
            for device, one in zip(devices, own, strict=True)
        ]
        for batch in RoundBatch.of(rows, [one.update.cost.iterations for one in own]):
            self.observer.on_rounds(batch)

    def _row(self, device: Device, n: int, begin_s: float, errand: Errand, chosen: bool) -> RoundRow:
        """Return the row of ``device``'s ``n``-th round, from ``begin_s`` [s] to now."""
        return RoundRow(
            n,
            device.number,
            self.ledger.outcome(device, errand.outcome),
            begin_s,
            self.network.env.now,
            errand.update.end_s,
            *self.ledger.take(device, n),
            battery_j=device.battery.remaining_j,
            flops=errand.update.cost.total_flops,
            slowdown=errand.slowdown,
            sent=int(errand.arrived),
            received=int(errand.received),
            missed=int(chosen and not errand.received),
        )

    def _tell_server(self, t: int, begin_s: float, chosen: int, arrived: int, flops: float) -> None:
        """Record a row of ``server`` from ``begin_s`` [s] to now."""
        outcome = "aggregated" if arrived else "empty"
        self.observer.on_server_round(
            ServerRow(
                t,
                outcome,
                begin_s,
                self.network.env.now,
                chosen,
                arrived,
                *self.ledger.take(self.server.node, t),
                flops=flops,
            )
        )


def ending(device: Device, stop: simpy.Event) -> str:
    """Return the outcome of a device's turn that was not completed: "died", "away", "cut_off" or "lost"."""
    if not device.alive:
        return device.reason
    return "cut_off" if stop.processed else "lost"


def _is_choice(found: Any, free: Sequence[int], count: int) -> bool:
    """Return whether a selection's answer is as many different devices as it was asked for, all free ones."""
    return (
        isinstance(found, Collection)
        and len(found) == count
        and all(map(is_whole, found))
        and len(set(found)) == count
        and set(found) <= set(free)
    )


def _listed(numbers: Sequence[int]) -> str:
    """List devices, some of many."""
    shown = ", ".join(map(str, numbers[:10]))
    return f"{shown} ... {numbers[-1]}" if len(numbers) > 10 else shown
