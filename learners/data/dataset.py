"""What a data set is to a learner: tensors by modality, labels, a split, and who said it."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from netsim.core.options import NoOptions, Options
from netsim.core.streams import stream

if TYPE_CHECKING:  # a scenario is checked without them
    import pandas as pd
    import torch
    from torch import Tensor


def as_input(samples: Tensor, dtype: torch.dtype) -> Tensor:
    """Bring samples to the precision that networks work in; whole numbers of 32 or 64 bits, tokens, stay as they are.

    Pixels and sound are often stored as whole numbers of 8 or 16 bits: these become ``dtype``.

    Args:
        samples: [samples, ...].
        dtype: The working precision.
    """
    import torch

    return samples if samples.dtype in (torch.int32, torch.int64) else samples.to(dtype)


class Transform:
    """How a modality's stored samples become network inputs; the base passes them through, see :func:`as_input`.

    Drawing numbers and changing samples by them are two steps, so that the samples of many devices, each with
    numbers from its own stream, can be changed together.
    """

    def draw(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Random numbers for augmenting ``count`` samples [count, n]; None where nothing is left to chance."""
        return None

    def change(self, batch: Tensor, draws: Tensor | None) -> Tensor:
        """Inputs for training, augmented as ``draws`` say; [batch, ...] float32, or int64 for tokens."""
        return self.test(batch)

    def train(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Inputs for training, augmented with numbers from ``generator``; see :meth:`change`."""
        draws = self.draw(len(batch), generator)
        return self.change(batch, draws if draws is None else draws.to(batch.device))

    def test(self, batch: Tensor) -> Tensor:
        """Inputs for evaluation, no randomness; [batch, ...] float32, or int64 for tokens."""
        import torch

        return as_input(batch, torch.float32)


@dataclass(frozen=True)
class MultimodalDataset:
    """Samples of several modalities, aligned by row.

    Attributes:
        name: What screens, records and plots call it; says "surrogate data" where it is generated.
        classes: Names of the classes; label ``i`` is ``classes[i]``.
        inputs: By modality, a tensor [samples, channels, height, width] or [samples, features], of any type
            that ``transforms`` turns into float32, or tokens, int64.
        labels: Class of each sample, int64 [samples].
        groups: Natural client of each sample (actor, speaker), int64 [samples].
        train: Rows for training, int64.
        test: Rows for testing, int64.
        transforms: By modality.
        surrogate: Whether the data is generated, standing in for data that is not here.
        oddities: What a run's facts say of odd clips, as :func:`learners.data.sets.oddities.tell` gives it.
    """

    name: str
    classes: tuple[str, ...]
    inputs: Mapping[str, Tensor]
    labels: Tensor
    groups: np.ndarray
    train: np.ndarray
    test: np.ndarray
    transforms: Mapping[str, Transform] = field(default_factory=dict)
    surrogate: bool = False
    oddities: Mapping[str, Any] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the data set's order."""
        return tuple(self.inputs)

    def table(self, shares: Sequence[Share]) -> pd.DataFrame:
        """What each device holds: a row per device; its modalities, its number of samples, and samples per class.

        Where samples are incomplete, ``<modality> samples`` says how many have the modality, and ``complete`` how
        many have all that the device owns.
        """
        import pandas as pd

        labels = self.labels.numpy()
        columns: dict[str, list[Any]] = {
            "modalities": ["+".join(share.modalities) for share in shares],
            "samples": [len(share.samples) for share in shares],
        }
        if any(share.absent for share in shares):
            for m in self.modalities:
                columns[f"{m} samples"] = [len(share.having(m)) for share in shares]
            columns["complete"] = [len(share.complete) for share in shares]
        counts = [np.bincount(labels[share.samples], minlength=len(self.classes)) for share in shares]
        frame = pd.concat(
            [pd.DataFrame(columns), pd.DataFrame(counts, columns=list(self.classes))], axis="columns"
        )
        return frame.rename_axis("device")


class DataSource(ABC):
    """Reads one data set.

    Attributes:
        Options: The model of the scenario's ``data`` block.
        MODALITIES: Names of the modalities that ``load`` will give.
    """

    Options: ClassVar[type[Options]] = NoOptions
    MODALITIES: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def check(self) -> None:
        """Look, without loading, whether the data is there.

        Raises:
            ScenarioError: It is not, or it is something else; says what was looked for, where, and the way out.
        """

    @abstractmethod
    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Read and pre-process the data set, from ``cache_dir`` if that was done before.

        Args:
            seed: The run's seed, for splits that the scenario leaves to chance.
            cache_dir: Where pre-processed data may be kept.
            say: Tells the user what takes long.
        """


@dataclass(frozen=True)
class Share:
    """What one device holds: rows of the data set and the modalities of them that it owns.

    Attributes:
        samples: Rows of the data set, int64 [samples].
        modalities: The modalities that the device owns.
        absent: By modality, the rows of ``samples`` of which that modality was not recorded, int64; a modality that is
            not named here was recorded of all of them.
    """

    samples: np.ndarray
    modalities: tuple[str, ...]
    absent: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def complete(self) -> np.ndarray:
        """The rows of ``samples`` that have all the share's modalities, in their order."""
        absent = [rows for modality, rows in self.absent.items() if modality in self.modalities]
        return self.samples[~np.isin(self.samples, np.concatenate(absent))] if absent else self.samples

    def having(self, modality: str) -> np.ndarray:
        """The rows of ``samples`` that have ``modality``, in their order; none if the device does not own it."""
        if modality not in self.modalities:
            return self.samples[:0]
        return Share(self.samples, (modality,), self.absent).complete


class Split(NamedTuple):
    """What becomes of a data set's training rows.

    Attributes:
        shares: What each device holds.
        public: Rows that were set aside: they are nobody's own, and everybody may see them; int64.
    """

    shares: list[Share]
    public: np.ndarray


class Partition(ABC):
    """Deals a data set's training rows and modalities to devices.

    Attributes:
        Options: The model of the scenario's ``partition`` block.
    """

    Options: ClassVar[type[Options]] = NoOptions

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def deal(self, data: MultimodalDataset, device_count: int, seed: int) -> list[Share]:
        """One share per device.

        Raises:
            ScenarioError: A device would get no sample, or a modality has no owner.
        """

    def split(self, data: MultimodalDataset, device_count: int, seed: int) -> Split:
        """Set the part ``public_share`` of the training rows aside, if the options have one, and deal the rest.

        Raises:
            ScenarioError: As :meth:`deal`.
        """
        share = getattr(self.options, "public_share", 0.0)
        if not share:
            return Split(self.deal(data, device_count, seed), data.train[:0])
        order = stream(seed, "partition", "public").permutation(data.train)
        count = int(share * len(order) + 0.5)
        rest = dataclasses.replace(data, train=np.sort(order[count:]))
        return Split(self.deal(rest, device_count, seed), np.sort(order[:count]))
