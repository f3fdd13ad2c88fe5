"""A tenth of a set of small photographs: 10,000 + 2,000 images of CIFAR-10 in two NumPy files."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from learners.data.dataset import MultimodalDataset
from learners.data.media.broken import why
from learners.data.sets.image_source import ImageOptions, Images, ImageSource
from learners.data.sets.root import find_root
from netsim.core.errors import ScenarioError

TRAIN, TEST = "train_10k.npz", "test_2k.npz"
ROOT_VARIABLE = "NETSIM_DATA_ROOT"

_FOLDER = "cifar10_subset"
_KEYS = {"images", "labels", "classes"}
_WAY_OUT = (
    f"Give data.root, or set {ROOT_VARIABLE}, to a folder that holds {TRAIN} and {TEST}, or {_FOLDER}/ with both; "
    "docs/data.md says what is in them."
)


class Cifar10SubsetOptions(ImageOptions):
    """The ``data`` block for ``cifar10_subset``.

    Attributes:
        root: Folder with ``train_10k.npz`` and ``test_2k.npz``, or with ``cifar10_subset``; if that is not there,
            the variable NETSIM_DATA_ROOT.
    """

    root: Path | None = None


class Cifar10Subset(ImageSource):
    """A class-balanced part of CIFAR-10, 10,000 photographs to train on and 2,000 to test with, as NumPy files."""

    Options = Cifar10SubsetOptions
    options: Cifar10SubsetOptions

    def check(self) -> None:
        """Check that both files exist.

        Raises:
            ScenarioError: They do not; names the files and the place searched.
        """
        self._folder()

    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Read both files; subsets are the same for every ``seed``.

        ``inputs["image"]`` is uint8 [images, 3, 32, 32], or of height and width ``size``.
        """
        folder = self._folder()
        train, classes = _read(folder / TRAIN)
        test, other = _read(folder / TEST)
        if classes != other:
            raise ScenarioError(
                f"data.root: {folder}: {TRAIN} and {TEST} name different classes. Replace the files."
            )
        return self._dataset("CIFAR-10 (subset)", classes, train, test)

    def _folder(self) -> Path:
        root = find_root(self.options.root, ROOT_VARIABLE, _WAY_OUT)
        for folder in (root, root / _FOLDER):
            if (folder / TRAIN).is_file() and (folder / TEST).is_file():
                return folder
        missing = next(name for name in (TRAIN, TEST) if not (root / name).is_file())
        raise ScenarioError(f"data.root: {root} has no {missing}. {_WAY_OUT}")


def _read(path: Path) -> tuple[Images, tuple[str, ...]]:
    """Return the images of one file, uint8 [images, 3, height, width], and the names of the classes."""
    import torch

    try:
        with np.load(path, allow_pickle=False) as file:
            lacking = _KEYS - set(file)
            if lacking:
                raise ScenarioError(
                    f"data.root: {path} has no array {min(lacking)!r}. It must hold images, labels and classes."
                )
            pixels, labels, classes = file["images"], file["labels"], file["classes"]
    except (OSError, EOFError, ValueError, TypeError, AttributeError, BadZipFile, zlib.error):
        raise ScenarioError(
            f"data.root: {path} {why(path, 'cannot be read as a NumPy archive')}. Replace the file."
        ) from None
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3 or len(pixels) == 0:
        raise ScenarioError(
            f"data.root: {path}: images must be uint8 [images, height, width, 3] (got {pixels.dtype} "
            f"{list(pixels.shape)})"
        )
    if (
        labels.shape != (len(pixels),)
        or not np.issubdtype(labels.dtype, np.integer)
        or not 0 <= labels.min() <= labels.max() < len(classes)
    ):
        raise ScenarioError(
            f"data.root: {path}: labels must be one number from 0 to {len(classes) - 1} for each of "
            f"{len(pixels)} images"
        )
    channels_first = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return Images(channels_first, labels.astype(np.int64)), tuple(str(name) for name in classes)
