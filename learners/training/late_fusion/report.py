"""Reports of local updates: losses, behaviours of heads, and divergence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from learners.networks.late_fusion import FUSION
from learners.training.evaluation import as_metrics
from learners.training.late_fusion.weights import Behaviour, behaviour
from netsim.core.errors import ScenarioError
from netsim.learner import Metric

if TYPE_CHECKING:
    from learners.networks.state import State
    from learners.training.late_fusion.local_update import Trained


class Report(NamedTuple):
    """The outcome of a local update.

    Attributes:
        metrics: Losses and behaviours.
        parts: The client's model: what it had before, if its training diverged.
    """

    metrics: list[Metric]
    parts: State


def report(inputs: Sequence[Mapping[str, Any]]) -> list[Report]:
    """Report each client's local update.

    Args:
        inputs: Of each: what it ``trained``, from what parts ``before``, its ``device`` and ``round``, the step size η
            (``learning_rate``), and whether divergence ``stops`` the run.

    Raises:
        ScenarioError: A client's training diverged, and the scenario does not say that such clients are dropped.
    """
    found = []
    for one in inputs:
        trained: Trained = one["trained"]
        if not trained.finite and one["stops"]:
            raise ScenarioError(
                f"learner.learning_rate: the training of device {one['device']} diverged in round {one['round']} "
                f"(step size {one['learning_rate']:g}); lower it, or leave such devices out of the "
                "aggregation with learner.on_nan: drop"
            )
        found.append(Report(metrics_of(trained), trained.state if trained.finite else one["before"]))
    return found


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
