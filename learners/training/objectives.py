"""What learning minimises, of one device or of each of several."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, labels: Tensor, real: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over a batch.

    Args:
        logits: [B, C] of one device, or [K, B, C].
        labels: int64 [B] or [K, B].
        real: What counts, bool [K, B]; None for everything. A device with nothing that counts has 0.

    Returns:
        [] or [K].
    """
    if logits.dim() == 2:
        return F.cross_entropy(logits, labels)
    each = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    if real is None:
        return each.mean(1)
    return torch.where(real, each, 0.0).sum(1) / real.sum(1).clamp(min=1)
