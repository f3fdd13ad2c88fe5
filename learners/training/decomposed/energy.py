"""Eq. (20) of DMML-KD: what a round costs, and how many iterations a battery allows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from learners.training.costs import CostTable


def round_flops(
    costs: CostTable, iterations: Mapping[str, int], total: int, generator_iterations: int
) -> dict[str, float]:
    """Return the FLOPs of a round by part: Σ_m N^m (O^m + Ô) + N^max O_F^G + N̂ O^G.

    O^b, the bias, is taken as nothing, as in Table II. A round in which the generator is not asked (the
    first, by default) is charged for it all the same, as printed: 0.002 % of the round.

    Args:
        costs: The symbols O.
        iterations: N^m by modality.
        total: N^max.
        generator_iterations: N̂.

    Returns:
        By part: each modality, ``common``, and ``generator`` where there is one.
    """
    flops = {m: count * costs.flops[m] for m, count in iterations.items()}
    flops["common"] = sum(iterations.values()) * costs.common_flops
    if costs.generator_flops:
        flops["generator"] = (
            total * costs.generator_forward_flops + generator_iterations * costs.generator_flops
        )
    return flops


def most_iterations(limit: int, needed_j: Callable[[int], float], remaining_j: float) -> int:
    """Find N^max: the largest integer N ≤ ``limit`` with ``needed_j(N)`` < ``remaining_j``, or 0.

    Args:
        limit: N_k.
        needed_j: Energy of a round with so many iterations of all the device's modalities, generator and communication
            included [J]; it does not fall as they become more.
        remaining_j: What the battery holds [J].
    """
    return max(0, bisect_left(range(limit + 1), remaining_j, key=needed_j) - 1)
