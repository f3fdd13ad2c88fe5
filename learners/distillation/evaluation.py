"""Judging devices' models on the test samples, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from learners.distillation.classifier import TRUNK, Classifier
from learners.training.randomness import drawing_from_its_seed
from learners.training.state import State
from learners.training.task import Store


@dataclass(frozen=True)
class Judgement:
    """How one model did.

    Attributes:
        loss: Mean cross-entropy of the main head.
        correct: Right predictions by head and class.
        samples: Test samples by class.
    """

    loss: float
    correct: tuple[tuple[int, ...], ...]
    samples: tuple[int, ...]

    def accuracy(self, head: int = 0) -> float:
        """Part of the test samples that ``head`` gets right."""
        return sum(self.correct[head]) / sum(self.samples)

    def weighted_accuracy(self, weights: Sequence[float], head: int = 0) -> float:
        """Accuracy where class c comes with probability ``weights[c]``; classes without a test sample do not count.

        With a device's own shares of the classes this is MHD's β_priv, with equal ones its β_sh.
        """
        there = [c for c, count in enumerate(self.samples) if count]
        total = sum(weights[c] for c in there)
        right = sum(weights[c] * self.correct[head][c] / self.samples[c] for c in there)
        return right / total if total else 0.0


@drawing_from_its_seed
def evaluate(
    models: Sequence[tuple[Classifier, State]],
    store: Store,
    modality: str,
    rows: Tensor,
    batch_size: int,
    torch_device: str,
) -> list[Judgement]:
    """Judge several models on the same test samples.

    A head may know more classes than the samples are of; a prediction of any of those is wrong.

    Args:
        models: Architectures and states. Heads that know fewer classes than there are labels are not judged.
        store: All samples.
        modality: The networks' input.
        rows: The test samples, int64 [samples].
        batch_size: Samples per forward pass.
        torch_device: Where to work.
    """
    if not models:
        return []
    classes = models[0][0].class_counts[0]
    judged = [
        [h for h, count in enumerate(architecture.class_counts) if count >= classes]
        for architecture, _ in models
    ]
    samples = torch.zeros(classes, dtype=torch.int64, device=torch_device)
    correct = [torch.zeros(len(heads), classes, dtype=torch.int64, device=torch_device) for heads in judged]
    loss = torch.zeros(len(models), dtype=torch.float64, device=torch_device)
    with torch.inference_mode():
        for part in rows.to(torch_device).split(batch_size):
            labels = store.labels[part]
            samples += labels.bincount(minlength=classes)
            seen: dict[torch.dtype, Tensor] = {}
            for place, (architecture, state) in enumerate(models):
                dtype = state[TRUNK].row.bank.dtype
                if dtype not in seen:
                    seen[dtype] = store.seen(modality, part, dtype)
                logits = architecture.predict(state, seen[dtype]).logits
                loss[place] += F.cross_entropy(logits[0], labels, reduction="sum")
                for row, head in enumerate(judged[place]):
                    right = labels[logits[head].argmax(-1) == labels]
                    correct[place][row] += right.bincount(minlength=classes)
    of_class = tuple(samples.tolist())
    return [
        Judgement(total / len(rows), tuple(tuple(row) for row in right.tolist()), of_class)
        for total, right in zip(loss.tolist(), correct, strict=True)
    ]
