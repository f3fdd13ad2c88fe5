"""Losses of one device or of each of several.

A softmax over few classes is three times faster where the batch lies side by side in memory. That is so for many
devices' logits here; those of one device stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, labels: Tensor, real: Tensor | None = None, summed: bool = False) -> Tensor:
    """Compute the mean cross-entropy over a batch.

    Args:
        logits: [B, C] of one device, or [K, B, C].
        labels: int64 [B] or [K, B].
        real: What counts, bool [K, B]; None for everything. A device with nothing that counts has 0.
        summed: Whether the sum over the batch is wanted in place of the mean.

    Returns:
        The loss [], or the losses [K].
    """
    if logits.dim() == 2:
        return F.cross_entropy(logits, labels, reduction="sum" if summed else "mean")
    each = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    if real is not None:
        each = torch.where(real, each, 0.0)
    if summed:
        return each.sum(1)
    return each.mean(1) if real is None else each.sum(1) / real.sum(1).clamp(min=1)


def log_softmax(logits: Tensor) -> Tensor:
    """Logarithms of the probabilities of several predictions for each sample.

    Args:
        logits: [A, B, C] of one device, or [K, A, B, C].
    """
    if logits.dim() == 3:
        return F.log_softmax(logits, dim=-1)
    return F.log_softmax(logits.transpose(-1, -2), dim=-2).transpose(-1, -2)
