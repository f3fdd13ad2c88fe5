"""A task that a network learns in a second, and learners built on it without the simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import torch

from learners.data.dataset import DataSource, MultimodalDataset, Partition, Share
from netsim.core.options import NoOptions
from netsim.core.registry import load
from netsim.events import Observer
from netsim.former.learning import Learner
from netsim.learner import Setup
from netsim.scenario.model import Costs, Evaluation
from netsim.world.budget import Budget

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
    model = load("learners", name).Options
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
    learner: Learner = load("learners", name)(make_setup(name, **changes))
    if graph is not None:
        learner.begin(graph)
    return learner


def run_job(job: Any) -> Any:
    return job.function(**job.inputs)


def train(learner: Any, device: int, round: int, budget: Budget = UNLIMITED) -> Any:
    """One local update, applied; returns its metrics as a mapping by (name, modality)."""
    job = learner.training_job(device, round, learner.workload(device, round, budget))
    metrics = learner.apply(device, round, run_job(job) if job else None)
    return {(m.name, m.modality): m.value for m in metrics}


def play_round(
    learner: Any, round: int, budget: Budget = UNLIMITED
) -> dict[int, dict[tuple[str, str], float]]:
    """One synchronous round of all devices; metrics by device, the head's under -1."""
    graph = learner.graph
    metrics: dict[int, list[Any]] = {-1: []}
    for k in graph:
        train(learner, k, round, budget)
    sent = {k: learner.messages(k, round, sorted(graph[k])) for k in graph}
    learner.local = {
        k: learner._trained(k, round) for k in graph if k in learner._members
    }  # for tests to look at
    for k in graph:
        arrived = {n: m.payload for n in sorted(graph[k]) for m in sent[n] if k in m.receivers}
        metrics[k] = list(learner.combine(k, round, arrived))
        job = learner.evaluation_job(k, round)
        if job:
            metrics[k] += learner.judge(k, round, run_job(job))
    if learner.coordinated:
        decisions, metrics[-1] = learner.decide(
            0, round, {k: learner.report(k, round, budget).payload for k in graph}
        )
        for k in graph:
            learner.accept(k, round, decisions[k].payload)
    return {k: {(m.name, m.modality): m.value for m in found} for k, found in metrics.items()}
