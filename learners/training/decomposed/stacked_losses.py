"""The losses of :mod:`learners.training.decomposed.losses` of several devices, each with its own modalities.

A is the number of modalities in use, K the devices, B the batch, C the classes. Each function gives one loss per
device [K], that of the device alone with the modalities that are active there: the others have weight zero.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from learners.training.decomposed.bank import StackedOutputs
from learners.training.decomposed.losses import DISTANCE_EPSILON, unit_samples
from learners.training.decomposed.plan import LossWeights


def network_losses(
    outputs: StackedOutputs,
    labels: Tensor,
    generated_logits: Tensor | None,
    weights: LossWeights,
    active: Tensor,
) -> dict[str, tuple[Tensor, Tensor | None]]:
    """F^tot and its terms by name, as the local update of one device computes them.

    Args:
        outputs: Of the forward pass with the same ``active``.
        labels: int64 [K, B].
        generated_logits: ŵ h^G [K, C, B], where there is a generator to learn from.
        weights: Which losses there are, and how much they weigh.
        active: 1 where a device's modality takes part, else 0 [A, K].

    Returns:
        Of each term its values [K], and where it is defined, bool [K]; None for wherever anything is active.
    """
    count = active.sum(0)
    terms: dict[str, tuple[Tensor, Tensor | None]] = {}
    total = _cross_entropy(outputs.logits, labels)
    terms["loss_task"] = (total, None)
    if weights.similarity and len(outputs.common_logits) > 1:
        several = count > 1
        value = similarity_loss(outputs.common_logits, active)
        terms["loss_similarity"] = (value, several)
        total = total + weights.similarity * value
    if weights.auxiliary:
        each = _cross_entropy(outputs.common_logits, labels.expand(len(active), *labels.shape))
        terms["loss_auxiliary"] = (_mean_over_active(each, active), None)
        total = total + weights.auxiliary * terms["loss_auxiliary"][0]
    if weights.difference:
        value = difference_loss(outputs.common, outputs.specific, active, weights.difference_form)
        terms["loss_difference"] = (value, None)
        total = total + weights.difference * value
    if weights.distillation and generated_logits is not None:
        value = distillation_loss(outputs.common_logits, generated_logits, active, weights.distillation_form)
        terms["loss_distillation"] = (value, None)
        total = total + weights.distillation * value
    return {**terms, "loss_total": (total, None)}


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the batch of the cross-entropy of ``logits`` [..., C, B] with ``labels`` [..., B]."""
    each = F.cross_entropy(logits.flatten(0, -3), labels.flatten(0, -2), reduction="none")
    return each.view(labels.shape).mean(-1)


def _mean_over_active(values: Tensor, active: Tensor) -> Tensor:
    return (active * values).sum(0) / active.sum(0).clamp(min=1)


def similarity_loss(common_logits: Tensor, active: Tensor) -> Tensor:
    """F^sim, eq. (6), over ordered pairs of active modalities; 0 where there are fewer than two.

    Args:
        common_logits: [A, K, C, B].
        active: [A, K].
    """
    log_p = F.log_softmax(common_logits, dim=-2)
    part, count = active[:, :, None, None], active.sum(0)
    divergence = part * log_p.exp() * (count[None, :, None, None] * log_p - (part * log_p).sum(0))
    pairs = (count * (count - 1)).clamp(min=1)
    return divergence.sum((0, 2, 3)) / (pairs * common_logits.shape[3])


def difference_loss(common: Tensor, specific: Tensor, active: Tensor, form: str) -> Tensor:
    """F^dif, eq. (9), of features [A, K, B, L̂], summed over active modalities."""
    if form == "raw":
        return (active * (common @ specific.transpose(2, 3)).square().sum((2, 3))).sum(0)
    common, specific = (unit_samples(features) for features in (common, specific))
    products = (common @ common.transpose(2, 3)) * (specific @ specific.transpose(2, 3))
    return (active * products.sum((2, 3))).sum(0) / common.shape[-1] ** 2


def distillation_loss(
    common_logits: Tensor, generated_logits: Tensor, active: Tensor, direction: str
) -> Tensor:
    """F^kd, eq. (16), of logits [A, K, C, B] and [K, C, B], mean over active modalities and the batch."""
    local = F.log_softmax(common_logits, dim=-2)
    generated = F.log_softmax(generated_logits, dim=-2)
    if direction == "fedgen":
        generated = generated.detach()
        divergence = generated.exp() * (generated - local)
    else:
        divergence = local.exp() * (local - generated)
    return _mean_over_active(divergence.sum((2, 3)) / common_logits.shape[3], active)


def generator_loss(
    generated: Tensor, generated_logits: Tensor, labels: Tensor, class_means: Tensor, beta: float
) -> Tensor:
    """F^gen, eq. (14), of generated features [K, B, L̂], their logits [K, C, B] and the means aimed at [K, B, L̂]."""
    squares = (generated - class_means).square().sum(dim=2)
    distance = (squares + DISTANCE_EPSILON).sqrt().mean(1)
    return _cross_entropy(generated_logits, labels) + beta * distance


def weighted_total(total: Tensor, training: Tensor) -> Tensor:
    """What to differentiate: the sum of the losses of those devices that train."""
    return torch.where(training, total, torch.zeros_like(total)).sum()
