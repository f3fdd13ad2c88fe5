"""Averaging learners, played by hand without a simulator; and model parts with numbers of one's choice."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import torch
from tiny_task import UNLIMITED, Deal, make_setup

from learners.checks import fingerprint
from learners.networks.state import Entry, Layout, Part, Row
from learners.training.late_fusion.aggregate import Update
from learners.training.late_fusion.local_update import Trained, local_update
from netsim.core.registry import load
from netsim.events import Observer
from netsim.learner import Cost, Message, Metric
from netsim.work.executors.inline import Inline
from netsim.work.future import opened
from netsim.work.graph import TaskGraph
from netsim.work.job import TrainingJob

SMALL = {"head_hidden": 6, "batch_size": 8, "learning_rate": 0.05}
AUDIO = {**SMALL, "modalities": ("audio",)}
"""One modality, a network without BatchNorm and with one head."""
EARS = {**SMALL, "partition": Deal({k: ("audio",) for k in range(9)})}
"""Two modalities of which everybody owns the one without BatchNorm: clients have its head and the fused one."""


def make(name: str, devices: int = 3, **changes: Any) -> Any:
    """A learner with a server on the tiny task, whose network stands."""
    setup = make_setup(name, devices=devices, has_server=True, **{**SMALL, **changes})
    learner = load("learners", name)(setup)
    learner.prepare(nx.star_graph(devices))
    return learner


class Twice(Inline):
    """Does each job twice, once after a journey: results are the same, and inputs stay what they were.

    Attributes:
        jobs: Local updates, by device, the last of each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[int, TrainingJob] = {}

    def submit(self, job: TrainingJob) -> int:
        before = fingerprint(dict(job.inputs))
        copied = pickle.loads(pickle.dumps(job))
        assert fingerprint(copied.function(**copied.inputs)) == fingerprint(job.function(**job.inputs))
        assert fingerprint(dict(job.inputs)) == before
        if job.function is local_update:
            self.jobs[job.inputs["device"]] = job
        return super().submit(job)


class Together(Inline):
    """Does all jobs that are there and have the same key in one call; inputs stay what they were."""

    def _run(self, wanted: int) -> None:
        stack = self._pending[wanted].stack
        group = [t for t, job in self._pending.items() if job.stack and stack and job.stack.key == stack.key]
        if not stack:
            super()._run(wanted)
            return
        inputs = [dict(self._pending.pop(ticket).inputs) for ticket in group]
        before = fingerprint(inputs)
        assert stack.obstacle is not None and stack.obstacle(2 * inputs[:1]) == ""
        self._done |= dict(zip(group, stack.function(inputs), strict=True))
        assert fingerprint(inputs) == before


@dataclass
class Turn:
    """A round, as far as it was played."""

    round: int
    costs: dict[int, Cost] = field(default_factory=dict)
    downloads: list[Message] = field(default_factory=list)
    sent: dict[int, Message] = field(default_factory=dict)
    uploads: dict[int, Any] = field(default_factory=dict)
    told: dict[int, list[Any]] = field(default_factory=dict)
    model: Any = None


