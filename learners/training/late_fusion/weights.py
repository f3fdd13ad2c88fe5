"""Weights and steps of aggregation through a server, as functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from learners.training.late_fusion.options import Sign

Key = TypeVar("Key")


def shares(amounts: Mapping[Key, float]) -> dict[Key, float]:
    """Divide ``amounts`` by their sum: FedAvg's p_i = n_i/Σn (McMahan et al. 2017, Algorithm 1).

    Args:
        amounts: Non-negative, at least one of them positive.
    """
    total = math.fsum(amounts.values())
    return {key: amount / total for key, amount in amounts.items()}


@lru_cache(maxsize=1024)
def normaliser(steps: int, momentum: float = 0.0, proximal: float = 0.0) -> float:
    """Compute FedNova's ‖a_i‖₁ (Wang et al. 2020, Section 4) step by step, also with momentum and a proximal term.

    A local step is v ← ρ v + g + μ (w − w⁰), w ← w − η v, so w⁰ − w after τ steps is η times a sum of the gradients
    with coefficients a. They are the response to one gradient: with α = η μ, v₁ = 1, D₁ = 1 and then v ← ρ v − α D,
    D ← D + v, the gradient that is followed by s − 1 more steps has coefficient D_s.

    The authors' code adds both recursions up where both terms are there, which counts each step twice.

    Args:
        steps: τ_i.
        momentum: ρ.
        proximal: α = η μ.
    """
    velocity, response, total = 1.0, 1.0, 0.0
    for _ in range(steps):
        total += abs(response)
        velocity = momentum * velocity - proximal * response
        response += velocity
    return total


def momentum_normaliser(steps: int, momentum: float) -> float:
    """Compute ‖a‖₁ of SGD with momentum ρ: [τ − ρ (1 − ρ^τ)/(1 − ρ)]/(1 − ρ)."""
    return (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)


def proximal_normaliser(steps: int, proximal: float) -> float:
    """Compute ‖a‖₁ of SGD with a proximal term, α = η μ: [1 − (1 − α)^τ]/α; τ for α = 0."""
    return (1 - (1 - proximal) ** steps) / proximal if proximal else float(steps)


def effective_steps(weights: Mapping[Key, float], amounts: Mapping[Key, float]) -> float:
    """Compute FedNova's τ_eff = Σ p_i x_i; x_i is ‖a_i‖₁, or τ_i with a proximal term (authors' code)."""
    return math.fsum(weights[key] * amounts[key] for key in weights)


def attention_step(
    server: Tensor, clients: Sequence[Tensor], step: float
) -> tuple[Tensor, tuple[float, ...]]:
    """FedAtt on one layer (Ji et al. 2019): w ← w − ε Σ α_k (w − w_k), with α the softmax over k of ‖w − w_k‖₂.

    The farther a client has gone, the more it counts: that is how it is published. The norm is that of all numbers of
    the layer (Frobenius); the authors' code takes the spectral norm of matrices and cannot take convolutions.

    Args:
        server: w, [...].
        clients: w_k, each [...].
        step: ε.

    Returns:
        The new w, and α_k.
    """
    moved = [server - client for client in clients]
    distances = torch.stack([torch.linalg.vector_norm(step_k, dtype=torch.float64) for step_k in moved])
    attention = tuple(distances.softmax(0).tolist())
    new = server.clone()
    for weight, moved_k in zip(attention, moved, strict=True):
        new.add_(moved_k, alpha=-step * weight)
    return new, attention


class Behaviour(NamedTuple):
    """The change of a loss over a round (FedHGB, eq. 4 and Algorithm 1).

    Attributes:
        generalisation: ΔG = l^V(0) − l^V(E); positive where the validation loss has fallen.
        overfitting: ΔO = [l^V(E) − l^T(E)] − [l^V(0) − l^T(0)]; positive where the gap has widened.
    """

    generalisation: float
    overfitting: float


class Losses(NamedTuple):
    """A head's mean loss on training and on validation samples, before or after local training."""

    train: float
    validation: float


def behaviour(before: Losses, after: Losses) -> Behaviour:
    """ΔG and ΔO of one head over a round."""
    gap_before = before.validation - before.train
    return Behaviour(before.validation - after.validation, after.validation - after.train - gap_before)


