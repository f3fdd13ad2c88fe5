"""Judging one device's model on test samples: the real work of an evaluation job."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from learners.models.choice import Architecture
from learners.state import State, put
from learners.task import Samples


def evaluate(
    architecture: Architecture, state: State, samples: Samples, batch_size: int, torch_device: str
) -> dict[str, float]:
    """Test loss and accuracies of a device that predicts with its own modalities (eq. 5).

    Returns:
        ``loss``: mean cross-entropy; ``accuracy``: of the fused prediction; ``accuracy/<modality>``: of each
        modality's own (eq. 27).
    """
    net = architecture.model(torch_device).net
    put(net.parts(), state)
    net.eval()
    loss = torch.zeros((), dtype=torch.float64, device=torch_device)
    correct = torch.zeros(1 + len(net.modalities), dtype=torch.int64, device=torch_device)
    with torch.inference_mode():
        for start in range(0, len(samples), batch_size):
            rows = slice(start, start + batch_size)
            labels = samples.labels[rows]
            outputs = net({m: samples.transforms[m].test(samples.inputs[m][rows]) for m in net.modalities})
            logits = torch.cat([outputs.logits[None], net.per_modality(outputs)])  # [1 + A, B, C]
            correct += (logits.argmax(-1) == labels).sum(1)
            loss += F.cross_entropy(outputs.logits, labels, reduction="sum")
    accuracies = (correct.double() / len(samples)).tolist()
    names = ["accuracy", *(f"accuracy/{m}" for m in net.modalities)]
    return {"loss": loss.item() / len(samples), **dict(zip(names, accuracies, strict=True))}
