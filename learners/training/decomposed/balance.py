"""The balance metric γ (eq. 19) and Algorithm 2 of DMML-KD: which modality trains how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Iterations = dict[str, dict[int, int]]
"""N^m_k' by modality m and device k'."""


@dataclass(frozen=True)
class Balanced:
    """The result of Algorithm 2.

    Attributes:
        iterations: N^m_{k',t+1} by modality and owner.
        reference: m̂, the modality that the others are slowed down to (eq. 25); None if nothing trains.
        unreachable: Modalities whose devices are all at zero and that still exceed γ^m̂: what
            single-modality devices contribute cannot be cut.
    """

    iterations: Iterations
    reference: str | None
    unreachable: tuple[str, ...]


def influence(coefficients: Mapping[int, Mapping[int, float]], devices: Sequence[int]) -> dict[int, float]:
    """Compute S_k' = Σ_k ξ_{k,k'} / (φ_{k,k'} + ε) of one modality: how much an iteration of k' weighs in γ.

    Args:
        coefficients: ξ/(φ + ε) by reporting device k and sender k'.
        devices: The k' of interest, the modality's owners that will train.
    """
    return {
        other: sum(coefficients[k].get(other, 0.0) for k in sorted(coefficients)) for other in sorted(devices)
    }


def mean_variation(weights: Mapping[int, float]) -> float:
    """Compute the mean φ of one modality behind ``weights``, S by owner: harmonic, weighted by ξ, of all pairs.

    Where everybody is heard, Σ_k' S_k' is the sum of all ξ/(φ + ε), and the ξ sum to the number of owners.
    """
    return len(weights) / sum(weights.values())


def gamma(iterations: Mapping[int, int], weights: Mapping[int, float]) -> float:
    """Compute γ^m = Σ_k' N^m_k' S^m_k', eq. (19)."""
    return float(sum(iterations[k] * weights[k] for k in sorted(weights)))


def balance(
    limits: Mapping[int, int],
    modalities: Mapping[int, Sequence[str]],
    weights: Mapping[str, Mapping[int, float]],
    starts: Mapping[str, int],
) -> Balanced:
    """Algorithm 2: slow every modality but the slowest down until its γ no longer exceeds the slowest's.

    The paper's repeat-until cuts a modality once even if it is balanced, m̂ included; its text cuts only
    m ≠ m̂, so this is a while. Devices that have one modality are never cut, devices at zero are passed over.

    Args:
        limits: N^max_k by device.
        modalities: M_k by device.
        weights: S^m_k' by modality and owner, see :func:`influence`.
        starts: By modality, where the round robin over K^m begins (taken modulo its length).
    """
    iterations = {m: {k: limits[k] for k in sorted(weights[m])} for m in weights}
    full = {m: gamma(iterations[m], weights[m]) for m in weights}
    trained = {m: value for m, value in full.items() if value > 0}
    if not trained:
        return Balanced(iterations, None, ())
    reference = min(trained, key=lambda m: trained[m])
    unreachable = []
    for m in trained:
        if m == reference:
            continue
        cuttable = [k for k in iterations[m] if len(modalities[k]) > 1]
        turn = starts[m]
        while gamma(iterations[m], weights[m]) > trained[reference]:
            if not any(iterations[m][k] for k in cuttable):
                unreachable.append(m)
                break
            device = cuttable[turn % len(cuttable)]
            iterations[m][device] = max(0, iterations[m][device] - 1)
            turn += 1
    return Balanced(iterations, reference, tuple(unreachable))
