"""Mini-batches of private samples of one device, or of several devices at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from learners.training.batched import Way, steps_together
from learners.training.batches import batch_sizes_of_all, drawn_by_all, random_numbers
from learners.training.distillation.classifier import TRUNK, ClassifierNet
from learners.training.stackable import mixes_samples
from netsim.core.streams import derive_seed

if TYPE_CHECKING:
    from learners.networks.state import State
    from learners.training.options import LastBatch
    from learners.training.stack import Devices
    from learners.training.task import Store

MIXED_SAMPLES = 8
"""Samples with which it is found out whether those of a batch meet in a network."""


@dataclass(frozen=True)
class Batch:
    """A mini-batch of one device, or one of each of K devices.

    Attributes:
        inputs: [B, ...] or [K, B, ...].
        labels: int64 [B] or [K, B].
        devices: Places of the devices among those that train together.
        number: Which mini-batch of each device it is, counted from 0.
        real: What is no padding, bool [K, B]; None if nothing is.
    """

    inputs: Tensor
    labels: Tensor
    devices: Devices
    number: int
    real: Tensor | None


@dataclass(frozen=True)
class Private:
    """Own samples of the devices that train together, and how they are drawn.

    Attributes:
        store: All private samples, and which of them are whose.
        modality: The networks' input.
        devices: Whose samples.
        seeds: Of each device, this round's.
        batch_size: Samples of a full mini-batch.
        last_batch: What becomes of the samples that an epoch's full mini-batches leave over.
    """

    store: Store
    modality: str
    devices: Sequence[int]
    seeds: Sequence[int]
    batch_size: int
    last_batch: LastBatch

    @classmethod
    def of(cls, jobs: Sequence[Mapping[str, Any]]) -> Private:
        """Return those of some local updates, from the inputs of each."""
        plan = jobs[0]["plan"]
        return cls(
            jobs[0]["store"],
            jobs[0]["modality"],
            [job["device"] for job in jobs],
            [job["seed"] for job in jobs],
            plan.batch_size,
            plan.last_batch,
        )

    def sizes(self, steps: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """Return the number of samples of each mini-batch, of each device."""
        samples = tuple(len(self.store.shares[device]) for device in self.devices)
        return batch_sizes_of_all(samples, self.batch_size, tuple(steps), self.last_batch)

    def batches(
        self, way: Way, steps: Sequence[int], stream: str, kinds: Sequence[Sequence[Hashable]]
    ) -> Iterator[Batch]:
        """Yield ``steps`` mini-batches of each device, the n-th of each with the n-th of the others.

        Args:
            way: Of these devices.
            steps: Of each of them.
            stream: Name of the random numbers that samples are drawn with.
            kinds: Of each mini-batch what it must have in common with those that it is taken with.
        """
        store, modality = self.store, self.modality
        seen = drawn_by_all(
            [store.shares[device] for device in self.devices],
            self.batch_size,
            steps,
            [derive_seed(seed, stream) for seed in self.seeds],
            self.last_batch,
        )
        generators = [random_numbers(derive_seed(seed, "augmentation")) for seed in self.seeds]
        for step in steps_together(self.sizes(steps), kinds):
            rows = way.own(step.cut(seen))
            at = store.labels.device
            draws = store.drawn(modality, step.counts, [generators[k] for k in which(way, step.devices)])
            x = store.trained_on(modality, rows.flatten().to(at), draws, way.dtype)
            real = None if step.real is None else step.real.to(at)
            labels = store.labels[rows.to(at)]
            yield Batch(x.unflatten(0, rows.shape), labels, step.devices, step.number, real)

    def kinds(
        self, net: ClassifierNet, state: State, steps: Sequence[int], others: Sequence[Sequence[Hashable]]
    ) -> list[list[Hashable]]:
        """Return ``others``, and where samples of a batch meet in ``net``, as it is now, the mini-batches' sizes.

        Nothing is padded then.
        """
        sizes = self.sizes(steps)
        if len({tuple(own) for own in sizes}) == 1 or not self._mixes(net, state):
            return [list(own) for own in others]
        return [list(zip(*both, strict=True)) for both in zip(sizes, others, strict=True)]

    def _mixes(self, net: ClassifierNet, state: State) -> bool:
        store = self.store
        some = torch.linspace(0, len(store.labels) - 1, MIXED_SAMPLES).long().to(store.labels.device)
        x = store.seen(self.modality, some, state[TRUNK].row.bank.dtype)
        return mixes_samples(net.trunk, state[TRUNK], x)


def which(way: Way, devices: Devices) -> list[int]:
    """Return the places that ``devices`` are, among those of ``way``."""
    found: list[int] = torch.arange(way.count)[devices].tolist()
    return found
