"""Evaluation of devices' models on the test samples, class by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from learners.networks.randomness import drawing_from_its_seed
from learners.training.distillation.classifier import TRUNK, Classifier
from netsim.learner import Metric

if TYPE_CHECKING:
    from learners.networks.state import State
    from learners.training.evaluation import Judge
    from learners.training.task import Store


@dataclass(frozen=True)
class Evaluated:
    """Hold how one model did.

    Attributes:
        loss: Mean cross-entropy of the main head.
        correct: Right predictions by head and class.
        samples: Test samples by class.
        judged: What else was to be known of the main head.
    """

    loss: float
    correct: tuple[tuple[int, ...], ...]
    samples: tuple[int, ...]
    judged: tuple[Metric, ...] = ()

    def accuracy(self, head: int = 0) -> float:
        """Return the part of the test samples that ``head`` gets right."""
        return sum(self.correct[head]) / sum(self.samples)

    def weighted_accuracy(self, weights: Sequence[float], head: int = 0) -> float:
        """Return the accuracy where class c comes with probability ``weights[c]``.

        Classes without a test sample do not count. With a device's own shares of the classes this is MHD's β_priv, with
        equal ones its β_sh.
        """
        there = [c for c, count in enumerate(self.samples) if count]
        total = sum(weights[c] for c in there)
        right = sum(weights[c] * self.correct[head][c] / self.samples[c] for c in there)
        return right / total if total else 0.0


@drawing_from_its_seed
def evaluate(
    architecture: Classifier,
    state: State,
    store: Store,
    modality: str,
    rows: Tensor,
    batch_size: int,
    torch_device: str,
    judge: Judge | None = None,
    devices: Sequence[int] = (),
) -> Evaluated:
    """Evaluate a model on the test samples.

    A head may know more classes than the samples are of; a prediction of any of those is wrong.

    Args:
        architecture: The model's. Heads that know fewer classes than the main one are not evaluated.
        state: The model.
        store: All samples.
        modality: The networks' input.
        rows: The test samples, int64 [samples].
        batch_size: Samples per forward pass.
        torch_device: Where to work.
        judge: What else is to be known.
        devices: Whose own mixes of classes count; see :meth:`Judge.judged`.
    """
    classes = architecture.class_counts[0]
    heads = [head for head, count in enumerate(architecture.class_counts) if count >= classes]
    samples = torch.zeros(classes, dtype=torch.int64, device=torch_device)
    correct = torch.zeros(len(heads), classes, dtype=torch.int64, device=torch_device)
    loss = torch.zeros((), dtype=torch.float64, device=torch_device)
    dtype = state[TRUNK].row.bank.dtype
    said: list[Tensor] = []
    with torch.inference_mode():
        for part in rows.to(torch_device).split(batch_size):
            labels = store.labels[part]
            samples += labels.bincount(minlength=classes)
            logits = architecture.predict(state, store.seen(modality, part, dtype)).logits
            loss += F.cross_entropy(logits[0], labels, reduction="sum")
            said += [logits[0]] if judge is not None else []
            for row, head in enumerate(heads):
                right = labels[logits[head].argmax(-1) == labels]
                correct[row] += right.bincount(minlength=classes)
    right_by_head = tuple(tuple(row) for row in correct.tolist())
    judged = judge.judged(said, store.labels[rows.to(torch_device)], devices) if judge is not None else ()
    return Evaluated(loss.item() / len(rows), right_by_head, tuple(samples.tolist()), tuple(judged))


def means(of: Sequence[Evaluated]) -> tuple[float, float]:
    """Return accuracy and loss of the main heads, means over several models."""
    accuracies = math.fsum(one.accuracy() for one in of)
    return accuracies / len(of), math.fsum(one.loss for one in of) / len(of)
