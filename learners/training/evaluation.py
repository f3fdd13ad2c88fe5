"""Metrics from the result of an evaluation."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from netsim.learner import Metric


def judgements(result: Mapping[str, float], modalities: Collection[str]) -> list[Metric]:
    """Return metrics of the entries ``loss``, ``accuracy`` and ``accuracy/<modality>`` of an evaluation.

    Args:
        result: Result of the evaluation.
        modalities: Modalities in use. If there is only one, its accuracy is the accuracy and is not repeated.
    """
    metrics = [Metric("loss_test", result["loss"])]
    for name, value in result.items():
        metric, _, modality = name.partition("/")
        if metric == "accuracy" and (not modality or len(modalities) > 1):
            metrics.append(Metric(metric, value, modality))
    return metrics
