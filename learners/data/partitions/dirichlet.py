"""The non-IID cases of multi-modal data: labels by a Dirichlet distribution, missing modalities and samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from learners.data.dataset import MultimodalDataset, Share
from learners.data.partitions.partition import OwnerOptions, owners
from learners.data.split import Partition
from netsim.core.errors import ScenarioError
from netsim.core.streams import stream

DRAWS = 1000
"""Number of draws before an error."""
USUALLY_KEPT = (0.5, 1.0)
OWNED = {"2M-B": 2, "1M-B": 1}
"""Number of modalities of every device, in the cases with equal numbers."""


class DirichletOptions(OwnerOptions):
    """The ``partition`` block for ``dirichlet``.

    Attributes:
        concentration: Of the Dirichlet distribution; small for devices with a few classes, large for devices
            that are all alike.
        min_samples: Fewest samples of a device; the proportions are drawn anew until each has so many.
        case: Modalities of the devices. A: every device all of them (or as ``gamma`` or ``modalities`` say).
            mixed-B: a number drawn from 1 to all. 2M-B: two each. 1M-B: one each. C: as mixed-B (or as
            ``modalities`` says), and of each modality of a device some samples were not recorded.
        kept: Least and greatest fraction of a device's samples that have a modality, in case C; drawn for each
            device and modality.
    """

    concentration: float = Field(default=0.5, ge=1e-3, le=1e6)
    min_samples: int = Field(default=2, ge=1)
    case: Literal["A", "mixed-B", "2M-B", "1M-B", "C"] = "A"
    kept: tuple[float, float] = USUALLY_KEPT

    @model_validator(mode="after")
    def _options_agree(self) -> Self:
        least, most = self.kept
        if not 0 < least <= most <= 1:
            raise ValueError(
                f"kept: must be two fractions, the least and the greatest, above 0 and at most 1 (got {[least, most]})"
            )
        if self.kept != USUALLY_KEPT and self.case != "C":
            raise ValueError(f"kept: nothing is left out in case {self.case}; use case C, or leave kept out")
        if self.gamma != 1 and self.case != "A":
            raise ValueError(
                f"gamma: case {self.case} says who owns what; use case A, or leave gamma out (got {self.gamma:g})"
            )
        if self.modalities is not None and self.case not in ("A", "C"):
            raise ValueError(
                f"modalities: case {self.case} says who owns what; use case A or C, or leave modalities out"
            )
        return self


class Dirichlet(Partition):
    """Dirichlet proportions of each class over the devices; modalities as in FedHGB's cases A, B and C.

    The cases are those of FedHGB (Chen and Li, INFOCOM 2022, Section VI-A). Of the two usual Dirichlet forms
    this is *per class over devices* (Yurochkin et al., ICML 2019; Li et al., ICDE 2022): for each class c,
    p_c ~ Dir(concentration) over the devices, and device k gets the fraction p_ck of the class. The other form
    (Hsu et al. 2019) draws a mix of classes for each device. FedHGB's platform, Plato, does that, and clients
    may draw the same samples. Here every training sample must be on exactly one device. A mix drawn for each
    device cannot ensure that: some classes would run out before the last devices.

    The two forms are similar. p_ck is a gamma variable divided by a sum that varies little for many devices, so a
    device's mix of equally frequent classes is itself Dir(concentration) over the classes, as in the other
    form. The difference is that some devices have many samples and others few.

    "Clients contain all classes" holds for the proportions, which are never zero; a small proportion may be less than
    one sample.
    """

    Options = DirichletOptions
    options: DirichletOptions
    by_class = True

    def deal(self, data: MultimodalDataset, device_count: int, seed: int) -> list[Share]:
        """Return shares of all training samples; with one seed, a device's samples are the same in every case."""
        samples = self._samples(data, device_count, seed)
        owned = self._owned(data.modalities, device_count, seed)
        if self.options.case != "C":
            return [Share(rows, own) for rows, own in zip(samples, owned, strict=True)]
        return [
            Share(
                rows, own, not_recorded(rows, own, self.options.kept, stream(seed, "partition", "absent", k))
            )
            for k, (rows, own) in enumerate(zip(samples, owned, strict=True))
        ]

    def _samples(self, data: MultimodalDataset, device_count: int, seed: int) -> list[np.ndarray]:
        """Return the rows of each device, sorted."""
        options = self.options
        labels = data.labels.numpy()[data.train]
        per_class = np.bincount(labels, minlength=len(data.classes))
        counts = class_counts(per_class, device_count, options.concentration, options.min_samples, seed)
        random = stream(seed, "partition", "dirichlet", "samples")
        holder = np.empty(len(labels), dtype=np.int64)  # the device of each training sample
        for label, of_devices in enumerate(counts):
            holder[labels == label] = random.permutation(np.repeat(np.arange(device_count), of_devices))
        return [np.sort(data.train[holder == k]) for k in range(device_count)]

    def _owned(self, modalities: Sequence[str], device_count: int, seed: int) -> list[tuple[str, ...]]:
        if self.options.case == "A" or self.options.modalities is not None:
            return owners(self.options, modalities, device_count, seed)
        return drawn_owners(self.options.case, modalities, device_count, seed)


