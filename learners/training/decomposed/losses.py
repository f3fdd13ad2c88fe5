r"""The losses of DMML-KD (arXiv 2311.06500, Section II) as functions of logits and features.

A is the number of active modalities, B the batch, C the classes, L̂ the length of a modality-common
feature. The functions take what one device has, and return a number []; or what K devices have, with a first axis [K]
more, and return [K]. Where the paper is silent or prints something that cannot be meant, docs/learners/dmml_kd.md says
what was chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from learners.training.objectives import cross_entropy, log_softmax

if TYPE_CHECKING:
    from learners.networks.decomposed import Outputs
    from learners.training.decomposed.plan import LossWeights

SAMPLE_NORM_EPSILON = 1e-6
"""Added to a sample's norm in the difference loss: a sample equal to the batch's mean would give 0/0."""

DISTANCE_EPSILON = 1e-12
"""Added under the root in the generator's loss: the root's gradient is infinite at zero."""

EACH = (-3, -2, -1)
"""The axes of one device."""


def network_losses(outputs: Outputs, labels: Tensor, weights: LossWeights) -> dict[str, Tensor]:
    """Compute F^tot, eq. (12), and its terms by name, over the modalities that took part in ``outputs``."""
    terms = {"loss_task": task_loss(outputs.logits, labels)}
    total = terms["loss_task"]
    if weights.similarity and outputs.modality_logits.shape[-3] > 1:
        terms["loss_similarity"] = similarity_loss(outputs.common_logits)
        total = total + weights.similarity * terms["loss_similarity"]
    if weights.auxiliary:
        terms["loss_auxiliary"] = auxiliary_loss(outputs.common_logits, labels)
        total = total + weights.auxiliary * terms["loss_auxiliary"]
    if weights.difference:
        terms["loss_difference"] = difference_loss(outputs.common, outputs.specific, weights.difference_form)
        total = total + weights.difference * terms["loss_difference"]
    if weights.distillation and outputs.generated_logits is not None:
        terms["loss_distillation"] = distillation_loss(
            outputs.common_logits, outputs.generated_logits, weights.distillation_form
        )
        total = total + weights.distillation * terms["loss_distillation"]
    return {**terms, "loss_total": total}


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute F_k: cross-entropy of the fused ``logits`` [B, C] with ``labels`` [B], mean over the batch."""
    return cross_entropy(logits, labels)


def similarity_loss(common_logits: Tensor) -> Tensor:
    """Compute F^sim, eq. (6): KL between the modalities' common predictions, mean over ordered pairs and the batch.

    Args:
        common_logits: ŵ ĥ [A, B, C], A ≥ 2.
    """
    count, batch, _ = common_logits.shape[-3:]
    log_p = log_softmax(common_logits)
    # Σ_{m≠m'} KL(p_m ‖ p_m') = Σ_m p_m · (A log p_m − Σ_m' log p_m'); the pairs m = m' add zero.
    divergence = (log_p.exp() * (count * log_p - log_p.sum(-3, keepdim=True))).sum(EACH)
    return divergence / (count * (count - 1) * batch)


def auxiliary_loss(common_logits: Tensor, labels: Tensor) -> Tensor:
    """Compute F^cls, eq. (8): cross-entropy of all common predictions [A, B, C], mean over modalities and batch."""
    everyone = torch.cat([labels] * common_logits.shape[-3], dim=-1)
    return cross_entropy(common_logits.flatten(-3, -2), everyone)


def difference_loss(common: Tensor, specific: Tensor, form: str = "dsn") -> Tensor:
    r"""Compute F^dif, eq. (9): how far common and specific features are from orthogonal, summed over modalities.

    Args:
        common: ĥ [A, B, L̂].
        specific: ȟ [A, B, L̂].
        form: ``raw`` is the printed :math:`\|\hat H^T \check H\|_F^2`, whose columns are samples: of the order
            of a million with ReLU features. ``dsn`` is what the cited Domain Separation Networks compute:
            features centred over the batch, each sample scaled to norm one, then the mean square
            of the L̂ × L̂ matrix of feature products.
    """
    if form == "raw":
        return (common @ specific.transpose(-1, -2)).square().sum(EACH)
    common, specific = (unit_samples(features) for features in (common, specific))
    # ‖ĤᵀȞ‖_F² of the L̂ × L̂ product equals Σ (Ĥ Ĥᵀ) ∘ (Ȟ Ȟᵀ) of the B × B ones, which are smaller.
    products = (common @ common.transpose(-1, -2)) * (specific @ specific.transpose(-1, -2))
    return products.sum(EACH) / common.shape[-1] ** 2


def unit_samples(features: Tensor) -> Tensor:
    """Centre ``features`` [..., B, L̂] over the batch, and scale each sample to norm one."""
    centred = features - features.mean(dim=-2, keepdim=True)
    return centred / (torch.linalg.vector_norm(centred, dim=-1, keepdim=True) + SAMPLE_NORM_EPSILON)


def distillation_loss(common_logits: Tensor, generated_logits: Tensor, direction: str = "literal") -> Tensor:
    """Compute F^kd, eq. (16), of common predictions and those from generated features, mean over modalities, batch.

    Args:
        common_logits: ŵ ĥ [A, B, C].
        generated_logits: ŵ h^G [B, C] of generated features with the samples' labels.
        direction: ``literal`` is the printed KL(local ‖ generated), the classifier learning from both sides;
            ``fedgen`` is KL(generated ‖ local) with the generated side fixed, as in the cited FedGen.
    """
    local = log_softmax(common_logits)
    generated = log_softmax(generated_logits.unsqueeze(-3))
    if direction == "fedgen":
        generated = generated.detach()
        divergence = generated.exp() * (generated - local)
    else:
        divergence = local.exp() * (local - generated)
    return divergence.sum(EACH) / (common_logits.shape[-3] * common_logits.shape[-2])


def generator_loss(
    generated: Tensor, generated_logits: Tensor, labels: Tensor, class_means: Tensor, beta: float
) -> Tensor:
    """Compute F^gen, eq. (14): generated features must be classified as their label, near the mean of the real ones.

    Args:
        generated: h^G [B, L̂].
        generated_logits: ŵ h^G [B, C].
        labels: y [B].
        class_means: h̄^y of each sample's label [B, L̂].
        beta: Weight of the Euclidean distance (not squared, as printed).
    """
    squares = (generated - class_means).square().sum(dim=-1)
    return cross_entropy(generated_logits, labels) + beta * (squares + DISTANCE_EPSILON).sqrt().mean(-1)
