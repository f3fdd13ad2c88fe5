"""Gradient tracking: decentralized SGD whose devices agree on the direction, too; see docs/learners/baselines.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from learners.algorithms.directed import Directed
from learners.training.late_fusion.control import track
from learners.training.late_fusion.exchange import Model, Upload
from learners.training.late_fusion.options import TrackingOptions
from netsim.learner import Cost, Step

if TYPE_CHECKING:
    from netsim.core.options import Options
    from netsim.work.graph import TaskGraph


class Tracker(NamedTuple):
    """The memory of a device.

    Attributes:
        correction: What its next gradients are corrected by; empty in the beginning.
        direction: z of the training that it has not mixed yet; None where there is none.
    """

    correction: Any
    direction: Any = None


class GradientTracking(Directed):
    """Devices send their model and their tracker of the mean gradient, and mix both (GT-SGD; DIGing).

    With one step a round it is y_k ← Σ ξ y_n + g_k(w_k new) − g_k(w_k), w_k ← Σ ξ (w_n − η y_n) (Nedić, Olshevsky & Shi
    2017; Pu & Nedić 2021), with more it is K-GT (Liu et al. 2024, Algorithm 1, server step 1): z_k, the mean direction
    of a device's steps, is in the place of y_k.
    """

    Options: ClassVar[type[Options]] = TrackingOptions
    SUITS = frozenset({"decentralized"})

    def _correction(self, work: TaskGraph, round: int, model: Model) -> Any:
        return model.memory.correction if model.memory else {}

    def train(self, work: TaskGraph, node: int, round: int, state: Any, cost: Cost) -> Step:
        """Order a local update with corrected gradients, and its mean direction."""
        step = super().train(work, node, round, state, cost)
        if node not in self._clients:
            return step
        tracker = Tracker(self._correction(work, round, state), step.outbox.more)
        return step._replace(state=step.state._replace(memory=tracker))

    def aggregate(
        self, work: TaskGraph, node: int, round: int, state: Any, arrived: Mapping[int, Upload]
    ) -> Step:
        """Order the mix of models and trackers; who has not trained in the round mixes models only."""
        tracker = state.memory if node in self._clients else None
        if tracker is None or tracker.direction is None or not self._mixes(round):
            step = super().aggregate(work, node, round, state, arrived)
            return step if tracker is None else step._replace(state=step.state._replace(memory=tracker))
        inputs = {
            "device": node,
            "own": state.parts,
            "arrived": {k: upload.trained for k, upload in arrived.items()},
            "factors": {},
            "neighbours": self._neighbours,
            "met": self._met.get(node),
            "direction": tracker.direction,
            "directions": {k: upload.more for k, upload in arrived.items()},
            "correction": tracker.correction,
        }
        mixed = work.together(track, inputs, round)
        model = Model(round, mixed["parts"], state.head_weights, Tracker(mixed["correction"]))
        return Step(model, metrics=mixed["metrics"])