def class_counts(
    per_class: np.ndarray, device_count: int, concentration: float, min_samples: int, seed: int
) -> np.ndarray:
    """Draw the number of samples of each class for each device; rows sum to ``per_class``, int64 [classes, devices].

    Args:
        per_class: Training samples of each class, [classes].
        device_count: Number of devices.
        concentration: Parameter of the Dirichlet distribution.
        min_samples: Fewest samples of a device.
        seed: The run's seed.

    Raises:
        ScenarioError: There are too few samples, or no draw gave every device ``min_samples``.
    """
    if per_class.sum() < min_samples * device_count:
        raise ScenarioError(
            f"partition.min_samples: {device_count} devices of at least {min_samples} samples need "
            f"{min_samples * device_count}, but there are {per_class.sum()} to train on. Lower min_samples, "
            "or use fewer devices."
        )
    random = stream(seed, "partition", "dirichlet", "proportions")
    for _ in range(DRAWS):
        proportions = random.dirichlet(np.full(device_count, concentration), size=len(per_class))
        # Sums are rounded, not shares, so that no sample is left: the last sum is the whole class.
        ends = np.rint(np.cumsum(proportions, axis=1) * per_class[:, None]).astype(np.int64)
        ends[:, -1] = per_class
        counts = np.diff(ends, axis=1, prepend=0)
        if counts.sum(axis=0).min() >= min_samples:
            return counts
    raise ScenarioError(
        f"partition.concentration: at {concentration:g}, some of {device_count} devices had fewer than "
        f"{min_samples} samples (partition.min_samples) in each of {DRAWS} draws. Raise concentration, lower "
        "min_samples, or use fewer devices."
    )


def drawn_owners(case: str, modalities: Sequence[str], device_count: int, seed: int) -> list[tuple[str, ...]]:
    """Draw the modalities of each device, in the data set's order, until each modality has an owner.

    Args:
        case: ``2M-B`` or ``1M-B`` for two or one each; otherwise a random number, uniform from 1 to all.
        modalities: Modalities of the data set.
        device_count: Number of devices.
        seed: The run's seed.

    Raises:
        ScenarioError: The data has too few modalities for the case, or the devices own too few for the data.
    """
    available, each = len(modalities), OWNED.get(case)
    listed = ", ".join(modalities)
    if each is not None and each > available:
        raise ScenarioError(
            f"partition.case: {case} gives every device {each} modalities, but the data has {available} "
            f"({listed}). Use A or 1M-B."
        )
    if each is not None and each * device_count < available:
        raise ScenarioError(
            f"partition.case: in {case}, {device_count} devices own {each * device_count} of the data's "
            f"{available} modalities ({listed}), but each needs an owner. Use more devices, or A."
        )
    random = stream(seed, "partition", "case")
    for _ in range(DRAWS):
        owned = []
        for _ in range(device_count):
            count = each or random.integers(1, available + 1)
            places = np.sort(random.choice(available, size=count, replace=False))
            owned.append(tuple(modalities[place] for place in places))
        if len({modality for own in owned for modality in own}) == available:
            return owned
    raise ScenarioError(
        f"partition.case: in each of {DRAWS} draws of {case} for {device_count} devices, one of {listed} had "
        "no owner. Use more devices, or A with a list of each device's (partition.modalities)."
    )


def not_recorded(
    samples: np.ndarray, modalities: Sequence[str], kept: tuple[float, float], random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw the rows of ``samples`` that lack each modality; every row keeps at least one modality.

    A modality keeps random rows, a fraction drawn uniformly from ``kept``, rounded to whole samples (half up) and at
    least one. It keeps more only if otherwise some rows would have no modality.

    Args:
        samples: A device's rows, int64 [samples].
        modalities: Modalities that it owns; a single one is complete.
        kept: Least and greatest fraction.
        random: The device's own stream.
    """
    if len(modalities) < 2:
        return {}
    has = np.zeros((len(modalities), len(samples)), dtype=bool)
    for row in has:
        count = max(1, int(random.uniform(*kept) * len(samples) + 0.5))
        row[random.permutation(len(samples))[:count]] = True
    for bare in np.flatnonzero(~has.any(axis=0)):
        # A modality moves from a sample with another one to the sample without any, so the sizes stay as drawn.
        for m in random.permutation(len(modalities)):
            givers = np.flatnonzero(has[m] & (has.sum(axis=0) > 1))
            if len(givers):
                has[m, random.choice(givers)] = False
                break
        has[m, bare] = True
    return {modality: samples[~row] for modality, row in zip(modalities, has, strict=True) if not row.all()}