class Play:
    """A learner with a server, and its work.

    Attributes:
        turns: Rounds so far.
        state: The server's.
        outbox: What it sends.
    """

    def __init__(self, learner: Any, executor: Inline | None = None) -> None:
        self.learner, self.server = learner, learner.setup.server
        self.executor: Any = executor or Twice()
        self.work = TaskGraph(self.executor, Observer(), 1000)
        self.turns: list[Turn] = []
        self.state, self.outbox, _ = learner.first(self.work, self.server)
        self.clients = {k: learner.first(self.work, k).state for k in range(learner.setup.device_count)}

    def play(
        self, rounds: int = 2, participants: Mapping[int, Sequence[int]] | None = None, ahead: bool = False
    ) -> list[Turn]:
        """Rounds of everybody, or of those given by round; ``ahead``: what is said first, what is learnt later."""
        everybody = range(self.learner.setup.device_count)
        for round in range(1, rounds + 1):
            turn = self.begin((participants or {}).get(round, everybody))
            self.combine(turn)
            if not ahead:
                self.model()
        return self.turns

    def begin(self, devices: Sequence[int]) -> Turn:
        """A round up to its uploads."""
        learner, server = self.learner, self.server
        turn = Turn(len(self.turns) + 1)
        self.turns.append(turn)
        turn.downloads = list(learner.messages(server, turn.round, devices))
        for k in [k for message in turn.downloads for k in message.receivers]:
            state, _, _ = learner.aggregate(self.work, k, turn.round, self.clients[k], {server: self.outbox})
            turn.costs[k] = learner.cost(k, turn.round, [server], UNLIMITED, None)
            step = learner.train(self.work, k, turn.round, state, turn.costs[k])
            self.clients[k] = step.state
            turn.uploads[k], turn.told[k] = step.outbox, [step.metrics]
            (turn.sent[k],) = learner.messages(k, turn.round, [server])
            assert turn.sent[k].receivers == (server,)
            told = learner.evaluate(self.work, k, turn.round, step.state)
            assert (told is None) == (not learner._federation.local)
            turn.told[k].append(told)
        return turn

    def combine(self, turn: Turn, arrived: Mapping[int, Any] | None = None) -> None:
        """The server's part of a round."""
        learner, server = self.learner, self.server
        arrived = turn.uploads if arrived is None else arrived
        turn.costs[server] = learner.cost(server, turn.round, list(turn.uploads), UNLIMITED, None)
        step = learner.aggregate(self.work, server, turn.round, self.state, arrived)
        turn.told[server] = [step.metrics]
        self.state, self.outbox = step.state, step.outbox
        if arrived:
            self.state, self.outbox, nothing = learner.train(
                self.work, server, turn.round, step.state, turn.costs[server]
            )
            assert nothing == ()
        turn.told[server].append(learner.evaluate(self.work, server, turn.round, self.state))
        turn.model = self.state

    def results(self, turn: Turn) -> dict[int, Trained]:
        """What clients made."""
        return {k: self.work.value(upload.trained) for k, upload in turn.uploads.items()}

    def metrics(self, turn: Turn) -> dict[tuple[int, str, str], float]:
        """What was told, by device, name and modality."""
        found = {}
        for k, told in turn.told.items():
            for name, value, modality in [m for one in self.work.value(told) for m in one or ()]:
                assert name in self.learner.METRICS
                found[k, name, modality] = value
        return found

    def model(self, turn: Turn | None = None) -> Any:
        """The server's model after ``turn``, or now."""
        return self.work.value(self.state if turn is None else turn.model)

    def parts(self, turn: Turn | None = None) -> dict[str, Part]:
        """Its parts."""
        return dict(self.model(turn).parts)


def played(name: str, rounds: int = 2, **changes: Any) -> Play:
    """Rounds of everybody."""
    play = Play(make(name, **changes))
    play.play(rounds)
    return play


def jobs_of(learner: Any) -> list[TrainingJob]:
    """The local updates of all devices in round 1."""
    play = Play(learner)
    play.results(play.begin(range(learner.setup.device_count)))
    return [job for _, job in sorted(play.executor.jobs.items())]


def job_of(learner: Any, device: int = 0) -> TrainingJob:
    """The local update of ``device`` in round 1."""
    play = Play(learner)
    play.results(play.begin([device]))
    found: TrainingJob = play.executor.jobs[device]
    return found


def initial(learner: Any) -> Mapping[str, Part]:
    """The first weights."""
    found: Mapping[str, Part] = learner.first(None, learner.setup.server).state.parts
    return found


def metrics_of(told: Sequence[Metric]) -> dict[tuple[str, str], float]:
    return {(name, modality): value for name, value, modality in opened(told)}


def assert_models_close(one: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    assert one.keys() == other.keys()
    for part in one:
        torch.testing.assert_close(one[part].row.tensor, other[part].row.tensor, rtol=rtol, atol=atol)


def part(*layers: Sequence[float], running: Sequence[float] = (), counters: Sequence[float] = ()) -> Part:
    """A part of trained layers, running statistics and integer counters with these numbers, in float64."""
    entries, start = {}, 0
    for name, numbers in [*((f"layer{n}", layer) for n, layer in enumerate(layers)), ("running", running),
                          ("counter", counters)]:  # fmt: skip
        if len(numbers):
            entries[name] = Entry(name, start, len(numbers), (len(numbers),), False)
            start += len(numbers)
    weights = sum(map(len, layers))
    flat = torch.tensor([*(x for layer in layers for x in layer), *running, *counters], dtype=torch.float64)
    return Part(Row(flat[None], 0), Layout(entries, weights, weights + len(running), start))


def update(before: Part, after: Part, name: str = "fusion") -> Update:
    return Update({name: before}, {name: after})


def numbers(state: Mapping[str, Part], name: str = "fusion") -> list[float]:
    found: list[float] = state[name].row.tensor.tolist()
    return found
