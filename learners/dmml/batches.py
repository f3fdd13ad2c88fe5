"""Which samples a local update sees in which iteration, and which modalities take part: from seeds alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from netsim.streams import derive_seed


def active_modalities(iterations: Mapping[str, int], total: int, seed: int) -> list[tuple[str, ...]]:
    """P^{n,m}: which modalities take part in each of ``total`` iterations.

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


def mini_batches(samples: int, batch_size: int, iterations: int, seed: int) -> Tensor:
    """Places of each iteration's mini-batch among a device's samples, [iterations, min(batch_size, samples)].

    Each epoch is a new order of the samples, cut into full batches; what is left over at its end is dropped.
    """
    size = min(batch_size, samples)
    per_epoch = samples // size if size else 0
    if not iterations or not per_epoch:
        return torch.empty(0, size, dtype=torch.int64)
    generator = random_numbers(seed)
    epochs = [
        torch.randperm(samples, generator=generator)[: per_epoch * size]
        for _ in range(-(-iterations // per_epoch))
    ]
    order = epochs[0] if len(epochs) == 1 else torch.cat(epochs)
    return order[: iterations * size].view(iterations, size)


def mini_batches_of_all(
    rows: Sequence[Tensor], batch_size: int, iterations: Sequence[int], seeds: Sequence[int]
) -> Tensor:
    """Samples of each mini-batch of several devices, [most iterations, devices, batch].

    Devices have different numbers of samples and iterations; where one has no iteration left, any of its samples stand.

    Args:
        rows: Of each device, its samples.
        batch_size: Samples per iteration; each device has as many, or all have the same smaller number.
        iterations: How many each device has.
        seeds: One for each device, as for :func:`mini_batches`.
    """
    count, most = rows[0].shape[0], max(iterations)
    size = min(batch_size, count)
    if most and min(iterations) == most and all(own.shape[0] == count for own in rows):
        per_epoch = count // size
        epochs = -(-most // per_epoch)
        generator = torch.Generator()
        orders = []
        for seed in seeds:
            generator.manual_seed(seed)
            orders += [torch.randperm(count, generator=generator) for _ in range(epochs)]
        order = torch.stack(orders).view(len(rows), epochs, count)[:, :, : per_epoch * size].flatten(1)
        seen = torch.stack(list(rows)).gather(1, order[:, : most * size])
        return seen.view(len(rows), most, size).transpose(0, 1)
    found = []
    for own, total, seed in zip(rows, iterations, seeds, strict=True):
        seen = own[mini_batches(own.shape[0], batch_size, total, seed)]
        rest = own[: seen.shape[1]].expand(most - total, -1)
        found.append(torch.cat([seen, rest]))
    return torch.stack(found, dim=1)


def iterations_per_epoch(samples: int, batch_size: int) -> int:
    """Full mini-batches in one epoch; a device with fewer samples than that has one smaller batch."""
    return max(1, samples // batch_size)


def random_numbers(seed: int) -> torch.Generator:
    """A stream of random numbers, drawn on the CPU, so that they are the same wherever the work is done."""
    return torch.Generator().manual_seed(seed)
