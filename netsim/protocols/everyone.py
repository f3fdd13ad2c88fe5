"""Questions to a learner about all devices in a round that is computed as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from netsim.core.arrays import Floats, Whole
from netsim.core.asking import wrong
from netsim.learner import Learner, Message, Step
from netsim.work.graph import TaskGraph
from netsim.world.mesh import Exchange, Mesh
from netsim.world.network import Network
from netsim.world.radio.transfers import Messages


class Trained(NamedTuple):
    """The local updates of a round.

    Attributes:
        flops: FLOPs of each device's [devices].
        iterations: Iterations of each, by modality.
        steps: What is trained, by device.
    """

    flops: Floats
    iterations: Mapping[str, Whole]
    steps: Sequence[Step]


class Everyone:
    """Asks a learner of all devices: one after the other, or once where it answers all of them alike.

    Args:
        network: The devices.
        learner: The algorithm.
        work: The task graph.
        states: State of each node, by number; kept up to date.
        mesh: The links between the devices.
    """

    def __init__(
        self,
        network: Network,
        learner: Learner,
        work: TaskGraph,
        states: dict[int, Any],
        mesh: Mesh,
    ) -> None:
        self._network = network
        self._learner = learner
        self._work = work
        self._states = states
        self._mesh = mesh
        self._count = len(network.devices)
        unheard = not learner.hears_acknowledgements and work.keeper is None
        still = network.motion is None or learner.answers_alike("meets")
        self._trains_alike = learner.answers_alike("cost", "train")
        self._sends_alike = learner.answers_alike("messages")
        self._ends_alike = unheard and still and learner.answers_alike("aggregate", "evaluate")

    def train(self, t: int, neighbours: Sequence[Sequence[int]]) -> Trained:
        """Ask for the local updates of round ``t``, which devices with these ``neighbours`` begin."""
        learner, work, states, gains = self._learner, self._work, self._states, self._mesh.last_gains
        devices, budget, count = self._network.devices, self._network.budget, self._count
        asked: list[Any] = [None] * count
        order = self._mesh.order
        work.trace()
        for k in order[: 1 if self._trains_alike else count].tolist():
            peers = neighbours[k]
            cost = learner.cost(k, t, peers, budget(devices[k], gains, peers), None)
            asked[k] = cost, learner.train(work, k, t, states[k], cost)
        if self._trains_alike:
            cost, step = asked[order[0]]
            iterations = {m: np.full(count, own) for m, own in cost.iterations.items()}
            return Trained(np.full(count, cost.total_flops), iterations, [step] * count)
        costs, steps = zip(*asked, strict=True)
        modalities = dict.fromkeys(name for cost in costs for name in cost.iterations)
        iterations = {m: np.array([cost.iterations.get(m, 0) for cost in costs]) for m in modalities}
        return Trained(np.array([cost.total_flops for cost in costs]), iterations, steps)

    def messages(
        self,
        t: int,
        order: Whole,
        ready_s: Floats,
        neighbours: Sequence[Sequence[int]],
        steps: Sequence[Step],
    ) -> Messages | float:
        """Ask for messages, in ``order``, of devices that are ready at ``ready_s`` [s] with what they have trained.

        Returns:
            Messages by device; or the size [bit] of the one that each sends all its neighbours.
        """
        learner, work, states, numbers = self._learner, self._work, self._states, order.tolist()
        states.update(enumerate(step.state for step in steps))
        for k in numbers:
            if steps[k].metrics:
                work.measure(k, t, float(ready_s[k]), steps[k].metrics)
        if not self._sends_alike:
            messages: list[Sequence[Message]] = [()] * self._count
            for k in numbers:
                messages[k] = learner.messages(k, t, neighbours[k])
            return messages
        sender = int(np.diff(self._mesh.first).argmax())  # who has the most neighbours
        if not neighbours[sender]:
            return 0.0
        sent = learner.messages(sender, t, neighbours[sender])
        if len(sent) != 1 or sorted(sent[0].receivers) != list(neighbours[sender]):
            where = f"learner: messages, marked as alike, of device {sender}, round {t}"
            raise wrong(where, "one message to all receivers", sent)
        return float(sent[0].size_bits)

    def aggregate(
        self, t: int, exchange: Exchange, neighbours: Sequence[Sequence[int]], steps: Sequence[Step]
    ) -> None:
        """Ask for the aggregation of what has been heard, and for the evaluation."""
        learner, work, states, mesh = self._learner, self._work, self._states, self._mesh
        outbox, end_s = [step.outbox for step in steps], exchange.end_s.tolist()
        heard = neighbours if exchange.arrives.all() else mesh.heard(exchange)
        hears, order = learner.hears_acknowledgements, exchange.order.tolist()
        for k in order[: 1 if self._ends_alike else self._count]:
            if hears and (answers := mesh.answers(exchange, k)):
                learner.acknowledged(k, t, answers)
            if self._network.motion is not None:
                learner.meets(k, t, {n: neighbours[n] for n in (k, *neighbours[k])})
            step = learner.aggregate(work, k, t, states[k], {n: outbox[n] for n in heard[k]})
            states[k] = step.state
            measured = step.metrics, learner.evaluate(work, k, t, step.state)
            for metrics in measured:
                if metrics:
                    for n in order if self._ends_alike else (k,):
                        work.measure(n, t, end_s[n], metrics)
        if self._ends_alike:
            states.update(dict.fromkeys(range(self._count), states[order[0]]))
