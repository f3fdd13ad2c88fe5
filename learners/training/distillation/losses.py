"""Losses of distillation, functions of logits and probabilities: sums over classes, means over a batch.

Where nothing else is said, a batch may be one device's, [B, ...], or one of each of several, [K, B, ...]; a loss is one
number, [], or one of each, [K].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from learners.training.distillation.options import Disagreement


def towards(target: Tensor, logits: Tensor) -> Tensor:
    """Compute −Σ_c h_c log s(u)_c, the cross-entropy of ``logits`` to probabilities ``target``, both [..., B, C]."""
    return -(target * logits.log_softmax(-1)).sum(-1).mean(-1)


class Chosen(NamedTuple):
    """The candidate that each sample learns from.

    Attributes:
        target: Its probabilities [..., B, C]; nothing can be learnt through them.
        place: Its place among the candidates, int64 [..., B].
    """

    target: Tensor
    place: Tensor


def most_confident(candidates: Tensor) -> Chosen:
    """Choose of several predictions of each sample the one whose greatest probability is greatest (MHD, eq. 4).

    The paper prints the confidence Λ(h) as the arg max of h, which would be a number of a class; it is the maximum.
    Among equals the first wins, so the client's own prediction is to stand first.

    Args:
        candidates: Probabilities [candidates, ..., B, C].
    """
    return chosen(candidates, candidates.detach().amax(-1).argmax(0))


def chosen(candidates: Tensor, place: Tensor) -> Chosen:
    """Return the candidate at ``place`` [..., B] of each sample, cut off from the graph."""
    return Chosen(candidates.detach().take_along_dim(place[None, ..., None], 0)[0], place)


def embedding_distance(own: Tensor, other: Tensor) -> Tensor:
    """Compute the mean ρ(‖ψ_i − ψ_j‖) with ψ = ξ/‖ξ‖ and ρ(r) = r² (MHD, eqs. 1, 2): 2 − 2 cos, from 0 to 4.

    Args:
        own: ξ_i, [..., B, L].
        other: ξ_j, [..., B, L]; a target, nothing is learnt through it.
    """
    cosine = F.cosine_similarity(own, other.detach(), dim=-1)
    return (2 - 2 * cosine).mean(-1)


def disagreement(kind: Disagreement, student: Tensor, teachers: Tensor) -> Tensor:
    """Measure how far one student is from the mean of its teachers (FedZKT, eqs. 3 to 5).

    ``kl``: Σ F log(F/f_ens); ``sl``: ‖F − f_ens‖₁, both of softmax outputs and with f_ens the mean of the teachers'
    softmax outputs; ``l1``: ‖u − mean v_k‖₁ of logits.

    Args:
        kind: Which loss.
        student: Logits u [B, C].
        teachers: Logits v_k [K, B, C].
    """
    if kind == "l1":
        return (student - teachers.mean(0)).abs().sum(-1).mean()
    own, ensemble = student.softmax(-1), teachers.softmax(-1).mean(0)
    if kind == "sl":
        return (own - ensemble).abs().sum(-1).mean()
    # A mean of softmax outputs may round to zero; log F is exact, so only the ensemble's logarithm needs a floor.
    log_ensemble = ensemble.clamp_min(torch.finfo(ensemble.dtype).tiny).log()
    return (own * (student.log_softmax(-1) - log_ensemble)).sum(-1).mean()


def divergence(target: Tensor, logits: Tensor) -> Tensor:
    """Compute KL(F ‖ f_k) of a teacher's ``target`` logits and a student's ``logits`` [..., B, C] (FedZKT, eq. 8)."""
    fixed = target.detach()
    return (fixed.softmax(-1) * (fixed.log_softmax(-1) - logits.log_softmax(-1))).sum(-1).mean(-1)


def absolute_error(consensus: Tensor, logits: Tensor) -> Tensor:
    """Compute the mean absolute error of scores [..., B, C] to the ``consensus`` (FedMD's code)."""
    return (logits - consensus.detach()).abs().mean((-2, -1))
