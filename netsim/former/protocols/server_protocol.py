"""What protocols with an edge server have in common: choosing devices, their errands, and what is told of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import simpy

from netsim.core.errors import ScenarioError
from netsim.events import RoundRow, ServerRow
from netsim.former.backlog import Step, Training
from netsim.former.learning import Learner, ServerLearner, Workload
from netsim.former.protocols.protocol import Protocol
from netsim.former.protocols.star import Star, members
from netsim.world.devices.device import Device
from netsim.world.selection import Candidate

Process = Generator[simpy.Event, Any, Any]


@dataclass
class Errand:
    """What becomes of a device from the server's message to its own.

    Attributes:
        outcome: As in the table ``rounds``; "idle" until something happens.
        received: Whether the download arrived.
        workload: What it was to compute.
        slowdown: Its straggler factor.
        compute_s: How long it computed [s]; None if it did not get to the end, as for the times below.
        compute_end_s: When its computing ended [s]; NaN if it did not.
        training: The work behind it.
        payload: What it uploaded.
        arrived: Whether that reached the server.
        upload_s: How long the upload took [s].
        on_arrival: Called when an upload reaches the server.
    """

    outcome: str = "idle"
    received: bool = False
    workload: Workload = field(default_factory=Workload)
    slowdown: float = 1.0
    compute_s: float | None = None
    compute_end_s: float = math.nan
    training: Training | None = None
    payload: Any = None
    arrived: bool = False
    upload_s: float | None = None
    on_arrival: Callable[[], None] = lambda: None


class ServerProtocol(Protocol):
    """Base of protocols with an edge server.

    Attributes:
        MEMBERS: Options that say how many devices with samples there must be.
    """

    needs_server = True
    MEMBERS: ClassVar[tuple[str, ...]] = ()
    learner: ServerLearner

    @classmethod
    def check(cls, options: Any, learner: Learner | None, device_count: int) -> None:
        """Whether there are as many devices with samples as the options ask for."""
        there = len(members(learner, device_count))
        for key in cls.MEMBERS:
            wanted = getattr(options, key)
            if wanted is not None and wanted > there:
                raise ScenarioError(
                    f"protocol.{key}: must be at most the number of devices that hold samples, {there} (got {wanted})"
                )

    def start(self) -> simpy.Event:
        """The server lives its life; the run ends when that does."""
        assert self.network.server is not None
        self.server = self.network.server
        self.star = Star(self.network, self.learner)
        env = self.network.env
        for device in self.network.devices:
            device.on_death.append(lambda dead: self.observer.on_death(dead.number, env.now))
        self._model: Step | None = None  # what makes the model that the server would send now
        self._last: dict[int, Errand] = {}
        self._chosen_times = dict.fromkeys(self.star.members, 0)
        return env.process(self._life())

    def _life(self) -> Process:
        """Process: all rounds."""
        raise NotImplementedError

    def _choose(self, free: Sequence[int], count: int, number: int) -> list[int]:
        """``count`` of the members ``free``, in the order of their numbers; ``number`` counts the choices."""
        candidates = []
        for k in free:
            device, last = self.star.members[k], self._last.get(k) or Errand()
            candidates.append(
                Candidate(
                    k,
                    device.battery.remaining_j,
                    self.star.power_gain(device),
                    last.compute_s,
                    last.upload_s,
                    self._chosen_times[k],
                )
            )
        chosen = sorted(self.server.selection.choose(candidates, count, number))
        assert len(set(chosen)) == count, "a selection gives as many different devices as it is asked for"
        for k in chosen:
            self._chosen_times[k] += 1
        return chosen

    def _train_and_upload(
        self,
        device: Device,
        n: int,
        payload: Any,
        errand: Errand,
        model: Step | None,
        stop: simpy.Event,
        closes: int | None = None,
        deaf: simpy.Event | None = None,
    ) -> Process:
        """Process: a device's ``n``-th round from the ``payload`` that it was sent, which ``model`` makes.

        What happens is noted in ``errand``. Training that ``stop`` cuts off is cancelled; whoever throws away an upload
        does the same with its training. For ``closes`` see :meth:`netsim.former.backlog.Backlog.train`.
        Acknowledgements go on until ``deaf`` happens.
        """
        env, learner, k = self.network.env, self.learner, device.number
        errand.received = True
        learner.receive(k, n, payload)
        errand.workload = learner.workload(k, n, self.star.budget(device))
        training = errand.training = self.work.train(
            k, n, errand.workload, after=model, closes=closes, judged=learner.judges_devices
        )
        errand.slowdown = self.network.stragglers.factor(k, n)
        begin_s = env.now
        if not (yield from device.compute(errand.workload.total_flops, errand.slowdown, stop)):
            self.work.cancel(training)
            errand.outcome = ending(device, stop)
            return
        errand.compute_s, errand.compute_end_s = env.now - begin_s, env.now
        self.work.trained(training, env.now)
        for message in learner.messages(k, n, [self.server.number]):
            begin_s = env.now
            row = yield from self.server.uplink.send(
                device, self.server.node, message.size_bits, n, "upload", stop
            )
            delivered = row.outcome == "delivered"
            if delivered:
                errand.upload_s, errand.payload, errand.arrived = env.now - begin_s, message.payload, True
                errand.on_arrival()
            known = delivered and (
                yield from self.server.downlink.acknowledge(self.server.node, device, n, deaf)
            )
            if learner.hears_acknowledgements and device.alive:
                self.work.acknowledged(k, n, {self.server.number: known})
            if not delivered:
                errand.outcome = ending(device, stop)
                return
        errand.outcome = "finished"

    def _aggregate(self, t: int, arrived: dict[int, Any], trainings: Sequence[Training]) -> Process:
        """Process: round ``t`` takes in what arrived; returns the FLOPs of the server's own computing.

        The model is judged when that is done. Where nothing arrived it is what it was, and nothing is computed.
        """
        env, number = self.network.env, self.server.number
        combined = self.work.combine(number, t, env.now, arrived, after=trainings, judged=not arrived)
        workload = self.learner.workload(number, t, self.star.server_budget)
        if not arrived:
            self._model = combined
            return 0.0
        own = self.work.train(number, t, workload, judged=True)
        yield from self.server.node.compute(workload.total_flops)
        self.work.trained(own, env.now)
        self._model = own  # not before: until now the server has the model of the round before
        return workload.total_flops

    def _tell_device(self, device: Device, n: int, begin_s: float, errand: Errand | None) -> None:
        """A row of ``rounds``, from ``begin_s`` [s] to now; without an ``errand`` the device was not chosen."""
        visit = errand or Errand()
        self.observer.on_round_end(
            RoundRow(
                n,
                device.number,
                visit.outcome if device.alive else "died",
                begin_s,
                self.network.env.now,
                visit.compute_end_s,
                *self.ledger.take(device, n),
                battery_j=device.battery.remaining_j,
                flops=visit.workload.total_flops,
                slowdown=visit.slowdown,
                sent=int(visit.arrived),
                received=int(visit.received),
                missed=int(errand is not None and not visit.received),
            ),
            visit.workload.iterations,
        )

    def _tell_server(self, t: int, begin_s: float, chosen: int, arrived: int, flops: float) -> None:
        """A row of ``server``, from ``begin_s`` [s] to now."""
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
    """Why a device did not get to the end of its errand."""
    if not device.alive:
        return "died"
    return "cut_off" if stop.processed else "lost"
