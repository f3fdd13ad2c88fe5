"""The contract of a data set: tensors by modality, labels, a split, and natural clients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from netsim.core.options import NoOptions, Options

if TYPE_CHECKING:  # a scenario is checked without them
    import pandas as pd
    import torch
    from torch import Tensor


def as_input(samples: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert samples to the precision of networks; whole numbers of 32 or 64 bits are tokens and do not change.

    Pixels and sound are often stored as whole numbers of 8 or 16 bits: these become ``dtype``.

    Args:
        samples: [samples, ...].
        dtype: The working precision.
    """
    import torch

    return samples if samples.dtype in (torch.int32, torch.int64) else samples.to(dtype)


class Transform:
    """A conversion of a modality's stored samples to network inputs; the base applies :func:`as_input` only.

    Drawing numbers and changing samples by them are two steps, so that the samples of many devices, each with
    numbers from its own stream, can be changed together.
    """

    def draw(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Draw random numbers for augmenting ``count`` samples [count, n]; return None if nothing is random."""
        return None

    def change(self, batch: Tensor, draws: Tensor | None) -> Tensor:
        """Return inputs for training, augmented by ``draws``; [batch, ...] float32, or int64 for tokens."""
        return self.test(batch)

    def train(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return inputs for training, augmented with numbers from ``generator``; see :meth:`change`."""
        draws = self.draw(len(batch), generator)
        return self.change(batch, draws if draws is None else draws.to(batch.device))

    def test(self, batch: Tensor) -> Tensor:
        """Return inputs for evaluation, without randomness; [batch, ...] float32, or int64 for tokens."""
        import torch

        return as_input(batch, torch.float32)


@dataclass(frozen=True)
class MultimodalDataset:
    """Samples of several modalities, aligned by row.

    Attributes:
        name: Name for screens, records and plots; contains "surrogate data" if it is generated.
        classes: Names of the classes; label ``i`` is ``classes[i]``. None where labels are real numbers.
        inputs: By modality, a tensor [samples, channels, height, width] or [samples, features], of any type
            that ``transforms`` turns into float32, or tokens, int64.
        labels: Class of each sample, int64 [samples]; or a real number to be predicted, floating point [samples].
        groups: Natural client of each sample (actor, speaker), int64 [samples].
        train: Rows for training, int64.
        test: Rows for testing, int64.
        transforms: Transforms by modality.
        surrogate: Whether the data is generated in place of missing data.
        oddities: Facts of a run about odd clips, as returned by :func:`learners.data.media.oddities.tell`.
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
        """Return the names of the modalities, in the data set's order."""
        return tuple(self.inputs)

    @property
    def real_valued(self) -> bool:
        """Return whether labels are real numbers to be predicted, and not classes."""
        return self.labels.is_floating_point()

    def tested(self) -> tuple[dict[str, Tensor], Tensor]:
        """Return the test samples as networks see them, by modality [samples, ...], and their labels [samples]."""
        import torch

        rows = torch.from_numpy(self.test)
        seen = {
            m: self.transforms[m].test(own[rows]) if m in self.transforms else own[rows]
            for m, own in self.inputs.items()
        }
        return {m: as_input(x, torch.get_default_dtype()) for m, x in seen.items()}, self.labels[rows]

    def table(self, shares: Sequence[Share]) -> pd.DataFrame:
        """Return a row per device: its modalities, its number of samples, and samples per class, if there are any.

        If samples are incomplete, ``<modality> samples`` is the number with the modality, and ``complete`` the number
        with all modalities that the device owns.
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
        frame = pd.DataFrame(columns)
        if not self.real_valued:
            counts = [np.bincount(labels[share.samples], minlength=len(self.classes)) for share in shares]
            frame = pd.concat([frame, pd.DataFrame(counts, columns=list(self.classes))], axis="columns")
        return frame.rename_axis("device")


class DataSource(ABC):
    """A reader of one data set.

    Attributes:
        Options: The model of the scenario's ``data`` block.
        MODALITIES: Names of the modalities that ``load`` returns, where they do not depend on the options.
    """

    Options: ClassVar[type[Options]] = NoOptions
    MODALITIES: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: Any) -> None:
        self.options = options

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return the names of the modalities that ``load`` returns; none if only loading tells."""
        return self.MODALITIES

    @abstractmethod
    def check(self) -> None:
        """Check, without loading, that the data exists.

        Raises:
            ScenarioError: It does not, or it is other data; names the files, the place searched, and the way out.
        """

    @abstractmethod
    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Read and pre-process the data set, or take it from ``cache_dir`` if that was done before.

        Args:
            seed: The run's seed, for random splits.
            cache_dir: Folder for pre-processed data.
            say: Shows the user a message about a long task.
        """

    def loaded(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Load the data set, as :meth:`load` does, and check that its parts fit to each other.

        Raises:
            ScenarioError: They do not; see :func:`learners.data.whole.check_dataset`.
        """
        from learners.data.whole import check_dataset

        data = self.load(seed, cache_dir, say)
        check_dataset(type(self).__name__, data)
        return data


@dataclass(frozen=True)
class Share:
    """The data of one device: rows of the data set, and the modalities of them that it owns.

    Attributes:
        samples: Rows of the data set, int64 [samples].
        modalities: The modalities that the device owns.
        absent: By modality, the rows of ``samples`` without that modality, int64; all rows have a modality that is not
            named here.
    """

    samples: np.ndarray
    modalities: tuple[str, ...]
    absent: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def complete(self) -> np.ndarray:
        """Return the rows of ``samples`` that have all the share's modalities, in their order."""
        absent = [rows for modality, rows in self.absent.items() if modality in self.modalities]
        return self.samples[~np.isin(self.samples, np.concatenate(absent))] if absent else self.samples

    def having(self, modality: str) -> np.ndarray:
        """Return the rows of ``samples`` that have ``modality``, in their order; none if the device does not own it."""
        if modality not in self.modalities:
            return self.samples[:0]
        return Share(self.samples, (modality,), self.absent).complete
