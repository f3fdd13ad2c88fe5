"""Metrics from the result of an evaluation: those of every learner, and those that a scenario asks for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from learners.training.scores import Predicted, RealScore, Scored
from netsim.core.errors import ScenarioError
from netsim.core.registry import entry, load, names
from netsim.learner import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

OWN = "own mix of classes: each test sample counts as much as its class does among the device's training samples"


@dataclass(frozen=True)
class Judge:
    """A scenario's questions about a model besides accuracy and loss: small and picklable.

    Attributes:
        scores: Names of metrics, and their options.
        classes: Names of the classes; none where labels are real numbers.
        shares: Of each device that is to be judged on its own mix of classes, each class's part of its samples.
    """

    scores: tuple[tuple[str, Mapping[str, Any]], ...]
    classes: tuple[str, ...]
    shares: Mapping[int, NDArray[np.float64]]

    def judged(self, logits: Sequence[Tensor], labels: Tensor, devices: Sequence[int]) -> list[Metric]:
        """Return the metrics of a model.

        Args:
            logits: Its logits [samples, C], or predicted numbers [samples, 1], in parts.
            labels: The right classes, int64 [samples], or numbers.
            devices: Whose own mixes of classes count: a device's own for its model, everybody's for a server's.
        """
        if not self.classes:
            predicted = torch.cat(list(logits)).squeeze(-1).double().cpu().numpy()
            targets = labels.double().cpu().numpy()
            weights = np.full(len(targets), 1 / len(targets))
            return self._scores(Predicted(predicted, targets, weights), "")
        probabilities = torch.cat(list(logits)).softmax(-1).double().cpu().numpy()
        right = labels.cpu().numpy()
        alike = Scored(probabilities, right, np.full(len(right), 1 / len(right)), self.classes)
        found = self._scores(alike, "")
        own = {k: self._of_mix(alike, self.shares[k]) for k in devices if k in self.shares}
        for k, scored in own.items():
            accuracy = float(scored.matrix.trace())
            found.append(Metric("accuracy_own", accuracy, "" if len(devices) == 1 else f"device {k}"))
            found += self._scores(scored, "_own") if len(devices) == 1 else []
        return found

    def _scores(self, scored: Scored | Predicted, suffix: str) -> list[Metric]:
        found = []
        for name, given in self.scores:
            kind = load("metrics", name)
            score: Any = kind(kind.Options.model_validate(given))
            found += [
                Metric(f"{name_of(name)}{suffix}", float(value), about)
                for about, value in score.values(scored).items()
            ]
        return found

    @staticmethod
    def _of_mix(alike: Scored, shares: NDArray[np.float64]) -> Scored:
        """Return the same predictions with the weights of a device's mix of the classes that are tested."""
        counts = np.bincount(alike.labels, minlength=len(shares))[: len(shares)]
        there = np.where(counts > 0, shares, 0.0)
        of_class = there / max(there.sum(), 1e-300) / np.maximum(counts, 1)
        return Scored(alike.probabilities, alike.labels, of_class[alike.labels], alike.classes)


def judge_of(evaluation: Any, classes: Sequence[str], labels: Mapping[int, Any]) -> Judge | None:
    """Return the judge of a scenario's ``evaluation`` block; None if it asks for nothing more.

    Args:
        evaluation: The block.
        classes: Names of the classes; none where labels are real numbers.
        labels: Labels of each device's training samples.

    Raises:
        ScenarioError: It asks for what is not about such labels.
    """
    if not evaluation.metrics and not evaluation.own_share:
        return None
    of, other = ("classes", "real numbers") if classes else ("real numbers", "classes")
    for one in evaluation.metrics:
        if issubclass(load("metrics", one.name), RealScore) == bool(classes):
            known = [
                name
                for name in names("metrics")
                if issubclass(load("metrics", name), RealScore) != bool(classes)
            ]
            raise ScenarioError(
                f"evaluation.metrics: {one.name} is about {other}, and the labels are {of}; use {', '.join(known)}"
            )
    if evaluation.own_share and not classes:
        raise ScenarioError(
            "evaluation.own_share: is about classes, and the labels are real numbers; leave it out"
        )
    shares = {}
    for k, own in labels.items() if evaluation.own_share else ():
        counts = np.bincount(np.asarray(own), minlength=len(classes))
        shares[k] = counts / max(counts.sum(), 1)
    return Judge(tuple((one.name, one.given) for one in evaluation.metrics), tuple(classes), shares)


def name_of(name: str) -> str:
    """Return what a metric is called in the records: its name, or that of the class."""
    return name.rpartition(":")[2]


def with_judged(metrics: Mapping[str, str], evaluation: Any) -> dict[str, str]:
    """Return ``metrics``, with a line of explanation for each that the ``evaluation`` block asks for."""
    found = dict(metrics)
    if evaluation.own_share:
        found["accuracy_own"] = f"accuracy on a device's {OWN}; of a server's model for each device"
    for one in evaluation.metrics:
        about = entry("metrics", one.name).about
        found[name_of(one.name)] = about
        if evaluation.own_share:
            found[f"{name_of(one.name)}_own"] = f"the same on the device's own mix of classes: {about}"
    return found


def as_metrics(result: Mapping[str, Any], modalities: Collection[str]) -> list[Metric]:
    """Return metrics of the entries ``loss``, ``accuracy``, ``accuracy/<modality>`` and ``judged`` of an evaluation.

    Args:
        result: Result of the evaluation.
        modalities: Modalities in use. If there is only one, its accuracy is the accuracy and is not repeated.
    """
    metrics = [Metric("loss_test", result["loss"])]
    for name, value in result.items():
        metric, _, modality = name.partition("/")
        if metric == "accuracy" and (not modality or len(modalities) > 1):
            metrics.append(Metric(metric, value, modality))
    return [*metrics, *result.get("judged", ())]
