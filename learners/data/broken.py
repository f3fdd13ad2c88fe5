"""Devices whose labels are wrong, or of which one sensor is broken: training data as they hold it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.streams import stream

if TYPE_CHECKING:  # a scenario is checked without PyTorch, and data sets import this module
    from torch import Tensor

    from learners.data.dataset import MultimodalDataset, Share


def _number_or_list(value: Any) -> Any:
    """Say in one line what may be written, where a union would say it once for each of its members."""
    listed = value if isinstance(value, list | tuple) else [value]
    least = int(listed is not value)
    if not listed or any(not isinstance(one, int) or isinstance(one, bool) or one < least for one in listed):
        raise ValueError(f"must be a number of devices, at least 1, or a list of devices (got {value!r})")
    return value


Devices = Annotated[int | list[int], BeforeValidator(_number_or_list)]


class WrongLabels(Options):
    """The block ``partition.wrong_labels``."""

    devices: Devices = Field(
        description="how many devices, drawn with the run's seed, or a list of their numbers"
    )
    share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="part of their samples, held-out ones too, rounded half up, that get a random label; of all "
        "classes alike, so that by chance some are right",
    )


class BrokenModality(Options):
    """The block ``partition.broken_modality``."""

    modality: str = Field(description="the modality that is broken on these devices")
    devices: Devices = Field(
        description="how many devices that own the modality, drawn with the run's seed, or a list of their numbers"
    )
    noise: Literal["replace", "add"] = Field(
        default="replace",
        description="Gaussian noise in place of their samples of the modality, around the mean of all training "
        "samples, or added to them",
    )
    deviation: float = Field(
        default=1.0,
        gt=0,
        description="standard deviation of the noise, in that of all training samples of the modality",
    )


def as_held(
    data: MultimodalDataset,
    shares: Sequence[Share],
    wrong: WrongLabels | None,
    broken: BrokenModality | None,
    seed: int,
) -> MultimodalDataset:
    """Return ``data`` with what is wrong on some devices; test samples, and those of other devices, stay as they are.

    Args:
        data: The data set.
        shares: Of each device.
        wrong: Whose labels are wrong.
        broken: Which modality of whom is broken.
        seed: The run's seed; each device has its own streams.

    Raises:
        ScenarioError: A device or modality that is named is not there, or devices share samples.
    """
    rows = np.concatenate([share.samples for share in shares])
    if (wrong or broken) and len(np.unique(rows)) < len(rows):
        raise ScenarioError(
            "partition: some devices hold the same samples, so nothing can be wrong on one of them alone; leave out "
            "wrong_labels and broken_modality, or use a partition that deals each sample once"
        )
    changes: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    if wrong is not None:
        labels, facts["wrong_labels"] = _labelled_wrong(data, shares, wrong, seed)
        changes["labels"] = labels
    if broken is not None:
        noisy, facts["broken_modality"] = _with_noise(data, shares, broken, seed)
        changes["inputs"] = {**data.inputs, broken.modality: noisy}
    return dataclasses.replace(data, **changes, oddities={**data.oddities, **facts}) if facts else data


def _labelled_wrong(
    data: MultimodalDataset, shares: Sequence[Share], wrong: WrongLabels, seed: int
) -> tuple[Tensor, Mapping[int, int]]:
    """Return the labels, and of how many samples of each device they were drawn."""
    labels, counts = data.labels.clone(), {}
    for k in _chosen("wrong_labels", wrong.devices, range(len(shares)), len(shares), "devices", seed):
        random, samples = stream(seed, "partition", "wrong labels", k), shares[k].samples
        counts[k] = int(wrong.share * len(samples) + 0.5)
        some = random.permutation(samples)[: counts[k]]
        labels[some] = labels.new_tensor(random.integers(len(data.classes), size=counts[k]))
    return labels, counts


def _with_noise(
    data: MultimodalDataset, shares: Sequence[Share], broken: BrokenModality, seed: int
) -> tuple[Tensor, Mapping[str, Any]]:
    """Return the samples of the modality, and whose are broken."""
    import torch

    m = broken.modality
    if m not in data.modalities:
        raise ScenarioError(
            f"partition.broken_modality.modality: the data has no modality {m!r}; it has: {', '.join(data.modalities)}"
        )
    samples = data.inputs[m].clone()
    if samples.dtype in (torch.int32, torch.int64):
        raise ScenarioError(
            f"partition.broken_modality.modality: {m!r} is tokens, which noise means nothing to; name another modality"
        )
    trained_on = samples[data.train].double()
    mean, deviation = trained_on.mean(), broken.deviation * trained_on.std()
    owners = [k for k, share in enumerate(shares) if m in share.modalities]
    devices = _chosen("broken_modality", broken.devices, owners, len(shares), f"devices with {m!r}", seed)
    for k in devices:
        rows = shares[k].samples
        random = stream(seed, "partition", "broken modality", m, k)
        drawn = torch.from_numpy(random.standard_normal((len(rows), *samples.shape[1:]), np.float32))
        noisy = (samples[rows] if broken.noise == "add" else mean) + deviation * drawn
        if not samples.is_floating_point():
            kind = torch.iinfo(samples.dtype)
            noisy = noisy.round().clamp(kind.min, kind.max)
        samples[rows] = noisy.to(samples.dtype)
    return samples, {"modality": m, "devices": devices}


def _chosen(
    block: str, asked: int | list[int], eligible: Sequence[int], device_count: int, who: str, seed: int
) -> list[int]:
    """Return the numbers of the devices that ``asked`` says: those, or as many of the ``eligible``, drawn."""
    key = f"partition.{block}.devices"
    if isinstance(asked, list):
        strange = [k for k in asked if k not in eligible]
        if strange or len(set(asked)) < len(asked):
            what = f"device {strange[0]} is none of them" if strange else "one is named twice"
            raise ScenarioError(
                f"{key}: must be different {who}, of 0 to {device_count - 1} (got {asked}: {what})"
            )
        return sorted(asked)
    if asked > len(eligible):
        raise ScenarioError(f"{key}: must be at most {len(eligible)}, the number of {who} (got {asked})")
    drawn = stream(seed, "partition", block, "devices").permutation(eligible)
    return sorted(drawn[:asked].tolist())
