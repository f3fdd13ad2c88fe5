"""From an evaluation's result to metrics."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from netsim.learner import Metric


def judgements(result: Mapping[str, float], modalities: Collection[str]) -> list[Metric]:
    """Metrics of ``loss``, ``accuracy`` and ``accuracy/<modality>``.

    Args:
        result: Of an evaluation.
        modalities: Of the task; where it is one, its own accuracy is the accuracy, and is not told twice.
    """
    metrics = [Metric("loss_test", result["loss"])]
    for name, value in result.items():
        metric, _, modality = name.partition("/")
        if metric == "accuracy" and (not modality or len(modalities) > 1):
            metrics.append(Metric(metric, value, modality))
    return metrics
