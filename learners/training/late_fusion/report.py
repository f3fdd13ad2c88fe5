"""Metrics of local updates and evaluations: losses, accuracies, behaviours of heads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from learners.networks.late_fusion import FUSION
from learners.training.evaluation import as_metrics
from learners.training.late_fusion.weights import Behaviour, behaviour
from netsim.learner import Metric

if TYPE_CHECKING:
    from learners.training.late_fusion.local_update import Trained


def metrics_of(trained: Trained) -> list[Metric]:
    """Return the losses of a local update, and ΔG and ΔO where they were measured."""
    metrics = [Metric("loss_total", trained.loss)]
    for head, value in trained.losses.items():
        metrics.append(Metric("loss_task", value) if head == FUSION else Metric("loss_head", value, head))
    for head, one in behaviours(trained).items():
        modality = "" if head == FUSION else head
        metrics.append(Metric("generalisation", one.generalisation, modality))
        metrics.append(Metric("overfitting", one.overfitting, modality))
    return metrics


def behaviours(trained: Trained) -> dict[str, Behaviour]:
    """Return ΔG and ΔO by head, where both are numbers."""
    found = {head: behaviour(before, trained.after[head]) for head, before in trained.before.items()}
    return {head: one for head, one in found.items() if all(map(math.isfinite, one))}


def evaluated(inputs: Sequence[Mapping[str, Any]]) -> list[list[Metric]]:
    """Return the metrics of each evaluation's ``result``, of a task with these ``modalities``."""
    return [as_metrics(one["result"], one["modalities"]) for one in inputs]
