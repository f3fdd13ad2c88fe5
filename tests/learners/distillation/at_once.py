"""Rounds of a learner played by hand, without a simulator: whatever it orders is done at once."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tiny_task import UNLIMITED

from learners.checks import fingerprint
from netsim.learner import Cost, Message
from netsim.work.future import Future, opened
from netsim.work.graph import Task


@dataclass
class AtOnce:
    """Does work when it is ordered.

    Attributes:
        jobs: Function and inputs of all heavy work so far.
    """

    jobs: list[tuple[Callable[..., Any], dict[str, Any]]] = field(default_factory=list)

    def do(
        self, function: Callable[..., Any], inputs: Any, round: int, stack: Any = None, late: bool = False
    ) -> Future:
        """As ``TaskGraph.do``; function and inputs must survive a journey."""
        given = opened(inputs)
        self.jobs.append((function, given))
        function, given = pickle.loads(pickle.dumps((function, given)))
        return done(function(**given))

    def together(self, function: Callable[..., Any], inputs: Any, round: int) -> Future:
        """As ``TaskGraph.together``."""
        (result,) = function([opened(inputs)])
        return done(result)

    def value(self, future: Any) -> Any:
        """As ``TaskGraph.value``."""
        return opened(future)

    def inputs_of(self, function: Callable[..., Any]) -> list[dict[str, Any]]:
        """What each piece of work by ``function`` was given."""
        return [inputs for one, inputs in self.jobs if one is function]


def done(result: Any) -> Future:
    """A future of what is there."""
    task = Task(lambda: None, {}, 0, 0, None, light=False)
    task.result, task.done = result, True
    return Future(task)


@dataclass
class Turn:
    """A round as it was played.

    Attributes:
        round: Its number.
        costs: By node.
        downloads: What the server sent.
        messages: What each device sent.
        outboxes: What is in its messages.
        metrics: By node and name.
    """

    round: int
    costs: dict[int, Cost] = field(default_factory=dict)
    downloads: Sequence[Message] = ()
    messages: dict[int, Sequence[Message]] = field(default_factory=dict)
    outboxes: dict[int, Any] = field(default_factory=dict)
    metrics: dict[tuple[int, str], float] = field(default_factory=dict)

    def of(self, node: int) -> dict[str, float]:
        """The metrics of ``node``."""
        return {name: value for (k, name), value in self.metrics.items() if k == node}


class Play:
    """A learner with the states of its nodes, from the first ones on.

    Attributes:
        states: By node.
        outbox: What the server sends next.
    """

    def __init__(self, learner: Any) -> None:
        self.learner, self.work = learner, AtOnce()
        self.server = learner.setup.server
        count = learner.setup.device_count
        self.states = {k: self._first(k).state for k in range(count)}
        if self.server is not None:
            step = self._first(self.server)
            self.states[self.server], self.outbox = step.state, step.outbox
        self.round = 0

    def __getitem__(self, node: int) -> Any:
        """The state of ``node``, with what was learnt in place of futures."""
        return opened(self.states[node])

    def rounds(self, count: int, **how: Any) -> list[Turn]:
        """Play so many more; ``how`` as in :meth:`with_server` or :meth:`without`."""
        return [self._next(**how) for _ in range(count)]

    def _next(self, **how: Any) -> Turn:
        self.round += 1
        return self.without(self.round, **how) if self.server is None else self.with_server(self.round, **how)

    def without(
        self, round: int, lost: Callable[[int, int, int], bool] = lambda sender, receiver, round: False
    ) -> Turn:
        """A round of all devices; ``lost`` says of sender, receiver and round whether the message gets lost."""
        turn, learner, links = Turn(round), self.learner, self.learner.graph
        for k in links:
            self._train(turn, k, sorted(links[k]))
        for k in links:
            turn.messages[k] = learner.messages(k, round, sorted(links[k]))
        for k in links:
            heard = [n for n in sorted(links[k]) if any(k in m.receivers for m in turn.messages[n])]
            arrived = {n: turn.outboxes[n] for n in heard if not lost(n, k, round)}
            self._aggregate(turn, k, arrived)
            self._note(turn, k, learner.evaluate(self.work, k, round, self.states[k]))
        return turn

    def with_server(
        self,
        round: int,
        participants: Mapping[int, Iterable[int]] | None = None,
        lost: Mapping[int, Sequence[int]] | None = None,
    ) -> Turn:
        """A round of everybody, or of the ``participants`` of the round; uploads of those who are ``lost`` get lost."""
        turn, learner, server = Turn(round), self.learner, self.server
        chosen = list((participants or {}).get(round, range(learner.setup.device_count)))
        turn.downloads = learner.messages(server, round, chosen)
        for k in sorted(k for message in turn.downloads for k in message.receivers):
            self._aggregate(turn, k, {server: self.outbox})
            self._train(turn, k, [server])
            self._note(turn, k, learner.evaluate(self.work, k, round, self.states[k]))
            turn.messages[k] = learner.messages(k, round, [server])
        arrived = {k: turn.outboxes[k] for k in turn.messages if k not in (lost or {}).get(round, ())}
        self._aggregate(turn, server, arrived)
        turn.costs[server] = learner.cost(server, round, chosen, UNLIMITED, None)
        if arrived:
            self._train(turn, server, chosen)
            self.outbox = turn.outboxes.pop(server)
        self._note(turn, server, learner.evaluate(self.work, server, round, self.states[server]))
        return turn

    def _first(self, node: int) -> Any:
        return self.learner.first(self.work, node)

    def _train(self, turn: Turn, node: int, peers: Sequence[int]) -> None:
        cost = turn.costs[node] = self.learner.cost(node, turn.round, peers, UNLIMITED, None)
        step = self.learner.train(self.work, node, turn.round, self.states[node], cost)
        self.states[node], turn.outboxes[node] = step.state, step.outbox
        self._note(turn, node, step.metrics)

    def _aggregate(self, turn: Turn, node: int, arrived: Mapping[int, Any]) -> None:
        before = fingerprint(opened(arrived))
        step = self.learner.aggregate(self.work, node, turn.round, self.states[node], arrived)
        assert fingerprint(opened(arrived)) == before, "what arrives is not changed"
        self.states[node] = step.state
        self._note(turn, node, step.metrics)

    def _note(self, turn: Turn, node: int, metrics: Any) -> None:
        for name, value, _ in opened(metrics) or ():
            assert name in self.learner.METRICS
            turn.metrics[node, name] = value
