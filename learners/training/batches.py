"""Samples and modalities of each iteration of a local update, drawn from seeds alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from learners.training.options import LastBatch
from netsim.core.streams import derive_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray


def active_modalities(iterations: Mapping[str, int], total: int, seed: int) -> list[tuple[str, ...]]:
    """Draw P^{n,m}: which modalities take part in each of ``total`` iterations.

    Each modality's N^m iterations are drawn without replacement, independently of the other modalities; one
    that takes part in all of them draws nothing, so a run whose N^m are never cut is the same run.
    """
    if all(count >= total for count in iterations.values()):
        return [tuple(iterations)] * total
    takes_part = {}
    for modality, count in iterations.items():
        places = torch.randperm(total, generator=random_numbers(derive_seed(seed, modality)))[:count]
        takes_part[modality] = set(places.tolist())
    return [tuple(m for m in iterations if n in takes_part[m]) for n in range(total)]


@lru_cache(maxsize=1024)
def batch_sizes(samples: int, batch_size: int, iterations: int, last_batch: LastBatch) -> tuple[int, ...]:
    """Return the number of samples of each iteration's mini-batch.

    An epoch is full mini-batches, and one with what is left over unless that is dropped. A device with fewer samples
    than a mini-batch has one smaller batch per epoch either way; one without samples has none.
    """
    epoch = _epoch(samples, batch_size, last_batch)
    return tuple((epoch * -(-iterations // len(epoch)))[:iterations]) if epoch else ()


@lru_cache(maxsize=64)
def batch_sizes_of_all(
    samples: tuple[int, ...], batch_size: int, iterations: tuple[int, ...], last_batch: LastBatch
) -> tuple[tuple[int, ...], ...]:
    """Return :func:`batch_sizes` of several devices, of which each has its ``samples`` and ``iterations``."""
    return tuple(
        batch_sizes(own, batch_size, count, last_batch)
        for own, count in zip(samples, iterations, strict=True)
    )


@lru_cache(maxsize=1024)
def iterations_per_epoch(samples: int, batch_size: int, last_batch: LastBatch) -> int:
    """Count the mini-batches of an epoch; one where there is nothing to make them of."""
    return max(1, len(_epoch(samples, batch_size, last_batch)))


def _epoch(samples: int, batch_size: int, last_batch: LastBatch) -> list[int]:
    size = min(batch_size, samples)
    full, rest = divmod(samples, size) if size else (0, 0)
    return [size] * full + ([rest] if rest and last_batch == "keep" else [])


def drawn(samples: int, batch_size: int, iterations: int, seed: int, last_batch: LastBatch) -> Tensor:
    """Places among a device's samples of its mini-batches, one after the other, int64 [Σ batch_sizes].

    Each epoch is a new order of the samples.
    """
    sizes = batch_sizes(samples, batch_size, iterations, last_batch)
    epoch = _epoch(samples, batch_size, last_batch)
    if not sizes:
        return torch.empty(0, dtype=torch.int64)
    generator = random_numbers(seed)
    orders = [
        torch.randperm(samples, generator=generator)[: sum(epoch)]
        for _ in range(-(-iterations // len(epoch)))
    ]
    return torch.cat(orders)[: sum(sizes)]


def mini_batches(
    samples: int, batch_size: int, iterations: int, seed: int, last_batch: LastBatch
) -> tuple[Tensor, ...]:
    """Draw mini-batches, as :func:`drawn` does: places of each, int64 [its size]."""
    places = drawn(samples, batch_size, iterations, seed, last_batch)
    return places.split(batch_sizes(samples, batch_size, iterations, last_batch)) if len(places) else ()


def drawn_by_all(
    rows: Sequence[NDArray[np.int64]],
    batch_size: int,
    iterations: Sequence[int],
    seeds: Sequence[int],
    last_batch: LastBatch,
) -> Tensor:
    """Draw the samples of the mini-batches of several devices, one after the other, int64 [devices, most].

    Any of its samples stand where a device has no more.

    Args:
        rows: Of each device, its samples.
        batch_size: Samples of a full mini-batch.
        iterations: How many each device has.
        seeds: One for each device, as for :func:`drawn`.
        last_batch: What becomes of the samples that an epoch's full mini-batches leave over.
    """
    counts, totals = {len(own) for own in rows}, set(iterations)
    if len(counts) == len(totals) == 1 and min(counts) and min(totals):
        return _drawn_by_equals(rows, batch_size, totals.pop(), seeds, last_batch)
    found = [
        torch.from_numpy(own)[drawn(len(own), batch_size, total, seed, last_batch)]
        for own, total, seed in zip(rows, iterations, seeds, strict=True)
    ]
    most = max(len(own) for own in found)
    return torch.stack(
        [
            torch.cat([seen, seen.new_tensor(own[:1]).expand(most - len(seen))])
            for seen, own in zip(found, rows, strict=True)
        ]
    )


def _drawn_by_equals(
    rows: Sequence[NDArray[np.int64]],
    batch_size: int,
    iterations: int,
    seeds: Sequence[int],
    last_batch: LastBatch,
) -> Tensor:
    """Draw as :func:`drawn_by_all` does, for devices with equally many samples and iterations, four times as fast."""
    count, generator = len(rows[0]), torch.Generator()
    epoch = _epoch(count, batch_size, last_batch)
    epochs, orders = -(-iterations // len(epoch)), []
    for seed in seeds:
        generator.manual_seed(seed)
        orders += [torch.randperm(count, generator=generator) for _ in range(epochs)]
    order = torch.stack(orders).view(len(rows), epochs, count)[:, :, : sum(epoch)].flatten(1)
    seen = sum(batch_sizes(count, batch_size, iterations, last_batch))
    return torch.from_numpy(np.array(rows)).gather(1, order[:, :seen])


def random_numbers(seed: int) -> torch.Generator:
    """Return a stream of random numbers, drawn on the CPU, so that they are the same wherever the work is done."""
    return torch.Generator().manual_seed(seed)
