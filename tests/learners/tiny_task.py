"""A task that a network learns in a second, and learners built on it without the simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import torch

from learners.data.dataset import DataSource, MultimodalDataset, Share
from learners.data.split import Partition
from netsim.core.budget import Budget
from netsim.core.options import NoOptions
from netsim.core.registry import load
from netsim.events import Observer
from netsim.learner import Learner, Setup
from netsim.scenario.model import Costs, Evaluation
from netsim.work.executors.inline import Inline
from netsim.work.graph import TaskGraph
from netsim.work.job import TrainingJob

CLASSES = ("left", "right", "up")
TRAIN, TEST = 96, 30


def tiny_dataset(image_size: int = 8) -> MultimodalDataset:
    """Three classes, an image and a vector each, that both tell them apart."""
    random = torch.Generator().manual_seed(1)
    count = TRAIN + TEST
    labels = torch.arange(count) % len(CLASSES)
    image = torch.randn(count, 1, image_size, image_size, generator=random)
    image[torch.arange(count), 0, labels] += 2.0
    vector = torch.randn(count, 5, generator=random)
    vector[torch.arange(count), labels] += 2.0
    return MultimodalDataset(
        name="tiny",
        classes=CLASSES,
        inputs={"audio": vector, "visual": image},
        labels=labels,
        groups=np.zeros(count, dtype=np.int64),
        train=np.arange(TRAIN),
        test=np.arange(TRAIN, count),
    )


class TinyData(DataSource):
    MODALITIES = ("audio", "visual")

    def check(self) -> None:
        pass

    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        return tiny_dataset()


class Kept(Observer):
    """All metrics of a run, in the order in which they were told."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def on_metrics(self, rows: Any) -> None:
        self.rows.extend(rows)


class Deal(Partition):
    """Training rows in turn, at most ``rows`` of them (by device, or for all); modalities as given, or all."""

    def __init__(
        self, modalities: dict[int, tuple[str, ...]] | None = None, rows: int | dict[int, int] | None = None
    ) -> None:
        super().__init__(NoOptions())
        self.modalities, self.rows = modalities or {}, rows

    def _rows(self, device: int) -> int | None:
        return self.rows.get(device) if isinstance(self.rows, dict) else self.rows

    def deal(self, data: MultimodalDataset, device_count: int, seed: int) -> list[Share]:
        return [
            Share(data.train[k::device_count][: self._rows(k)], self.modalities.get(k, data.modalities))
            for k in range(device_count)
        ]


NETWORKS = {
    "audio": {"name": "mlp", "hidden": [12, 8]},
    "visual": {"name": "small_resnet", "widths": [8], "stem_kernel": 3, "stem_stride": 2},
}
SMALL = {
    "networks": NETWORKS,
    "generator_hidden": 16,
    "noise_size": 4,
    "generator_iterations": 3,
    "batch_size": 8,
}
PATH = nx.path_graph(4)
UNLIMITED = Budget(float("inf"), 5e-11, {})


def make_setup(
    name: str,
    *,
    devices: int = 4,
    rounds: int = 3,
    seed: int = 0,
    partition: Any = None,
    precision: str = "float32",
    has_server: bool = False,
    **changes: Any,
) -> Setup:
    """A setup for learner ``name`` on the tiny task; ``changes`` are options, or costs and evaluation."""
    costs, evaluation = changes.pop("costs", Costs()), changes.pop("evaluation", Evaluation())
    cls = load("learners", name)
    given = {key: value for key, value in changes.items() if key == "of"}
    model = (cls.made_for(given) if hasattr(cls, "made_for") else cls).Options
    options = {k: v for k, v in {**SMALL, **changes}.items() if k in model.model_fields}
    return Setup(
        seed=seed,
        device_count=devices,
        rounds=rounds,
        options=model.model_validate(options | {k: v for k, v in changes.items() if k not in options}),
        data=TinyData(NoOptions()),
        partition=partition or Deal(),
        costs=costs,
        evaluation=evaluation,
        torch_device="cpu",
        cache_dir=Path("unused"),
        say=lambda text: None,
        precision=precision,
        has_server=has_server,
    )


def make_learner(name: str, graph: nx.Graph | None = PATH, **changes: Any) -> Any:
    """A learner on the tiny task whose network stands, unless ``graph`` is None."""
    if graph is not None:
        changes.setdefault("devices", len(graph))
    options = {key: value for key, value in changes.items() if key == "of"}
    learner: Learner = load("learners", name).made_for(options)(make_setup(name, **changes))
    if graph is not None:
        learner.prepare(graph)
    return learner


