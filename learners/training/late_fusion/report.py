"""Metrics of local updates and evaluations: losses, accuracies, behaviours of heads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from learners.networks.late_fusion import FUSION
from learners.training.evaluation import as_metrics, with_judged
from learners.training.late_fusion.weights import Behaviour, Losses, behaviour
from netsim.learner import Metric, Setup


def metrics_of(loss: float, losses: Mapping[str, float], behaviours: Mapping[str, Behaviour]) -> list[Metric]:
    """Return what a local update has minimised, its losses by head, and ΔG and ΔO where they were measured."""
    metrics = [Metric("loss_total", loss)]
    for head, value in losses.items():
        metrics.append(Metric("loss_task", value) if head == FUSION else Metric("loss_head", value, head))
    for head, one in behaviours.items():
        modality = "" if head == FUSION else head
        metrics.append(Metric("generalisation", one.generalisation, modality))
        metrics.append(Metric("overfitting", one.overfitting, modality))
    return metrics


def behaviours_of(before: Mapping[str, Losses], after: Mapping[str, Losses]) -> dict[str, Behaviour]:
    """Return ΔG and ΔO by head from its losses ``before`` and ``after`` a local update, where both are numbers."""
    found = {head: behaviour(losses, after[head]) for head, losses in before.items()}
    return {head: one for head, one in found.items() if all(map(math.isfinite, one))}


def metrics_of_evaluation(metrics: Mapping[str, str], setup: Setup) -> dict[str, str]:
    """Return ``metrics`` of a learner, and those that its evaluation is asked for."""
    return with_judged(metrics, setup.evaluation)


def evaluated(inputs: Sequence[Mapping[str, Any]]) -> list[list[Metric]]:
    """Return the metrics of each evaluation's ``result``, of a task with these ``modalities``."""
    return [as_metrics(one["result"], one["modalities"]) for one in inputs]
