"""Label skew: devices with few classes, or with some classes more often than others."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, PositiveInt

from learners.data.dataset import MultimodalDataset, Share
from learners.data.partitions.partition import OwnerOptions, owners
from learners.data.split import Partition
from netsim.core.errors import ScenarioError
from netsim.core.streams import stream


class ClassesPerDeviceOptions(OwnerOptions):
    """The ``partition`` block for ``classes_per_device``.

    Attributes:
        classes: Different classes that a device has samples of.
    """

    classes: PositiveInt = 2


class PrimaryLabelsOptions(OwnerOptions):
    """The ``partition`` block for ``primary_labels``.

    Attributes:
        skewness: Samples go 1 + skewness times as often to a device where their label is primary as to one where it is
            not; 0 for samples dealt evenly, a large number for devices with primary labels only.
        primary: Primary labels of a device.
        assignment: ``even``: every label is primary on equally many devices, or one more. ``random``: each device
            draws its own, and some labels may be primary nowhere.
    """

    skewness: float = Field(default=100.0, ge=0, le=1e12)
    primary: PositiveInt = 2
    assignment: Literal["even", "random"] = "even"


class ClassesPerDevice(Partition):
    """A fixed number of classes on each device; the devices with a class share its samples equally.

    It is the quantity-based label imbalance "#C = c" of Li et al. ("Federated Learning on Non-IID Data Silos: An
    Experimental Study", ICDE 2022, Section IV-A). The first class of device k is k mod C, as in their program. The
    others are drawn at random, first from the classes without an owner.
    """

    Options = ClassesPerDeviceOptions
    options: ClassesPerDeviceOptions
    by_class = True

    def deal(self, data: MultimodalDataset, device_count: int, seed: int) -> list[Share]:
        """Divide the samples of each class at random among its devices; a class without devices stays unused."""
        owned = owners(self.options, data.modalities, device_count, seed)
        each = _at_most_all("classes", self.options.classes, data)
        classes = drawn_classes(
            len(data.classes), device_count, each, stream(seed, "partition", "classes_per_device", "classes")
        )
        random = stream(seed, "partition", "classes_per_device", "samples")
        labels = data.labels.numpy()[data.train]
        holder = np.full(len(labels), -1)  # the device of each training sample
        for label in range(len(data.classes)):
            holders = [k for k in range(device_count) if label in classes[k]]
            if holders:
                rows = random.permutation(np.flatnonzero(labels == label))
                # In random order, so that a remaining sample does not always go to the device with the lowest number.
                for k, part in zip(
                    random.permutation(holders), np.array_split(rows, len(holders)), strict=True
                ):
                    holder[part] = k
        way_out = "Use fewer devices, or more classes per device (partition.classes)."
        return _shares(holder, owned, data, way_out)


class PrimaryLabels(Partition):
    """Primary labels on each device: their samples go to it more often than those of other labels.

    The rule is that of MHD (Zhmoginov et al., "Decentralized Learning with Multi-Headed Distillation", CVPR 2023,
    Section 3.3): each sample goes to one device, drawn with a probability proportional to 1 + skewness
    if its label is primary there and to 1 if not. A label that is primary on no device is therefore spread evenly over
    all.
    """

    Options = PrimaryLabelsOptions
    options: PrimaryLabelsOptions
    by_class = True

    def deal(self, data: MultimodalDataset, device_count: int, seed: int) -> list[Share]:
        """Return shares of all training samples, each sample drawn independently."""
        owned = owners(self.options, data.modalities, device_count, seed)
        each = _at_most_all("primary", self.options.primary, data)
        draw = dealt_labels if self.options.assignment == "even" else drawn_labels
        primary = draw(
            len(data.classes), device_count, each, stream(seed, "partition", "primary_labels", "labels")
        )
        weights = np.ones((len(data.classes), device_count))
        for k, own in enumerate(primary):
            weights[own, k] += self.options.skewness
        random = stream(seed, "partition", "primary_labels", "samples")
        labels = data.labels.numpy()[data.train]
        holder = np.empty(len(labels), dtype=np.int64)  # the device of each training sample
        for label, of_devices in enumerate(weights):
            mine = labels == label
            holder[mine] = random.choice(
                device_count, size=np.count_nonzero(mine), p=of_devices / of_devices.sum()
            )
        way_out = "Use fewer devices, a smaller partition.skewness, or more labels each (partition.primary)."
        return _shares(holder, owned, data, way_out)


def drawn_classes(
    class_count: int, device_count: int, each: int, random: np.random.Generator
) -> list[list[int]]:
    """Return ``each`` different classes for each device: k mod C for device k, the others at random.

    Every class has an owner if devices x each >= classes.
    """
    own = [[k % class_count] for k in range(device_count)]
    bare = random.permutation(np.arange(min(device_count, class_count), class_count))
    for turn, label in enumerate(bare[: device_count * (each - 1)]):
        own[turn % device_count].append(int(label))
    for mine in own:
        others = np.setdiff1d(np.arange(class_count), mine)
        mine.extend(random.choice(others, size=each - len(mine), replace=False).tolist())
    return own


def dealt_labels(
    class_count: int, device_count: int, each: int, random: np.random.Generator
) -> list[list[int]]:
    """Deal each device different primary labels; the numbers of devices of two labels differ by at most one.

    Labels are dealt in a random order, a new order whenever all are dealt. A device skips a label that it has, and the
    next device takes it.
    """
    pile: list[int] = []
    own = []
    for _ in range(device_count):
        if len(pile) < each:
            pile += random.permutation(class_count).tolist()
        mine = list(dict.fromkeys(pile))[:each]
        for label in mine:
            pile.remove(label)
        own.append(mine)
    return own


def drawn_labels(
    class_count: int, device_count: int, each: int, random: np.random.Generator
) -> list[list[int]]:
    """Draw different primary labels for each device, independently of other devices."""
    return [random.choice(class_count, size=each, replace=False).tolist() for _ in range(device_count)]


def _at_most_all(key: str, each: int, data: MultimodalDataset) -> int:
    if each > len(data.classes):
        raise ScenarioError(
            f"partition.{key}: must be at most {len(data.classes)}, the number of classes of {data.name} (got {each})"
        )
    return each


def _shares(
    holder: np.ndarray, owned: list[tuple[str, ...]], data: MultimodalDataset, way_out: str
) -> list[Share]:
    """Return shares of the training rows by ``holder``, the device of each row; -1 for none."""
    samples = [np.sort(data.train[holder == k]) for k in range(len(owned))]
    bare = [k for k, rows in enumerate(samples) if len(rows) == 0]
    if bare:
        raise ScenarioError(
            f"partition: {len(bare)} of {len(owned)} devices, the first is device {bare[0]}, would have no sample of "
            f"{len(holder)} training samples. {way_out}"
        )
    return [Share(rows, own) for rows, own in zip(samples, owned, strict=True)]
