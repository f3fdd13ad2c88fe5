"""Rounds of a learner without a clock, and a note of all that it said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import networkx as nx

from learners.checks.graph import PlainGraph
from learners.checks.promise import fingerprint, is_size, promise
from netsim.learner import Budget, Cost, Learner, Message, Metric, Report, Step
from netsim.work.future import Future

JOULES_PER_FLOP, JOULES_PER_BIT = 5e-11, 1e-8
HEAD = -1
"""The node that metrics of a decision belong to."""

Place = tuple[int, int, str]
"""Round, node, and what was said."""


class Play:
    """A learner under decentralized rounds, all nodes in step.

    Args:
        learner: The learner; others may play it too.
        graph: The network, with the server if there is one.
        work: Where it orders its work.
        order: The order in which nodes are visited.
    """

    def __init__(self, learner: Learner, graph: nx.Graph, work: PlainGraph, order: Sequence[int]) -> None:
        self.learner, self.graph, self.work, self.order = learner, graph, work, order
        self.said: dict[Place, Any] = {}
        self.states: dict[int, Any] = {}
        self.plans: dict[int, Any] = {}
        self._digests: dict[Place, str] = {}

    def begin(self) -> None:
        """Ask for the state of each node before its first round."""
        for k in self._nodes():
            step = self._step("first", k, 0, self._call("first", k, 0)(self.work, k))
            self.states[k] = step.state
            self._say("first state", k, 0, step.state)
            self._begun(k, step)

    def round(self, t: int) -> Iterator[None]:
        """Play one round; whoever asks for the next item lets it go on."""
        outboxes, sent = {}, {}
        for k in self.order:
            outboxes[k] = self._train(k, t, self._peers(k)).outbox
            yield
        for k in self.order:
            sent[k] = self._messages(k, t, self._peers(k))
            yield
        for k in self.order:
            heard = sorted(n for n in self._peers(k) for m in sent[n] if k in m.receivers)
            self._aggregate(k, t, {n: outboxes[n] for n in heard}, stale=t % 2 == 0)
            self._evaluate(k, t)
            yield
        if self.learner.coordinated:
            self._coordinate(t)

    def settle(self) -> None:
        """Have all work done, and look at what came of it."""
        undone = {place: value for place, value in self.said.items() if place not in self._digests}
        values = self.work.finish(undone)
        for place, value in values.items():
            self.said[place] = value
            if place[2].startswith("metrics"):
                self._check_metrics(place, value)
            self._digests[place] = fingerprint(value)
        self.work.look_back()

    def digests(self) -> Mapping[Place, str]:
        """Return fingerprints of all that was said, as it was first known.

        Raises:
            BrokenPromise: Some of it has changed since.
        """
        for (t, k, what), value in self.said.items():
            promise(
                fingerprint(value) == self._digests[t, k, what],
                f"{_node(k)}, round {t}: the {what} changed after it was handed over",
            )
        return self._digests

    # Parts of a round.

    def _nodes(self) -> Sequence[int]:
        return self.order

    def _peers(self, k: int) -> list[int]:
        return sorted(self.graph[k])

    def _begun(self, k: int, step: Step) -> None:
        """Take up what ``first`` gave besides the state."""

    def _train(self, k: int, t: int, peers: Sequence[int]) -> Step:
        budget, plan = self._budget(k), self.plans.pop(k, None)
        cost = self._call("cost", k, t)(k, t, peers, budget, plan)
        self._check_cost(f"{_node(k)}, round {t}", cost)
        self._say("cost", k, t, (dict(cost.iterations), dict(cost.flops)))
        step = self._step("train", k, t, self._call("train", k, t)(self.work, k, t, self.states[k], cost))
        self.states[k] = step.state
        self._say("state after training", k, t, step.state)
        self._say("outbox", k, t, step.outbox)
        self._say("metrics of training", k, t, step.metrics)
        return step

    def _messages(self, k: int, t: int, receivers: Sequence[int], together: bool = False) -> list[Message]:
        messages = list(self._call("messages", k, t)(k, t, receivers, together))
        self._check_messages(f"{_node(k)}, round {t}", messages, receivers)
        self._say("messages", k, t, sorted((m.receivers, m.size_bits) for m in messages))
        if self.learner.hears_acknowledgements and not self.learner.setup.is_server(k):
            self._call("acknowledged", k, t)(k, t, {n: True for m in messages for n in sorted(m.receivers)})
        return messages

    def _aggregate(self, k: int, t: int, arrived: dict[int, Any], stale: bool = False) -> Step:
        """Aggregate what ``arrived``; if it is ``stale``, messages count for half where the learner can do that."""
        given: list[Any] = [self.work, k, t, self.states[k], arrived]
        hook = "aggregate"
        if stale and arrived and self.learner.weighs_messages and not self.learner.coordinated:
            hook = "aggregate_weighed"
            given.append(dict.fromkeys(arrived, 0.5))
        step = self._step(hook, k, t, self._call(hook, k, t)(*given))
        self.states[k] = step.state
        self._say("state after aggregation", k, t, step.state)
        self._say("metrics of aggregation", k, t, step.metrics)
        return step

    def _evaluate(self, k: int, t: int) -> None:
        found = self._call("evaluate", k, t)(self.work, k, t, self.states[k])
        self._say("metrics of evaluation", k, t, () if found is None else found)

    def _coordinate(self, t: int) -> None:
        reports = {}
        for k in self.order:
            budget = self._budget(k)
            reports[k] = self._call("report", k, t)(self.work, k, t, self.states[k], budget)
        head = min(self.graph, key=lambda k: (-self.graph.degree[k], k))
        told = {k: reports[k].payload for k in sorted(reports)}
        decisions, metrics = self._call("decide", head, t)(self.work, head, t, told)
        for what, said in (("report", reports), ("decision", decisions)):
            for k in sorted(said):
                _check_report(k, t, what, said[k])
                self._say(what, k, t, tuple(said[k]))
        self._say("metrics of the decision", HEAD, t, metrics)
        self.plans = {k: decision.payload for k, decision in decisions.items()}

    def _budget(self, k: int) -> Budget:
        return Budget(1e9, JOULES_PER_FLOP, dict.fromkeys(self._peers(k), JOULES_PER_BIT))

    # What is looked at.

    def _call(self, hook: str, k: int, t: int) -> Any:
        self.work.caller = f"{_node(k)}, round {t}: {hook}()"
        return getattr(self.learner, hook)

    def _step(self, hook: str, k: int, t: int, step: Any) -> Step:
        promise(
            isinstance(step, Step), f"{_node(k)}, round {t}: {hook}() must return a Step, got {_kind(step)}"
        )
        found: Step = step
        return found

    def _say(self, what: str, k: int, t: int, said: Any) -> None:
        self.said[t, k, what] = said

    def _check_cost(self, where: str, cost: Cost) -> None:
        for part, flops in cost.flops.items():
            promise(
                is_size(flops),
                f"{where}: FLOPs of {part!r} must be a finite number and at least 0, got {_kind(flops)}",
            )
        for modality, count in cost.iterations.items():
            promise(
                isinstance(count, int) and count >= 0,
                f"{where}: iterations of {modality!r} must be a whole number and at least 0, got {_kind(count)}",
            )

    def _check_messages(self, where: str, messages: Sequence[Message], allowed: Sequence[int]) -> None:
        receivers = [n for m in messages for n in m.receivers]
        strangers = sorted(set(receivers) - set(allowed))
        promise(not strangers, f"{where}: a message to {strangers}, who are not among the receivers")
        promise(all(m.receivers for m in messages), f"{where}: a message to nobody")
        promise(len(set(receivers)) == len(receivers), f"{where}: more than one message to one receiver")
        for m in messages:
            promise(
                is_size(m.size_bits),
                f"{where}: a message's size_bits must be a finite number and at least 0, got {_kind(m.size_bits)}",
            )

    def _check_metrics(self, place: Place, metrics: Any) -> None:
        t, k, what = place
        where = f"{_node(k)}, round {t}"
        promise(
            isinstance(metrics, list | tuple) and all(isinstance(one, Metric) for one in metrics),
            f"{where}: {what} must be a list of Metric, got {_kind(metrics)}",
        )
        for metric in metrics:
            promise(
                metric.name in self.learner.METRICS,
                f"{where}: metric {metric.name!r} is not explained in METRICS",
            )


class ServerPlay(Play):
    """A learner under rounds of an edge server, all devices in step; the server is the last node."""

    def begin(self) -> None:
        """Ask for the state of each node, and for the server's first message."""
        self.outboxes: dict[int, Any] = {}
        super().begin()

    @property
    def server(self) -> int:
        """Return the server's number."""
        number = self.learner.setup.server
        assert number is not None
        return number

    def _nodes(self) -> Sequence[int]:
        return [*self.order, self.server]

    def _begun(self, k: int, step: Step) -> None:
        if self.learner.setup.is_server(k):
            self.outboxes[k] = step.outbox

    def round(self, t: int) -> Iterator[None]:
        """Play one round."""
        return self._round_of(self.server, self.order, t)

    def _round_of(self, server: int, order: Sequence[int], t: int) -> Iterator[None]:
        """Play one round of ``server``: download, training, upload, aggregation, the server's own work."""
        chosen = sorted(order)
        together = t % 2 == 1  # rounds with one transmission for all, and rounds with one for each, in turn
        downloads = self._messages(server, t, chosen, together)
        promise(
            not together or len(downloads) <= 1,
            f"the server, round {t}: more than one message where all hear one transmission",
        )
        reached = {n for message in downloads for n in message.receivers}
        outboxes = {}
        for k in order:
            if k not in reached:
                continue
            self._aggregate(k, t, {server: self.outboxes[server]})
            outboxes[k] = self._train(k, t, [server]).outbox
            self._evaluate(k, t)
            yield
            sent = self._messages(k, t, [server])
            promise(len(sent) == 1, f"{_node(k)}, round {t}: must send the server one message")
        self._aggregate(server, t, {k: outboxes[k] for k in sorted(outboxes)})
        yield
        self.outboxes[server] = self._train(server, t, chosen).outbox
        self._evaluate(server, t)


