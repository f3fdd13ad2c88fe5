"""Losses that learning minimises, for one device or for several at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, labels: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute the mean cross-entropy over a batch.

    Args:
        logits: Logits of one device [B, C], or of several [K, B, C].
        labels: Labels, int64 [B] or [K, B].
        real: The samples that count, bool [K, B]; None if all do. A device without any has loss 0.

    Returns:
        The loss [], or the losses [K].
    """
    if logits.dim() == 2:
        return F.cross_entropy(logits, labels)
    each = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    if real is None:
        return each.mean(1)
    return torch.where(real, each, 0.0).sum(1) / real.sum(1).clamp(min=1)
