"""Weighted sums of model parts (DMML-KD, eqs. 13 and 15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

Key = TypeVar("Key")


def surviving_weights(
    row: Mapping[int, float],
    device: int,
    arrived: Mapping[int, object],
    factors: Mapping[int, float] | None = None,
) -> dict[int, float]:
    """Compute a device's aggregation weights when only some neighbours' parts have arrived, or some count for less.

    The weight of a missing neighbour is added to the device's own weight, so rows still sum to one. If two devices
    miss each other, as when one has died, the matrix of the others stays doubly stochastic.

    Args:
        row: ξ_{k,k'} by device k', the device itself included.
        device: The device k.
        arrived: Parts that have arrived, by device.
        factors: By device, the part of its weight that is left; 1 for those that are not in it.

    Returns:
        The weights by device, in the order of device numbers.
    """
    weights = {other: weight for other, weight in row.items() if other in arrived and other != device}
    weights |= {
        other: weights[other] * factor for other, factor in (factors or {}).items() if other in weights
    }
    weights[device] = 1.0 - sum(weights[other] for other in sorted(weights))
    return {other: weights[other] for other in sorted(weights)}


class Mixing:
    """A sparse matrix of aggregation weights: one row per receiver, its senders in the order of their numbers."""

    def __init__(self, rows: Sequence[Mapping[Key, float]], columns: Mapping[Key, int]) -> None:
        """Make the matrix of ``rows``.

        Args:
            rows: For each receiver, ξ by sender, in the order of device numbers.
            columns: For each sender, its row in the banks that are mixed.
        """
        self.columns = [[columns[sender] for sender in row] for row in rows]
        starts = [0]
        for row in self.columns:
            starts.append(starts[-1] + len(row))
        self._starts = torch.tensor(starts[:-1])
        self._columns = torch.tensor([column for row in self.columns for column in row])
        self._weights = torch.tensor([weight for row in rows for weight in row.values()], dtype=torch.float64)

    def __call__(self, bank: Tensor) -> Tensor:
        """Compute Σ_k' ξ_{k,k'} w_k' of every receiver k, [receivers, size], from ``bank`` [senders, size].

        Each sum runs over senders in the order of device numbers. So its rounding does not depend on the other
        receivers. BatchNorm's running means and variances are mixed like weights, because averaged weights need
        statistics that fit them.
        """
        if bank.shape[1] == 0:
            return bank.new_empty(len(self._starts), 0)
        return F.embedding_bag(
            self._columns.to(bank.device),
            bank,
            self._starts.to(bank.device),
            mode="sum",
            per_sample_weights=self._weights.to(bank.device, bank.dtype),
        )
