"""One node has all the data: the upper baseline of learning together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np

from learners.algorithms.baseline import Baseline, unlinked
from learners.data.dataset import DataSource, MultimodalDataset, Share
from learners.data.split import Partition, Split
from netsim.core.options import NoOptions

if TYPE_CHECKING:  # a scenario is checked without it
    from learners.training.task import Task
    from netsim.learner import Setup


class Centralized(Baseline):
    """One node trains all modalities on the union of all devices' complete samples; the others compute nothing.

    It is the device with most neighbours, the lowest number among equals, or the server on its own processor. How the
    data came to it is not charged.
    """

    def __init__(self, setup: Setup) -> None:
        from learners.training.task import load_task

        super().__init__(setup)
        self._task: Task | None = load_task(
            setup, *(getattr(setup.options, key, None) for key in ("modalities", "loss"))
        )
        self._owners = {
            m: frozenset(k for k, share in enumerate(self._task.shares) if m in share.modalities)
            for m in self._task.modalities
        }
        self._held = {k: len(share.samples) for k, share in enumerate(self._task.shares)}

    def _trains(self, node: int) -> bool:
        return node == self._trainer

    def owners(self) -> Mapping[str, frozenset[int]]:
        """Return which devices own each modality, before the data is pooled."""
        return self._owners

    def sample_counts(self) -> Mapping[int, int]:
        """Return how many samples each device holds, before the data is pooled."""
        return self._held

    def prepare(self, graph: nx.Graph) -> None:
        """Give all the data to the trainer."""
        super().prepare(graph)
        assert self._task is not None, "prepare() is called once"
        server = self.setup.server
        self._trainer = min(graph, key=lambda k: (-graph.degree[k], k)) if server is None else server
        nodes = max(self.setup.device_count, self._trainer + 1)
        self._inner = self._made_of(
            self._setup_of_inner(
                device_count=nodes,
                data=_Loaded(self._task.dataset),
                partition=_Pooled(self._task, self._trainer),
            )
        )
        self._inner.prepare(unlinked(nodes))
        self._task = None


class _Loaded(DataSource):
    """A data set that is there already."""

    def __init__(self, dataset: MultimodalDataset) -> None:
        super().__init__(NoOptions())
        self._dataset = dataset

    def check(self) -> None:
        """Find it there."""

    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Return it."""
        return self._dataset


class _Pooled(Partition):
    """All that the devices hold is one node's: the samples that are complete somewhere, with all modalities."""

    def __init__(self, task: Task, trainer: int) -> None:
        super().__init__(NoOptions())
        self._pool = Share(np.unique(np.concatenate([one.complete for one in task.shares])), task.modalities)
        self._public, self._trainer = task.public, trainer

    def deal(self, data: MultimodalDataset, device_count: int, seed: int) -> list[Share]:
        """Give everything to the trainer."""
        nothing = Share(self._pool.samples[:0], ())
        return [self._pool if k == self._trainer else nothing for k in range(device_count)]

    def split(self, data: MultimodalDataset, device_count: int, seed: int) -> Split:
        """Leave what was set aside where it is."""
        return Split(self.deal(data, device_count, seed), self._public, data)
