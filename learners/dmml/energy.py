"""Eq. (20) of DMML-KD: what a round costs, and how many iterations a battery allows."""

from __future__ import annotations

import math
from collections.abc import Mapping

from learners.costs import CostTable


def round_flops(
    costs: CostTable, iterations: Mapping[str, int], total: int, generator_iterations: int
) -> dict[str, float]:
    """FLOPs of a round by part: Σ_m N^m (O^m + Ô) + N^max O_F^G + N̂ O^G.

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


def most_iterations(limit: int, iteration_j: float, fixed_j: float, remaining_j: float) -> int:
    """N^max: the largest integer N ≤ ``limit`` with ``fixed_j`` + N · ``iteration_j`` < ``remaining_j``, or 0.

    Args:
        limit: N_k.
        iteration_j: Energy of one iteration of all the device's modalities [J].
        fixed_j: Energy of what the round costs besides: generator and communication [J].
        remaining_j: What the battery holds [J].
    """
    if math.isinf(remaining_j) or fixed_j + limit * iteration_j < remaining_j:
        return limit
    if iteration_j <= 0:
        return 0
    count = min(limit, max(0, math.ceil((remaining_j - fixed_j) / iteration_j)))
    while count > 0 and fixed_j + count * iteration_j >= remaining_j:
        count -= 1
    return count
