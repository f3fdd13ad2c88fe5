"""One forward pass of :class:`DecomposedNet` for several devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from learners.networks.decomposed import DecomposedNet
from learners.training.stack import Bank


class StackedOutputs(NamedTuple):
    """As :class:`learners.networks.decomposed.Outputs`, for K devices.

    Logits have their classes before the batch: [A, K, C, B] and [K, C, B]. A softmax over a few classes is three times
    faster when the batch is what lies side by side.

    Attributes:
        common: [A, K, B, L̂].
        specific: [A, K, B, L̂].
        common_logits: [A, K, C, B].
        modality_logits: [A, K, C, B].
        logits: [K, C, B].
    """

    common: Tensor
    specific: Tensor
    common_logits: Tensor
    modality_logits: Tensor
    logits: Tensor


def forward(
    net: DecomposedNet, bank: Bank, inputs: Mapping[str, Tensor], active: Tensor | None
) -> StackedOutputs:
    """The forward pass of :class:`DecomposedNet` for all devices of ``bank``.

    Args:
        net: Lends its structure, and says whether it is in training mode.
        bank: The networks.
        inputs: By modality in use, [K, B, ...].
        active: 1 where a device's modality takes part, else 0 [A, K]; None if all do.
    """
    names = [m for m in net.modalities if m in inputs]
    features = _stack(
        [net.trunks[m].stacked(bank.parts[f"trunk/{m}"].tensors, inputs[m]) for m in names]  # type: ignore[operator]
    )  # [A, K, B, L]
    common, specific = features[..., : net.common_count], features[..., net.common_count :]
    classifiers = _stack([bank.parts[f"specific/{m}"].tensors["weight"] for m in names])  # [A, K, C, L̂]
    modality_logits = classifiers @ specific.transpose(2, 3)
    head = bank.parts["common"].tensors
    common_logits = modality_logits.new_empty(0)
    if net.head.classifier is not None:
        common_logits = head["classifier.weight"] @ common.transpose(2, 3)
        modality_logits = modality_logits + common_logits
    bias = head["bias"][:, :, None]  # [K, C, 1]
    counted = modality_logits if active is None else active[:, :, None, None] * modality_logits
    fused = counted.sum(0) if len(names) > 1 else counted[0]
    return StackedOutputs(common, specific, common_logits, modality_logits, fused + bias)


def per_modality(bank: Bank, outputs: StackedOutputs) -> Tensor:
    """Each modality's own prediction (eq. 27) [A, K, C, B]."""
    bias = bank.parts["common"].tensors["bias"][:, :, None]
    return outputs.modality_logits + bias / len(outputs.modality_logits)


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """As ``torch.stack``, which copies even a single one."""
    return torch.stack(list(tensors)) if len(tensors) > 1 else tensors[0][None]
