"""The learning task: the data set, divided among the devices, as tensors that jobs share."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.data.dataset import MultimodalDataset, Share, Transform, as_input
from learners.training.options import Loss
from netsim.core.errors import ScenarioError
from netsim.core.streams import stream
from netsim.learner import Setup

MOST_COUNTS = 20_000
"""More numbers of samples, by device and class, are not written into a run's metadata."""


@dataclass(frozen=True)
class Store:
    """All samples, stored once on the PyTorch device of the training; each device has rows of them.

    Attributes:
        inputs: Samples by modality, as stored [samples, ...].
        labels: Labels, int64 [samples].
        transforms: Transforms from stored samples to network inputs, by modality.
        shares: Rows of each device's training samples, int64 [its samples]. They are arrays, because they stay on the
            CPU, where batches are drawn.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    transforms: Mapping[str, Transform]
    shares: Mapping[int, NDArray[np.int64]]

    def rows(self, device: int) -> Tensor:
        """Return the rows of ``device``'s training samples, int64 [its samples], on the CPU."""
        return torch.from_numpy(self.shares[device])

    def seen(self, modality: str, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the network inputs [len(rows), ...] of samples ``rows``, not augmented; tokens stay integers."""
        return as_input(self.transforms[modality].test(self.inputs[modality].index_select(0, rows)), dtype)

    def trial(self, modality: str, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """Return :meth:`seen` of samples ``rows`` [devices, batch] (on the CPU), [devices, batch, ...]."""
        seen = self.seen(modality, rows.flatten().to(self.labels.device), dtype)
        return seen.unflatten(0, rows.shape)

    def trained_on(self, modality: str, rows: Tensor, draws: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Return the network inputs [len(rows), ...] of ``rows``, augmented by ``draws``; tokens stay integers."""
        stored = self.inputs[modality].index_select(0, rows)
        return as_input(self.transforms[modality].change(stored, draws), dtype)

    def draws(self, modality: str) -> bool:
        """Return whether training augments samples of ``modality`` at random."""
        return self.transforms[modality].draw(1, torch.Generator()) is not None

    def drawn(
        self, modality: str, counts: Sequence[int], generators: Sequence[torch.Generator]
    ) -> Tensor | None:
        """Draw numbers that samples of several devices are changed with; None where none are drawn.

        Args:
            modality: Of the samples.
            counts: Samples of each device.
            generators: Of each device.

        Returns:
            [devices · most, ...], on the CPU; zeros where a device has fewer samples than most.
        """
        found, most = [], max(counts)
        for count, generator in zip(counts, generators, strict=True):
            draws = self.transforms[modality].draw(count, generator)
            if draws is None:
                return None
            found.append(torch.cat([draws, draws.new_zeros(most - count, *draws.shape[1:])]))
        return torch.cat(found).to(self.labels.device)

    def augmented(
        self, modality: str, rows: Tensor, generator: torch.Generator | None, dtype: torch.dtype
    ) -> Tensor:
        """Return :meth:`trained_on` with numbers drawn from ``generator`` (on the CPU; None if none are drawn)."""
        draws = None if generator is None else self.transforms[modality].draw(len(rows), generator)
        at = self.labels.device
        return self.trained_on(modality, rows.to(at), None if draws is None else draws.to(at), dtype)


@dataclass(frozen=True)
class Task:
    """A data set and its division among the devices.

    Attributes:
        dataset: The data set.
        shares: Samples and modalities of each device, restricted to the modalities in use.
        modalities: The modalities in use, in the data set's order.
        public: Rows of the public training samples, which all devices have, int64 [public samples].
    """

    dataset: MultimodalDataset
    shares: tuple[Share, ...]
    modalities: tuple[str, ...]
    public: np.ndarray

    @property
    def facts(self) -> dict[str, Any]:
        """Return a description for a run's metadata; samples by device and class unless they are very many."""
        few = len(self.shares) * len(self.dataset.classes) <= MOST_COUNTS
        counts = self.dataset.table(self.shares)[list(self.dataset.classes)] if few else None
        return {
            **({} if counts is None else {"by_class": counts.to_numpy().tolist()}),
            "name": self.dataset.name,
            "surrogate": self.dataset.surrogate,
            "modalities": list(self.modalities),
            "classes": list(self.dataset.classes),
            "test_samples": len(self.dataset.test),
            "fingerprint": self._fingerprint(),
            **self.dataset.oddities,
        }

    def _fingerprint(self) -> str:
        """Return a checksum of the labels and of every 97th sample."""
        found = 0
        for tensor in (self.dataset.labels, *(self.dataset.inputs[m][::97] for m in self.modalities)):
            found = zlib.crc32(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes(), found)
        return f"{found:08x}"

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of one sample's network input by modality, after the test-time transform."""
        return {m: self._input_shape(m) for m in self.modalities}

    def _input_shape(self, modality: str) -> tuple[int, ...]:
        row = self.dataset.inputs[modality][:1]
        return tuple(_transform(self.dataset, modality).test(row).shape[1:])

    def examples(self) -> dict[str, Tensor]:
        """Return two training samples by modality, augmented as in training [2, ...], to count costs with."""
        store, rows = self.store("cpu", {}), torch.from_numpy(np.resize(self.dataset.train, 2))
        draws = torch.Generator().manual_seed(0)
        return {m: store.augmented(m, rows, draws, torch.get_default_dtype()) for m in self.modalities}

    def store(self, torch_device: str, shares: Mapping[int, Share]) -> Store:
        """Return the data set's tensors on ``torch_device``, with each device's rows as in ``shares``."""
        return store_of(self.dataset, self.modalities, torch_device, shares)

    def test_rows(self, count: int | None, seed: int) -> np.ndarray:
        """Return the rows of the test set, or ``count`` of them, chosen at random from ``seed`` alone."""
        if count is None or count >= len(self.dataset.test):
            return self.dataset.test
        return np.sort(stream(seed, "evaluation").choice(self.dataset.test, size=count, replace=False))


def load_task(setup: Setup, only: tuple[str, ...] | None, loss: Loss | None = None) -> Task:
    """Load the data and divide it among the devices.

    Args:
        setup: The learner's setup, with data, partition and seed.
        only: Modalities to use, or None for all of them. A device may then have none.
        loss: What the learner minimises, if it can do without classes; None if it cannot.

    Raises:
        ScenarioError: There is no data or no partition, a modality in ``only`` is not in the data, or the loss is not
            about such labels.
    """
    for key in ("data", "partition"):
        if getattr(setup, key) is None:
            raise ScenarioError(f"{key}: this learner trains on data, so the scenario needs a '{key}' block")
    dataset = setup.data.loaded(setup.seed, setup.cache_dir, setup.say)
    unknown = [m for m in only or () if m not in dataset.modalities]
    if unknown:
        raise ScenarioError(
            f"learner.modalities: the data has no modality {', '.join(map(repr, unknown))}; "
            f"it has: {', '.join(dataset.modalities)}"
        )
    if dataset.real_valued and loss is None:
        raise ScenarioError(
            f"learner: needs classes, and the labels of {dataset.name} are real numbers; use fedavg, fedprox, fednova "
            "or another learner with learner.loss, and loss mse, mae or huber"
        )
    if loss is not None and dataset.real_valued == (loss == "cross_entropy"):
        labels, way_out = (
            ("real numbers", "mse, mae or huber") if dataset.real_valued else ("classes", "cross_entropy")
        )
        raise ScenarioError(
            f"learner.loss: {loss} is not for the labels of {dataset.name}, {labels}; use {way_out}"
        )
    modalities = tuple(m for m in dataset.modalities if only is None or m in only)
    split = setup.partition.split(dataset, setup.device_count, setup.seed)
    shares = tuple(
        Share(
            share.samples,
            tuple(m for m in modalities if m in share.modalities),
            {m: rows for m, rows in share.absent.items() if m in modalities},
        )
        for share in split.shares
    )
    return Task(split.data, shares, modalities, split.public)


def store_of(
    dataset: MultimodalDataset,
    modalities: Sequence[str],
    torch_device: str,
    shares: Mapping[int, Share] | None = None,
) -> Store:
    """Return the tensors of ``dataset`` on ``torch_device``, with each device's rows as in ``shares``."""
    return Store(
        {m: dataset.inputs[m].to(torch_device) for m in modalities},
        dataset.labels.to(torch_device),
        {m: _transform(dataset, m) for m in modalities},
        {k: np.asarray(share.samples, dtype=np.int64) for k, share in (shares or {}).items()},
    )


def _transform(dataset: MultimodalDataset, modality: str) -> Transform:
    return dataset.transforms.get(modality, _AS_STORED)


_AS_STORED = Transform()


def complete_share(device: int, share: Share) -> Share:
    """Return the complete samples of ``share``: the fused loss needs every modality that the device owns.

    Raises:
        ScenarioError: There is none.
    """
    if not share.absent:
        return share
    if len(share.complete) == 0:
        raise ScenarioError(
            f"partition: none of device {device}'s {len(share.samples)} samples has all of "
            f"{', '.join(share.modalities)}, and this learner trains on complete samples only. "
            "Raise partition.kept or partition.min_samples, or use another seed."
        )
    return Share(share.complete, share.modalities)
