"""Partitions of samples and modalities among devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from learners.data.broken import BrokenModality, WrongLabels
from learners.data.dataset import MultimodalDataset, Share
from learners.data.split import Partition
from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.streams import stream

if TYPE_CHECKING:
    import pandas as pd


class OwnerOptions(Options):
    """Options for what devices hold besides the samples' classes; part of every ``partition`` block.

    Attributes:
        gamma: Fraction of devices that own all modalities, rounded to whole devices (half up). The others own
            one each, dealt in turn: at gamma 0.5, 6 of 12 devices own both of two modalities, 3 the
            first and 3 the second. Which devices these are is drawn with the run's seed, lest a modality always
            falls to the same dominant classes.
        modalities: The modalities of each device, in the order of devices; replaces ``gamma``.
        public_share: Fraction of the training samples that is set aside before the rest is dealt: public samples, for
            learners that distil with samples that everybody has.
        wrong_labels: Devices that have wrong labels; null for none.
        broken_modality: Devices of which a modality is noise; null for none.
    """

    gamma: float = Field(default=1.0, ge=0, le=1)
    modalities: list[list[str]] | None = None
    public_share: float = Field(default=0.0, ge=0, lt=1)
    wrong_labels: WrongLabels | None = None
    broken_modality: BrokenModality | None = None


class DominantOptions(OwnerOptions):
    """The ``partition`` block for ``dominant``.

    Attributes:
        phi: Fraction of a device's samples that are of its dominant class.
    """

    phi: float = Field(default=0.5, ge=0, le=1)


class IID(Partition):
    """Equal numbers of training samples on all devices, drawn at random without replacement."""

    Options = OwnerOptions
    options: OwnerOptions

    def deal(self, data: MultimodalDataset, device_count: int, seed: int) -> list[Share]:
        """Return shares of floor(n / devices) samples; the remainder, fewer than the devices, stays unused."""
        owned = owners(self.options, data.modalities, device_count, seed)
        size = _equal_size(len(data.train), device_count)
        rows = stream(seed, "partition", "iid").permutation(data.train)
        return [Share(np.sort(rows[k * size : (k + 1) * size]), owned[k]) for k in range(device_count)]


class Dominant(Partition):
    """A dominant class on each device: a fraction phi of class k mod C on device k, the rest of the other classes."""

    Options = DominantOptions
    options: DominantOptions
    by_class = True

    def deal(self, data: MultimodalDataset, device_count: int, seed: int) -> list[Share]:
        """Return shares of floor(n / devices) samples without replacement, phi of them (rounded half up) dominant."""
        owned = owners(self.options, data.modalities, device_count, seed)
        size = _equal_size(len(data.train), device_count)
        first = int(self.options.phi * size + 0.5)
        random = stream(seed, "partition", "dominant")
        classes = len(data.classes)
        favourite = np.arange(device_count) % classes
        rows = random.permutation(data.train)
        labels = data.labels.numpy()[rows]

        dominant: list[np.ndarray] = []
        taken = np.zeros(len(rows), dtype=bool)
        for k in range(device_count):
            free = np.flatnonzero((labels == favourite[k]) & ~taken)
            if len(free) < first:
                have = int(np.sum(labels == favourite[k]))
                need = first * int(np.sum(favourite == favourite[k]))
                raise ScenarioError(
                    f"partition.phi: {self.options.phi} of {size} samples per device needs {need} samples of class "
                    f"{data.classes[favourite[k]]!r}, but there are {have} to train on. Lower phi."
                )
            dominant.append(rows[free[:first]])
            taken[free[:first]] = True

        left = np.flatnonzero(~taken)
        holder = _deal_others(labels[left], favourite, size - first, random)
        if holder is None:
            raise ScenarioError(
                f"partition.phi: {self.options.phi} leaves too few samples of other classes to give each of "
                f"{device_count} devices {size - first} that are not of its dominant class. Raise phi."
            )
        others = rows[left]
        return [
            Share(np.sort(np.concatenate([dominant[k], others[holder == k]])), owned[k])
            for k in range(device_count)
        ]


class Natural(Partition):
    """All training samples of some actors or speakers on each device: whole groups, dealt in turn."""

    Options = OwnerOptions
    options: OwnerOptions

    def deal(self, data: MultimodalDataset, device_count: int, seed: int) -> list[Share]:
        """Return shares of whole groups; a device has at most one group more than another."""
        owned = owners(self.options, data.modalities, device_count, seed)
        group_of = data.groups[data.train]
        groups = stream(seed, "partition", "natural").permutation(np.unique(group_of))
        if len(groups) < device_count:
            raise ScenarioError(
                f"partition: {device_count} devices, but the training samples come from {len(groups)} groups "
                f"(actors or speakers); natural deals whole groups. Use at most {len(groups)} devices, or iid."
            )
        return [
            Share(np.sort(data.train[np.isin(group_of, groups[k::device_count])]), owned[k])
            for k in range(device_count)
        ]


def owners(
    options: OwnerOptions, modalities: Sequence[str], device_count: int, seed: int
) -> list[tuple[str, ...]]:
    """Return the modalities of each device, in the data set's order.

    Raises:
        ScenarioError: The list does not fit the devices or the data set, or a modality has no owner.
    """
    if options.modalities is not None:
        owned = _listed(options.modalities, modalities, device_count)
        key = "partition.modalities"
    else:
        order = stream(seed, "partition", "owners").permutation(device_count)
        complete = int(options.gamma * device_count + 0.5)
        owned = [tuple(modalities)] * device_count
        for turn, device in enumerate(order[complete:]):
            owned[device] = (modalities[turn % len(modalities)],)
        key = "partition.gamma"
    for modality in modalities:
        if not any(modality in own for own in owned):
            raise ScenarioError(
                f"{key}: no device owns {modality!r}; with {device_count} devices and the modalities "
                f"{', '.join(modalities)}, each needs an owner"
            )
    return owned


def table(shares: Sequence[Share], data: MultimodalDataset) -> pd.DataFrame:
    """Return the table of :meth:`learners.data.dataset.MultimodalDataset.table`."""
    return data.table(shares)


def _listed(listed: list[list[str]], modalities: Sequence[str], device_count: int) -> list[tuple[str, ...]]:
    if len(listed) != device_count:
        raise ScenarioError(
            f"partition.modalities: must have one entry per device, {device_count} (got {len(listed)})"
        )
    for k, own in enumerate(listed):
        wrong = [modality for modality in own if modality not in modalities]
        if wrong or not own:
            found = repr(wrong[0]) if wrong else "none"
            raise ScenarioError(
                f"partition.modalities[{k}]: must be some of {', '.join(modalities)} (got {found})"
            )
    return [tuple(modality for modality in modalities if modality in own) for own in listed]


def _equal_size(samples: int, device_count: int) -> int:
    if samples < device_count:
        raise ScenarioError(
            f"partition: {device_count} devices, but {samples} training samples: some device would have none"
        )
    return samples // device_count


def _deal_others(
    labels: np.ndarray, favourite: np.ndarray, size: int, random: np.random.Generator
) -> np.ndarray | None:
    """Deal ``size`` samples to each device, none of its favourite class; return None if that is impossible.

    Samples are dealt at random first. Then each misplaced sample is exchanged with a random one such that both places
    are allowed. A misplaced sample of class c has no partner only if every place allowed for c has a sample of c: then
    there are more samples of c to deal than places for them.

    Returns:
        The device of each sample, -1 for remaining samples; [samples].
    """
    devices = len(favourite)
    if len(labels) < devices * size:
        return None
    holder = np.full(len(labels), -1)
    holder[random.permutation(len(labels))[: devices * size]] = np.repeat(np.arange(devices), size)
    refuses = np.append(favourite, -1)[holder]  # the class that a sample's place may not hold; -1 for none
    for i in np.flatnonzero(refuses == labels):
        partners = np.flatnonzero((refuses != labels[i]) & (labels != refuses[i]))
        if len(partners) == 0:
            return None
        j = random.choice(partners)
        holder[[i, j]] = holder[[j, i]]
        refuses[[i, j]] = refuses[[j, i]]
    return holder
