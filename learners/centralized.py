"""One device has all the data: the upper reference of learning together."""

from __future__ import annotations

import networkx as nx
import numpy as np

from learners.data.dataset import Share
from learners.isolated import Isolated
from learners.training.task import Task


class Centralized(Isolated):
    """One device trains all modalities on the union of all devices' complete samples; the others idle.

    It is the device with most neighbours, the lowest number among equals; nobody sends anything, and how the data
    came to it is not charged.
    """

    def _deal(self, task: Task, graph: nx.Graph | None) -> dict[int, Share]:
        trainer = min(graph, key=lambda k: (-graph.degree[k], k)) if graph is not None else 0
        rows = np.unique(np.concatenate([share.complete for share in task.shares]))
        return {trainer: Share(rows, task.modalities)}
