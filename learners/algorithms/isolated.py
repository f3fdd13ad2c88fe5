"""Every device on its own: the lower baseline of learning together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import networkx as nx

from learners.algorithms.baseline import Baseline, unlinked
from netsim.learner import Step

if TYPE_CHECKING:
    from netsim.learner import Setup
    from netsim.work.graph import TaskGraph


class Isolated(Baseline):
    """Each device trains a model of its own, as the learner ``of`` does, and sends nothing."""

    SUITS = Baseline.SUITS | {"hierarchical"}

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._inner = self._made_of(self._setup_of_inner())

    def _trains(self, node: int) -> bool:
        return not self.setup.is_server(node)

    def merge(
        self,
        work: TaskGraph,
        node: int,
        round: int,
        state: Any,
        arrived: Mapping[int, Any],
        devices: Mapping[int, Sequence[int]],
    ) -> Step:
        """Average nothing."""
        return Step(state)

    def owners(self) -> Mapping[str, frozenset[int]]:
        """Return which devices own each modality."""
        return self._inner.owners()

    def sample_counts(self) -> Mapping[int, int]:
        """Return what each device holds; with a server those that train nothing hold nothing."""
        held, owners = self._inner.sample_counts(), self._inner.owners()
        if not (self.setup.has_server and owners):
            return held
        training = frozenset().union(*owners.values())
        return {k: count for k, count in held.items() if k in training}

    def prepare(self, graph: nx.Graph) -> None:
        """Get the other learner ready."""
        super().prepare(graph)
        self._inner.prepare(unlinked(self.setup.device_count))
