"""What the simulator relies on in a learner, as a check that anybody can run on theirs.

from learners.checks import check_learner
check_learner(lambda: MyLearner(setup), networkx.path_graph(3))
check_learner(lambda: MyServerLearner(setup))
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import networkx as nx
import numpy as np

from netsim.former.learning import Learner, Message, ServerLearner, Workload
from netsim.learner import Metric, Report
from netsim.work.job import TrainingJob
from netsim.world.budget import Budget

JOULES_PER_FLOP, JOULES_PER_BIT = 5e-11, 1e-8


class BrokenPromise(AssertionError):
    """A learner does not keep what :class:`netsim.learner.Learner` promises; the message names the promise."""


def check_learner(make: Callable[[], Learner], graph: nx.Graph | None = None, rounds: int = 2) -> None:
    """Play synchronous rounds with several copies of a learner and compare them.

    Args:
        make: Gives a new learner, the same one each time: same options, same seed.
        graph: The network that the learner is told of. A learner with a server needs none: its links are a star,
            and all devices take part in every round.
        rounds: How many rounds to play.

    Raises:
        BrokenPromise: At the first promise that is not kept.
    """
    first, again, backwards, ahead = (_play(make(), graph) for _ in range(4))
    devices = first.devices
    for round in range(1, rounds + 1):
        for play in (first, again):
            play.round(round, devices)
        backwards.round(round, devices[::-1])
        _compare(first, again, "same seed, different {what}")
        _compare(first, backwards, "devices visited or messages given in another order, different {what}")
        if ahead.learner.looks_ahead:
            ahead.round(round, devices, ahead=True)
            _compare(first, ahead, "messages asked for before training was done, different {what}")
    first.check_old_payloads()
    if first.learner.movable and not first.learner.coordinated:
        _check_move(first, make, graph, rounds)


def _check_move(first: _Play, make: Callable[[], Learner], graph: nx.Graph | None, rounds: int) -> None:
    """One copy answers, another one works; in the end the first takes home what the second has learnt."""
    answering, working = _play(make(), graph), _play(make(), graph)
    working.answering = answering.learner
    for round in range(1, rounds + 1):
        working.round(round, first.devices, ahead=True)
        for learner in (answering.learner, working.learner):
            learner.forget(round)
    _compare(first, working, "one copy answers and another one works, different {what}")
    answering.learner.take_home(pickle.loads(pickle.dumps(working.learner.learnt())))
    for k in first.devices:
        jobs = [play.learner.evaluation_job(k, rounds) for play in (first, answering)]
        there, home = (job and job.function(**job.inputs) for job in jobs)
        _promise(
            fingerprint(home) == fingerprint(there),
            f"device {k}: take_home() does not take over all that was learnt",
        )


def _play(learner: Learner, graph: nx.Graph | None) -> _Play:
    if isinstance(learner, ServerLearner):
        return _ServerPlay(learner)
    if graph is None:
        raise TypeError("check_learner: a learner without a server needs a graph")
    return _Play(learner, graph)


class _Play:
    """One copy of a learner, and fingerprints of all that it said, by what it was."""

    def __init__(self, learner: Learner, graph: nx.Graph) -> None:
        self.learner, self.graph = learner, graph
        self.answering: Learner | None = None  # another copy, that says how much is computed and sent
        self.said: dict[str, dict[tuple[Any, ...], str]] = {}
        self.payloads: list[tuple[Message, str, int, int]] = []
        learner.begin(graph)

    @property
    def devices(self) -> list[int]:
        """Who takes part."""
        return sorted(self.graph)

    def round(self, round: int, order: list[int], ahead: bool = False) -> None:
        """Play one round; ``ahead``: sizes of messages are asked for before any training is done."""
        sent = self._train_and_send(round, order, ahead)
        for k in order:
            arrived = {n: m.payload for n in order if k in self.graph[n] for m in sent[n] if k in m.receivers}
            self._combine(k, round, arrived)
            self._judge(k, round)
        if self.learner.coordinated:
            self._coordinate(round, order)
        self.check_old_payloads()

    def _train_and_send(self, round: int, order: list[int], ahead: bool) -> dict[int, list[Message]]:
        learner, graph = self.learner, self.graph
        workloads = {k: self._workload(k, round) for k in order}
        if self.answering:
            workloads = {k: pickle.loads(pickle.dumps(workload)) for k, workload in workloads.items()}
            sizes = {k: _sizes(self.answering.messages(k, round, sorted(graph[k]))) for k in order}
        sent: dict[int, list[Message]] = {}
        if ahead:
            sent = {k: list(learner.messages(k, round, sorted(graph[k]))) for k in order}
        jobs = {k: self._train(k, round, workloads[k]) for k in order}
        self._check_stacks(jobs, round)
        if not ahead:
            sent = {k: list(learner.messages(k, round, sorted(graph[k]))) for k in order}
        for k in order:
            self._check_messages(k, round, sent[k])
            if self.answering:
                _promise(
                    _sizes(sent[k]) == sizes[k],
                    f"device {k}, round {round}: messages() depends on what was learnt",
                )
        return sent

    def _combine(self, k: int, round: int, arrived: Mapping[int, Any]) -> None:
        before = fingerprint(arrived)
        self._metrics("metrics of combining", k, round, self.learner.combine(k, round, arrived))
        _promise(fingerprint(arrived) == before, f"device {k}, round {round}: combine() changed what arrived")

    def _judge(self, k: int, round: int) -> None:
        job = self.learner.evaluation_job(k, round)
        if job is not None:
            result = self._run(job, f"evaluation of device {k}, round {round}")
            self._metrics("metrics of judging", k, round, self.learner.judge(k, round, result))

    def _budget(self, k: int) -> Budget:
        return Budget(1e9, JOULES_PER_FLOP, {n: JOULES_PER_BIT for n in sorted(self.graph[k])})

    def _workload(self, k: int, round: int) -> Workload:
        workload = (self.answering or self.learner).workload(k, round, self._budget(k))
        where = f"device {k}, round {round}"
        for part, flops in workload.flops.items():
            _promise(
                _is_size(flops), f"{where}: FLOPs of {part!r} must be finite and at least 0, got {flops!r}"
            )
        for modality, count in workload.iterations.items():
            _promise(
                isinstance(count, int) and count >= 0,
                f"{where}: iterations of {modality!r} must be a whole number and at least 0, got {count!r}",
            )
        self._say("workload", (k, round), workload)
        return workload

    def _train(self, k: int, round: int, workload: Workload) -> TrainingJob | None:
        where = f"device {k}, round {round}"
        job = self.learner.training_job(k, round, workload)
        result = self._run(job, f"training of {where}") if job is not None else None
        self._say("training result", (k, round), result)
        self._metrics("metrics of training", k, round, self.learner.apply(k, round, result))
        return job

    def _check_stacks(self, jobs: Mapping[int, TrainingJob | None], round: int) -> None:
        """Jobs done together give what each gives alone, up to rounding."""
        groups: dict[Any, list[tuple[int, TrainingJob]]] = {}
        for k, job in jobs.items():
            if job is not None and job.stack is not None:
                groups.setdefault(job.stack.key, []).append((k, job))
        for members in groups.values():
            stack = members[0][1].stack
            assert stack is not None
            together = stack.function([job.inputs for _, job in members])
            for (k, job), result in zip(members, together, strict=True):
                _promise(
                    _alike(result, job.function(**job.inputs)),
                    f"device {k}, round {round}: the job gives something else when it is stacked with others",
                )

    def _run(self, job: TrainingJob, where: str) -> Any:
        before = fingerprint(dict(job.inputs))
        try:
            copied: TrainingJob = pickle.loads(pickle.dumps(job))
        except Exception as error:
            raise BrokenPromise(
                f"{where}: the job cannot be sent to a worker, it does not pickle: {error}"
            ) from error
        result = job.function(**job.inputs)
        _promise(fingerprint(dict(job.inputs)) == before, f"{where}: the job changed its inputs")
        again = copied.function(**copied.inputs)
        _promise(
            fingerprint(again) == fingerprint(result),
            f"{where}: the same job gave two results; all that it depends on must be in its inputs",
        )
        return result

    def _check_messages(self, k: int, round: int, messages: list[Message]) -> None:
        neighbours = sorted(self.graph[k])
        where = f"device {k}, round {round}"
        receivers = [n for m in messages for n in m.receivers]
        strangers = sorted(set(receivers) - set(neighbours))
        _promise(not strangers, f"{where}: a message to {strangers}, which are no neighbours")
        _promise(len(set(receivers)) == len(receivers), f"{where}: more than one message to a neighbour")
        for m in messages:
            size = m.size_bits
            _promise(
                _is_size(size), f"{where}: a message's size_bits must be finite and at least 0, got {size!r}"
            )
            self.payloads.append((m, fingerprint(m.payload), k, round))
        self._say(
            "messages", (k, round), sorted((m.receivers, m.size_bits, fingerprint(m)) for m in messages)
        )

    def _coordinate(self, round: int, order: list[int]) -> None:
        reports = {k: self.learner.report(k, round, self._budget(k)) for k in order}
        head = min(self.graph, key=lambda k: (-self.graph.degree[k], k))
        decisions, metrics = self.learner.decide(
            head, round, {k: report.payload for k, report in sorted(reports.items())}
        )
        for k, told in (*reports.items(), *decisions.items()):
            self._check_report(k, round, told)
        self._say("reports", (round,), dict(sorted(reports.items())))
        self._say("decisions", (round,), dict(sorted(decisions.items())))
        self._metrics("metrics of deciding", -1, round, metrics)
        for k in order:
            self.learner.accept(k, round, decisions[k].payload if k in decisions else None)

    def _check_report(self, k: int, round: int, report: Report) -> None:
        size = report.size_bits
        _promise(
            _is_size(size),
            f"device {k}, round {round}: a report's size_bits must be finite and at least 0, got {size!r}",
        )

    def _metrics(self, what: str, k: int, round: int, metrics: Iterable[Metric]) -> None:
        found = list(metrics)
        for metric in found:
            _promise(
                metric.name in self.learner.METRICS,
                f"device {k}, round {round}: metric {metric.name!r} is not explained in METRICS",
            )
        self._say(what, (k, round), found)

    def _say(self, what: str, where: tuple[Any, ...], said: Any) -> None:
        self.said.setdefault(what, {})[where] = fingerprint(said)

    def check_old_payloads(self) -> None:
        """What was handed to the radio must be what the receiver gets, whenever that is."""
        for message, before, k, round in self.payloads:
            _promise(
                fingerprint(message.payload) == before,
                f"device {k}, round {round}: a message's payload changed after it was handed over",
            )


class _ServerPlay(_Play):
    """One copy of a learner with a server."""

    learner: ServerLearner

    def __init__(self, learner: ServerLearner) -> None:
        star = nx.Graph([(k, learner.server) for k in range(learner.setup.device_count)])
        super().__init__(learner, star)

    @property
    def devices(self) -> list[int]:
        """Those that hold samples."""
        samples = self.learner.sample_counts()
        return [k for k in range(self.learner.server) if not samples or samples.get(k, 0) > 0]

    def round(self, round: int, order: list[int], ahead: bool = False) -> None:
        """Play one round: download, training, upload, aggregation, the server's own work."""
        learner, server = self.learner, self.learner.server
        for message in self._downloads(round, order):
            for k in message.receivers:
                learner.receive(k, round, message.payload)
        sent = self._train_and_send(round, order, ahead)
        for k in order:
            _promise(len(sent[k]) == 1, f"device {k}, round {round}: must send the server one message")
        self._combine(server, round, {k: sent[k][0].payload for k in sorted(order)})
        self._train(server, round, self._workload(server, round))
        self._judge(server, round)
        self.check_old_payloads()

    def _downloads(self, round: int, order: list[int]) -> list[Message]:
        together = (
            round % 2 == 1
        )  # rounds with one transmission for all, and rounds with one for each, in turn
        messages = list(self.learner.download(round, sorted(order), together=together))
        _promise(
            not together or len(messages) <= 1,
            f"round {round}: more than one message where all hear one transmission",
        )
        self._check_messages(self.learner.server, round, messages)
        return messages