class HierarchyPlay(ServerPlay):
    """A learner below a cloud, with two edge servers that hold one round each between two averages."""

    @property
    def cloud(self) -> int:
        """Return the cloud's number."""
        return self.server + 2

    def _nodes(self) -> Sequence[int]:
        return [*self.order, self.server, self.server + 1, self.cloud]

    def round(self, t: int) -> Iterator[None]:
        """Play one round of each edge server, and an average."""
        cloud, own = self.cloud, sorted(self.order)
        of_server = {self.server: own[::2], self.server + 1: own[1::2]}
        for server, devices in of_server.items():
            yield from self._round_of(server, [k for k in self.order if k in devices], t)
            promise(
                len(self._messages(server, t, [cloud])) == 1,
                f"edge server {server}, round {t}: must send the cloud one message",
            )
        arrived = {server: self.outboxes[server] for server in of_server}
        call = self._call("merge", cloud, t)
        step = self._step(
            "merge", cloud, t, call(self.work, cloud, t, self.states[cloud], arrived, of_server)
        )
        self.states[cloud] = step.state
        self._say("state after merging", cloud, t, step.state)
        self._say("metrics of merging", cloud, t, step.metrics)
        outbox = self._train(cloud, t, list(of_server)).outbox
        self._evaluate(cloud, t)
        self._messages(cloud, t, list(of_server))
        for server in of_server:
            self.states[server], self.outboxes[server] = self.states[cloud], outbox


def _check_report(k: int, t: int, what: str, told: Report) -> None:
    promise(
        is_size(told.size_bits),
        f"{_node(k)}, round {t}: a {what}'s size_bits must be a finite number and at least 0, "
        f"got {_kind(told.size_bits)}",
    )


def _node(k: int) -> str:
    return "the head" if k == HEAD else f"node {k}"


def _kind(value: Any) -> str:
    """Return ``value`` as a message says it."""
    if isinstance(value, Future):
        return "a Future; numbers must be there at once, and work.value() waits for one"
    return repr(value) if isinstance(value, int | float | str) else type(value).__name__
