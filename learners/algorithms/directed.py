"""Averaging with a direction beside the model: the base of gradient tracking and SCAFFOLD."""

from __future__ import annotations

from typing import TYPE_CHECKING

from learners.algorithms.fedavg import FedAvg
from learners.training.late_fusion.control import directions
from learners.training.late_fusion.exchange import Model, Upload

if TYPE_CHECKING:
    from netsim.work.future import Future
    from netsim.work.graph import TaskGraph


class Directed(FedAvg):
    """Clients send z beside their model, the mean direction of their steps, so twice as much is sent."""

    model_copies = 2

    def _outgoing(self, work: TaskGraph, node: int, round: int, model: Model, trained: Future) -> Upload:
        before = self._federation.own(model.parts, self._clients[node].modalities)
        rate = self._pace(round, model) * self._options.learning_rate
        z = work.together(directions, {"before": before, "trained": trained, "rate": rate}, round)
        return super()._outgoing(work, node, round, model, trained)._replace(more=z)