def _compare(one: _Play, other: _Play, promise: str) -> None:
    for what in (
        "workload", "training result", "metrics of training", "messages", "metrics of combining",
        "metrics of judging", "reports", "decisions", "metrics of deciding",
    ):  # fmt: skip
        ours, theirs = one.said.get(what, {}), other.said.get(what, {})
        for where in sorted(ours.keys() | theirs.keys()):
            place = f"device {where[0]}, round {where[1]}" if len(where) == 2 else f"round {where[0]}"
            _promise(ours.get(where) == theirs.get(where), f"{promise.format(what=what)}: {place}")


def fingerprint(value: Any) -> str:
    """A digest of ``value``: numbers bit for bit, mappings whatever their order, objects by their fields.

    PyTorch's tensors are known by their ``numpy`` method, so that this module needs no PyTorch.
    """
    digest = hashlib.sha256()
    _feed(digest.update, value)
    return digest.hexdigest()


def _feed(update: Callable[[bytes], None], value: Any) -> None:
    update(type(value).__name__.encode())
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu().contiguous().numpy()
    if isinstance(value, np.ndarray):
        update(f"{value.dtype}{value.shape}".encode())
        update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            update(repr(key).encode())
            _feed(update, value[key])
    elif isinstance(value, list | tuple):
        update(str(len(value)).encode())
        for item in value:
            _feed(update, item)
    elif isinstance(value, set | frozenset):
        update(repr(sorted(value, key=repr)).encode())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            update(field.name.encode())
            _feed(update, getattr(value, field.name))
    elif hasattr(value, "__dict__") and not callable(value):
        _feed(update, vars(value))
    else:
        update(repr(value).encode())


def _alike(one: Any, other: Any) -> bool:
    """Whether two results are the same up to rounding: numbers within 1e-4 of the largest beside them."""
    if hasattr(one, "detach") and hasattr(one, "cpu"):
        one, other = (np.asarray(value.detach().cpu()) for value in (one, other))
    if isinstance(one, np.ndarray):
        scale = max(float(np.abs(other).max(initial=0.0)), 1e-6)
        return one.shape == other.shape and bool(np.allclose(one, other, rtol=0, atol=1e-4 * scale))
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(_alike(*pair) for pair in zip(one, other, strict=True))
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        return all(_alike(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    return bool(one == other)


def _sizes(messages: Iterable[Message]) -> list[tuple[tuple[int, ...], float]]:
    return [(message.receivers, message.size_bits) for message in messages]


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def _promise(kept: bool, text: str) -> None:
    if not kept:
        raise BrokenPromise(text)
