"""Judging a device's model on the test samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from learners.dmml.bank import forward, per_modality
from learners.networks.architecture import Architecture
from learners.training.randomness import drawing_from_its_seed
from learners.training.stack import Bank
from learners.training.state import State, lend
from learners.training.task import Store


@drawing_from_its_seed
def evaluate(
    architecture: Architecture,
    state: State,
    store: Store,
    rows: Tensor,
    batch_size: int,
    torch_device: str,
) -> dict[str, float]:
    """Test loss and accuracies of a device that predicts with its own modalities (eq. 5).

    Args:
        architecture: Of the device's own modalities.
        state: Its model.
        store: All samples.
        rows: The test samples, int64 [samples].
        batch_size: Samples per forward pass.
        torch_device: Where to work.

    Returns:
        ``loss``: mean cross-entropy; ``accuracy``: of the fused prediction; ``accuracy/<modality>``: of each
        modality's own (eq. 27).
    """
    net = architecture.model(torch_device).net
    own = net.modalities if len(net.modalities) > 1 else ()  # a single one's logits are the fused ones
    lend(net.parts(), state)
    net.eval()
    loss = torch.zeros((), dtype=torch.float64, device=torch_device)
    correct = torch.zeros(1 + len(own), dtype=torch.int64, device=torch_device)
    with torch.inference_mode():
        for part in rows.to(torch_device).split(batch_size):
            labels = store.labels[part]
            outputs = net({m: store.seen(m, part, net.head.bias.dtype) for m in net.modalities})
            logits = outputs.logits[None]
            if own:
                logits = torch.cat([logits, net.per_modality(outputs)])  # [1 + A, B, C]
            correct += (logits.argmax(-1) == labels).sum(1)
            loss += F.cross_entropy(outputs.logits, labels, reduction="sum")
    return _result(loss.item(), correct.tolist(), net.modalities, len(rows))


def evaluate_stacked(jobs: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """:func:`evaluate` for several devices of one architecture, on the same test samples."""
    first = jobs[0]
    net = first["architecture"].model(first["torch_device"]).net
    net.eval()
    bank = Bank.of(net.parts(), [job["state"] for job in jobs], trains=False)
    store: Store = first["store"]
    devices, at = len(jobs), first["torch_device"]
    own = net.modalities if len(net.modalities) > 1 else ()
    loss = torch.zeros(devices, dtype=torch.float64, device=at)
    correct = torch.zeros(1 + len(own), devices, dtype=torch.int64, device=at)
    with torch.no_grad():  # in inference mode PyTorch vectorises no recurrent layer
        for part in first["rows"].to(at).split(first["batch_size"]):
            labels = store.labels[part].expand(devices, -1)
            inputs = {}
            for m in net.modalities:
                seen = store.seen(m, part, bank.dtype)
                inputs[m] = seen.expand(devices, *seen.shape)
            outputs = forward(net, bank, inputs, None)
            logits = outputs.logits[None]
            if own:
                logits = torch.cat([logits, per_modality(bank, outputs)])  # [1 + A, devices, C, B]
            # Ten times faster over classes that lie side by side.
            best = logits.transpose(-1, -2).contiguous().argmax(-1)
            correct += (best == labels).sum(2)
            loss += F.cross_entropy(outputs.logits, labels, reduction="none").sum(1)
    rows = zip(loss.tolist(), correct.T.tolist(), strict=True)
    return [_result(total, right, net.modalities, len(first["rows"])) for total, right in rows]


def shortened(inputs: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Inputs of an evaluation like this one on about ``steps`` batches, to measure with."""
    return {**inputs, "rows": inputs["rows"][: steps * inputs["batch_size"]]}


def _result(loss: float, correct: Sequence[int], modalities: Sequence[str], samples: int) -> dict[str, float]:
    """``correct`` counts right fused predictions and each modality's; of one modality they are the same."""
    counts = correct if len(modalities) > 1 else [correct[0]] * 2
    names = ["accuracy", *(f"accuracy/{m}" for m in modalities)]
    right = {name: count / samples for name, count in zip(names, counts, strict=True)}
    return {"loss": loss / samples, **right}