def blended(weights: Mapping[Key, float], behaviours: Mapping[Key, Behaviour]) -> Behaviour:
    """Return ΔG^k and ΔO^k of the blended loss Σ z_m l_m (Algorithm 1, line 22), with the same z at both ends."""
    return Behaviour(
        math.fsum(weights[key] * behaviours[key].generalisation for key in weights),
        math.fsum(weights[key] * behaviours[key].overfitting for key in weights),
    )


def expected(observed: Mapping[Key, Sequence[Behaviour]], prior: float) -> dict[Key, Behaviour]:
    """Estimate E[ΔG] and E[ΔO²] of each from its observations: Theorem 1 has expectations, Algorithm 1 one draw each.

    Both are means over the observations and ``prior`` more, each worth the mean over everybody's. So who was seen
    seldom counts as the population does (empirical Bayes with a known weight).

    Args:
        observed: ΔG and ΔO of each, from its rounds, at least one.
        prior: Pseudo-observations; 0 for none.

    Returns:
        E[ΔG], and √E[ΔO²] in the place of ΔO. Of one observation and no prior that is ΔG and |ΔO|.
    """
    pooled = [one for own in observed.values() for one in own]
    gain = math.fsum(one.generalisation for one in pooled) / len(pooled)
    square = math.fsum(one.overfitting**2 for one in pooled) / len(pooled)
    found = {}
    for key, own in observed.items():
        count = len(own) + prior
        found[key] = Behaviour(
            math.fsum([*(one.generalisation for one in own), prior * gain]) / count,
            math.sqrt(math.fsum([*(one.overfitting**2 for one in own), prior * square]) / count),
        )
    return found


def effective_number(weights: Iterable[float]) -> float:
    """Compute 1/Σp² of weights that sum to 1: how many equal ones would average out as much noise (Kish 1965)."""
    return 1 / math.fsum(weight**2 for weight in weights)


class Blend(NamedTuple, Generic[Key]):
    """Weights from behaviours.

    Attributes:
        weights: They sum to 1.
        floored: How many ΔO were smaller than the floor.
        uniform: Whether nothing could be told apart, so that all weights are the same.
    """

    weights: Mapping[Key, float]
    floored: int
    uniform: bool


def blend(
    behaviours: Mapping[Key, Behaviour], sign: Sign = "clip", floor: float = 1e-2, lift: float = 0.0
) -> Blend[Key]:
    """Eqs. (13) and (14): weights in proportion to ΔG/ΔO², over modalities or over clients.

    Eq. (13) has a factor of 2 that makes the weights sum to 2, against the proof's own constraint; here they sum to 1.

    Args:
        behaviours: ΔG and ΔO of each, at least one.
        sign: What a negative ΔG counts for: nothing (``clip``), as much as a positive one (``abs``, as eq. 4
            is printed), or against (``signed``, as eqs. 13 and 14 are printed; weights may be negative).
        floor: δ; ΔO² is taken as δ² where it is smaller [loss units].
        lift: Added to every ΔG first [loss units]; not in the paper.
    """
    ratios = {key: _ratio(one, sign, floor, lift) for key, one in behaviours.items()}
    total = math.fsum(ratios.values())
    floored = sum(abs(one.overfitting) < floor for one in behaviours.values())
    # With signs a sum may vanish though its terms do not; dividing by it would tell nothing either.
    if abs(total) <= 1e-12 * math.fsum(map(abs, ratios.values())):
        return Blend(dict.fromkeys(ratios, 1 / len(ratios)), floored, True)
    return Blend({key: ratio / total for key, ratio in ratios.items()}, floored, False)


def _ratio(one: Behaviour, sign: Sign, floor: float, lift: float) -> float:
    lifted = one.generalisation + lift
    gain = {"clip": max(lifted, 0.0), "abs": abs(lifted), "signed": lifted}
    return gain[sign] / max(one.overfitting**2, floor**2)


def votes(clients: Sequence[Mapping[Key, float]], keys: Sequence[Key]) -> dict[Key, float] | None:
    """Eq. (15): z_m = Σ_k z_m^k / Σ_m Σ_k z_m^k; a client says nothing about a modality that it does not have.

    Returns:
        The weights, or None where nobody voted for anything.
    """
    sums = {key: math.fsum(client.get(key, 0.0) for client in clients) for key in keys}
    total = math.fsum(sums.values())
    return {key: value / total for key, value in sums.items()} if total else None