def run_job(job: Any) -> Any:
    return job.function(**job.inputs)


class Play:
    """Rounds of a learner without the simulator: what its devices know, and what they have sent.

    Attributes:
        work: Does what is ordered.
        states: By device, futures.
        sent: Outboxes of the devices' last trainings.
        plans: Decisions for the coming round.
    """

    def __init__(self, learner: Any) -> None:
        self.learner = learner
        self.work = TaskGraph(Inline(), Observer(), 100)
        self.states = {k: learner.first(self.work, k).state for k in learner.graph}
        self.sent: dict[int, Any] = {}
        self.plans: dict[int, Any] = {}

    def cost(self, device: int, round: int = 1, budget: Budget = UNLIMITED, plan: Any = None) -> Any:
        return self.learner.cost(device, round, sorted(self.learner.graph[device]), budget, plan)

    def job(self, device: int, round: int = 1, budget: Budget = UNLIMITED) -> Any:
        """The job of the local update that the device would order now; None if it would not."""
        made = self.work.trace()
        self.learner.train(self.work, device, round, self.states[device], self.cost(device, round, budget))
        return self._job(made)

    def evaluation_job(self, device: int, round: int = 1) -> Any:
        """The job of the evaluation that would be ordered now."""
        made = self.work.trace()
        self.learner.evaluate(self.work, device, round, self.states[device])
        return self._job(made)

    def _job(self, made: list[Any]) -> Any:
        jobs = [
            TrainingJob(t.function, self.work.value(t.inputs), stack=t.stack) for t in made if not t.light
        ]
        self.work.cancel(made)
        return jobs[0] if jobs else None

    def train(self, device: int, round: int, budget: Budget = UNLIMITED) -> dict[tuple[str, str], float]:
        cost = self.cost(device, round, budget, self.plans.pop(device, None))
        step = self.learner.train(self.work, device, round, self.states[device], cost)
        self.states[device], self.sent[device] = step.state, step.outbox
        return self.known(step.metrics)

    def aggregate(self, device: int, round: int, arrived: dict[int, Any]) -> dict[tuple[str, str], float]:
        step = self.learner.aggregate(self.work, device, round, self.states[device], arrived)
        self.states[device] = step.state
        return self.known(step.metrics)

    def known(self, metrics: Any) -> dict[tuple[str, str], float]:
        return {(m.name, m.modality): m.value for m in self.work.value(metrics) or ()}

    def models(self) -> dict[int, Any]:
        """The devices' models as they are now."""
        states = self.work.value(self.states)
        return {k: state.parts for k, state in states.items() if state is not None}

    def report(self, device: int, round: int = 1, budget: Budget = UNLIMITED) -> Any:
        return self.learner.report(self.work, device, round, self.states[device], budget)

    def round(self, round: int, budget: Budget = UNLIMITED) -> dict[int, dict[tuple[str, str], float]]:
        """One synchronous round of all devices; metrics by device, the head's under -1."""
        learner, graph = self.learner, self.learner.graph
        metrics: dict[int, Any] = {-1: {}}
        for k in graph:
            self.train(k, round, budget)
        self.local = self.models()  # for tests to look at
        sent = {k: learner.messages(k, round, sorted(graph[k])) for k in graph}
        for k in graph:
            arrived = {n: self.sent[n] for n in sorted(graph[k]) for m in sent[n] if k in m.receivers}
            metrics[k] = self.aggregate(k, round, arrived)
            metrics[k] |= self.known(learner.evaluate(self.work, k, round, self.states[k]))
        if learner.coordinated:
            reports = {k: self.report(k, round, budget).payload for k in graph}
            decisions, found = learner.decide(self.work, 0, round, reports)
            metrics[-1] = self.known(found)
            self.plans = {k: decision.payload for k, decision in decisions.items()}
        return metrics


def play_of(learner: Any) -> Play:
    """The one play of ``learner``."""
    if "play" not in vars(learner):
        learner.play = Play(learner)
    play: Play = learner.play
    return play


def play_round(
    learner: Any, round: int, budget: Budget = UNLIMITED
) -> dict[int, dict[tuple[str, str], float]]:
    return play_of(learner).round(round, budget)


def models_of(simulation: Any) -> dict[int, Any]:
    """The devices' models after a run, by device."""
    return {k: state.parts for k, state in simulation.states.items() if state is not None}
