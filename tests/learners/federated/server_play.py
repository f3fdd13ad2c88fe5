"""Learners with a server, played by hand without a simulator; and model parts with numbers of one's choice."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import torch
from tiny_task import UNLIMITED, Deal, make_setup, run_job

from learners.checks import fingerprint
from learners.federated.aggregate import Update
from learners.training.state import Entry, Layout, Part, Row
from netsim.core.registry import load
from netsim.learner import Message, Workload

SMALL = {"head_hidden": 6, "batch_size": 8, "learning_rate": 0.05}
AUDIO = {**SMALL, "modalities": ("audio",)}
"""One modality, a network without BatchNorm and with one head."""
EARS = {**SMALL, "partition": Deal({k: ("audio",) for k in range(9)})}
"""Two modalities of which everybody owns the one without BatchNorm: clients have its head and the fused one."""


def make(name: str, devices: int = 3, **changes: Any) -> Any:
    """A learner with a server on the tiny task, whose network stands."""
    learner = load("learners", name)(make_setup(name, devices=devices, **{**SMALL, **changes}))
    learner.begin(nx.star_graph(devices))
    return learner


@dataclass
class Turn:
    """A round, as far as it was played."""

    round: int
    workloads: dict[int, Workload] = field(default_factory=dict)
    downloads: list[Message] = field(default_factory=list)
    uploads: dict[int, Message] = field(default_factory=dict)
    results: dict[int, Any] = field(default_factory=dict)
    metrics: dict[tuple[int, str, str], float] = field(default_factory=dict)


def play(
    learner: Any,
    rounds: int = 2,
    participants: Mapping[int, Sequence[int]] | None = None,
    ahead: bool = False,
    together: bool = False,
    stacked: bool = False,
) -> list[Turn]:
    """Rounds of everybody, or of those given by round; ``ahead``: all clocks first, all learning later.

    ``stacked``: local updates that may be done as one are.
    """
    everybody = range(learner.setup.device_count)
    turns = [Turn(round) for round in range(1, rounds + 1)]
    if ahead:
        for turn in turns:
            begin(learner, turn, (participants or {}).get(turn.round, everybody), together)
            upload(learner, turn)
            turn.workloads[learner.server] = learner.workload(learner.server, turn.round, UNLIMITED)
        for turn in turns:
            train(learner, turn)
            combine(learner, turn)
        return turns
    for turn in turns:
        begin(learner, turn, (participants or {}).get(turn.round, everybody), together)
        (train_stacked if stacked else train)(learner, turn)
        upload(learner, turn)
        combine(learner, turn)
        turn.workloads[learner.server] = learner.workload(learner.server, turn.round, UNLIMITED)
    return turns


def begin(learner: Any, turn: Turn, devices: Sequence[int], together: bool = False) -> None:
    turn.downloads = list(learner.download(turn.round, devices, together=together))
    for message in turn.downloads:
        for k in message.receivers:
            learner.receive(k, turn.round, message.payload)
            turn.workloads[k] = learner.workload(k, turn.round, UNLIMITED)


def train(learner: Any, turn: Turn) -> None:
    """Local updates; each job is done twice, once after a journey, and must not change what it is given."""
    for k in [k for k in turn.workloads if k != learner.server]:
        job = learner.training_job(k, turn.round, turn.workloads[k])
        before = fingerprint(dict(job.inputs))
        copied = pickle.loads(pickle.dumps(job))
        turn.results[k] = run_job(job)
        assert fingerprint(dict(job.inputs)) == before
        assert fingerprint(run_job(copied)) == fingerprint(turn.results[k])
        note(learner, turn, k, learner.apply(k, turn.round, turn.results[k]))


def train_stacked(learner: Any, turn: Turn) -> None:
    """Local updates, one call for all with the same key; inputs must not change."""
    jobs = {
        k: learner.training_job(k, turn.round, turn.workloads[k])
        for k in turn.workloads
        if k != learner.server
    }
    before = fingerprint({k: dict(job.inputs) for k, job in jobs.items()})
    for key in dict.fromkeys(job.stack.key for job in jobs.values()):
        group = [k for k, job in jobs.items() if job.stack.key == key]
        stack, inputs = jobs[group[0]].stack, [jobs[k].inputs for k in group]
        assert stack.obstacle(2 * inputs[:1]) == ""
        turn.results |= dict(zip(group, stack.function(inputs), strict=True))
    assert fingerprint({k: dict(job.inputs) for k, job in jobs.items()}) == before
    for k in jobs:
        note(learner, turn, k, learner.apply(k, turn.round, turn.results[k]))


def upload(learner: Any, turn: Turn) -> None:
    for k in [k for k in turn.workloads if k != learner.server]:
        (turn.uploads[k],) = learner.messages(k, turn.round, [learner.server])
        assert turn.uploads[k].receivers == (learner.server,)


def combine(learner: Any, turn: Turn, arrived: Mapping[int, Any] | None = None) -> None:
    server = learner.server
    arrived = {k: m.payload for k, m in turn.uploads.items()} if arrived is None else arrived
    before = fingerprint(arrived)
    note(learner, turn, server, learner.combine(server, turn.round, arrived))
    assert fingerprint(arrived) == before
    assert learner.training_job(server, turn.round, Workload()) is None
    assert not learner.apply(server, turn.round, None)
    job = learner.evaluation_job(server, turn.round)
    if job is not None:
        pickle.dumps(job)
        note(learner, turn, server, learner.judge(server, turn.round, run_job(job)))


def note(learner: Any, turn: Turn, device: int, metrics: Any) -> None:
    for name, value, modality in metrics:
        assert name in learner.METRICS
        turn.metrics[device, name, modality] = value


def model(learner: Any, round: int) -> dict[str, Part]:
    """The server's model after ``round``."""
    return dict(learner._version(round).state)


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
