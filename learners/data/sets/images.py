"""MNIST, Fashion-MNIST, KMNIST, CIFAR-10, CIFAR-100 and SVHN, read by torchvision's own classes."""

from __future__ import annotations

import gzip
import os
import pickle
import shutil
import tempfile
import zlib
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np

from learners.data.cache import fingerprint
from learners.data.dataset import MultimodalDataset
from learners.data.sets.digits import DIGITS, bundled_digits
from learners.data.sets.image_source import ImageOptions, Images, ImageSource
from learners.data.sets.root import find_root
from netsim.core.errors import ScenarioError

if TYPE_CHECKING:  # a scenario is checked without it
    from torch import Tensor

ROOT_VARIABLE = "NETSIM_DATA_ROOT"
EVEN, ODD = slice(0, None, 2), slice(1, None, 2)
"""Subsets of scikit-learn's digits that replace a set: a private and a public replacement share no image."""

# Errors of torchvision's readers for damaged files: they check with assertions, look-ups and md5 sums.
_DAMAGED = (OSError, EOFError, ValueError, TypeError, LookupError, RuntimeError, AssertionError)
_DAMAGED_PICKLE = (*_DAMAGED, pickle.UnpicklingError, zlib.error)


class TorchvisionOptions(ImageOptions):
    """The ``data`` block for torchvision's image sets. Nothing is downloaded unless ``download`` is true.

    Attributes:
        root: Folder with the set's files; if that is not there, the variable NETSIM_DATA_ROOT.
        download: Let torchvision fetch the set if it is not there, to ``root``, or to the run's cache folder if
            ``root`` is not given.
        stand_in: What is used if the set is not there and not to be downloaded: scikit-learn's digits, enlarged to
            the set's height, width and channels, or nothing, which is an error.
    """

    root: Path | None = None
    download: bool = False
    stand_in: Literal["digits"] | None = None


class TorchvisionImages(ImageSource):
    """A set of images in torchvision's layout; scikit-learn's digits may replace it.

    Attributes:
        TITLE: Name of the set in messages.
        READER: Name of torchvision's class.
        FILES: All files that it reads, as paths from the root.
        SHAPE: Channels, height and width of an image.
        STAND_IN: Subset of the digits that may replace the set.
    """

    Options = TorchvisionOptions
    options: TorchvisionOptions
    TITLE: ClassVar[str]
    READER: ClassVar[str]
    FILES: ClassVar[tuple[str, ...]]
    SHAPE: ClassVar[tuple[int, int, int]]
    STAND_IN: ClassVar[slice]

    def check(self) -> None:
        """Check that the set's files exist, unless it may be downloaded or replaced.

        Raises:
            ScenarioError: They do not; names the files, the place searched, and the way out.
        """
        if not self.options.download and self.options.stand_in is None:
            self._found()

    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Read the set, or the digits that replace it; subsets are the same for every ``seed``.

        ``inputs["image"]`` is uint8 [images, channels, height, width], of the set's own height and width or of
        height and width ``size``.
        """
        try:
            root = self._found()
        except ScenarioError:
            if self.options.download:
                root = self._downloaded(cache_dir, say)
            elif self.options.stand_in is not None:
                return self._replaced(say)
            else:
                raise
        readable = self._readable(root, cache_dir, say)
        train, classes = self._read(readable, "train", root)
        test, _ = self._read(readable, "test", root)
        return self._dataset(self.TITLE, classes, train, test)

    @property
    def _reader(self) -> Any:
        """Return all files that torchvision reads, as paths from the root."""
        from torchvision import datasets

        return getattr(datasets, self.READER)

    @abstractmethod
    def _arrays(self, opened: Any) -> tuple[Tensor, np.ndarray]:
        """Return pixels uint8 [images, channels, height, width] and labels [images] of a torchvision data set."""

    def _open(self, root: Path, part: str, download: bool) -> Any:
        """Return the ``part``, train or test, as torchvision's data set."""
        return self._reader(root, train=part == "train", download=download)

    def _there(self, root: Path, name: str) -> Path | None:
        """Return the file ``name`` if it exists in a usable form, otherwise None."""
        return root / name if (root / name).is_file() else None

    def _readable(self, root: Path, cache_dir: Path, say: Callable[[str], None]) -> Path:
        """Return a folder from which torchvision can read: ``root``, or a converted copy."""
        return root

    def _found(self) -> Path:
        """Return the folder that holds all of the set's files.

        Raises:
            ScenarioError: There is none.
        """
        root = find_root(self.options.root, ROOT_VARIABLE, self._way_out())
        missing = [name for name in self.FILES if self._there(root, name) is None]
        if missing:
            raise ScenarioError(f"data.root: {root} has no {missing[0]}. {self._way_out()}")
        return root

    def _way_out(self) -> str:
        return (
            f"Give data.root, or set {ROOT_VARIABLE}, to a folder that holds {self._layout()}; or let torchvision "
            f"fetch {self.TITLE} with data.download: true; or use scikit-learn's digits in its place with "
            "data.stand_in: digits."
        )

    def _layout(self) -> str:
        return f"{', '.join(self.FILES[:-1])} and {self.FILES[-1]}"

    def _downloaded(self, cache_dir: Path, say: Callable[[str], None]) -> Path:
        """Return the folder of the set that torchvision has downloaded, now or in an earlier run."""
        root = self.options.root.expanduser() if self.options.root is not None else cache_dir / "images"
        if any(self._there(root, name) is None for name in self.FILES):
            say(f"downloading {self.TITLE} to {root}")
        try:
            for part in ("train", "test"):
                self._open(root, part, download=True)
        except _DAMAGED_PICKLE as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise ScenarioError(
                f"data.download: torchvision could not fetch {self.TITLE} to {root} ({reason}). Try again, or put the "
                f"files there yourself: {self._layout()}."
            ) from None
        return root

    def _read(self, readable: Path, part: str, root: Path) -> tuple[Images, tuple[str, ...]]:
        """Return one part of the set, and the names of its classes; ``root`` is the origin of the files."""
        try:
            opened = self._open(readable, part, download=False)
            pixels, labels = self._arrays(opened)
        except _DAMAGED_PICKLE:
            raise ScenarioError(
                f"data.root: torchvision cannot read the {part} part of {self.TITLE} in {root}: a file is damaged or "
                f"another than it should be. Replace {self._layout()}."
            ) from None
        classes = tuple(getattr(opened, "classes", DIGITS))
        fits = len(pixels) == len(labels) > 0 and tuple(pixels.shape[1:]) == self.SHAPE
        if not fits or not 0 <= labels.min() <= labels.max() < len(classes):
            raise ScenarioError(
                f"data.root: {root}: the {part} part is not {self.TITLE}, whose images have the shape "
                f"{list(self.SHAPE)} and a label from 0 to {len(classes) - 1} each (got {len(pixels)} images "
                f"{list(pixels.shape[1:])}, {len(labels)} labels). Replace the files."
            )
        return Images(pixels, labels.astype(np.int64)), classes

    def _replaced(self, say: Callable[[str], None]) -> MultimodalDataset:
        """Return digits in the set's shape: half of all digits."""
        say(
            f"{self.TITLE} is not here: scikit-learn's digits stand in for it, and no accuracy measured on them is an "
            f"accuracy on {self.TITLE}"
        )
        channels, height, _ = self.SHAPE
        parts: list[Images] = []
        for part, images in zip(("train", "test"), bundled_digits(self.STAND_IN), strict=True):
            asked = getattr(self.options, f"{part}_samples")
            if asked is not None and asked > len(images):
                say(
                    f"data.{part}_samples: {asked} are asked for, but the digits are {len(images)}: all are used"
                )
            large = images.resized(self.options.size or height)
            parts.append(Images(large.pixels.expand(-1, channels, -1, -1).contiguous(), large.labels))
        train, test = parts
        return self._dataset(f"digits (stand-in for {self.TITLE})", DIGITS, train, test, surrogate=True)


def _in_folder(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in names)


def _idx_files(folder: str) -> tuple[str, ...]:
    """Return the names of the unpacked files of a set in MNIST's format."""
    parts = [(part, kind) for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return _in_folder(f"{folder}/raw", *(f"{part}-{kind}-ubyte" for part, kind in parts))


class _IdxImages(TorchvisionImages):
    """A set in MNIST's format. Files are often compressed, and torchvision does not read these."""

    SHAPE = (1, 28, 28)

    def _layout(self) -> str:
        return f"{super()._layout()} (or the same names with .gz)"

    def _there(self, root: Path, name: str) -> Path | None:
        return super()._there(root, name) or super()._there(root, f"{name}.gz")

    def _readable(self, root: Path, cache_dir: Path, say: Callable[[str], None]) -> Path:
        """Return ``root`` if its files are unpacked, otherwise a folder of the cache with unpacked files."""
        sources = {name: cast(Path, self._there(root, name)) for name in self.FILES}
        if all(path.suffix != ".gz" for path in sources.values()):
            return root
        key = fingerprint({"set": self.READER}, sources.values())
        unpacked = cache_dir / "images" / key
        if not all((unpacked / name).is_file() for name in sources):
            say(f"unpacking {self.TITLE} (once, kept in {unpacked})")
            for name, path in sources.items():
                _unpack(path, unpacked / name)
        return unpacked

    def _arrays(self, opened: Any) -> tuple[Tensor, np.ndarray]:
        return opened.data[:, None], opened.targets.numpy()


class _CifarImages(TorchvisionImages):
    """A set in the format of CIFAR's Python version."""

    SHAPE = (3, 32, 32)

    def _arrays(self, opened: Any) -> tuple[Tensor, np.ndarray]:
        import torch

        return torch.from_numpy(opened.data).permute(0, 3, 1, 2).contiguous(), np.array(opened.targets)


class MNIST(_IdxImages):
    """MNIST (LeCun et al. 1998): handwritten digits, 28 x 28, 60,000 to train on and 10,000 to test with."""

    TITLE, READER, STAND_IN = "MNIST", "MNIST", ODD
    FILES = _idx_files("MNIST")


class FashionMNIST(_IdxImages):
    """Fashion-MNIST (Xiao et al. 2017): ten kinds of clothing, 28 x 28, 60,000 to train on and 10,000 to test with."""

    TITLE, READER, STAND_IN = "Fashion-MNIST", "FashionMNIST", EVEN
    FILES = _idx_files("FashionMNIST")


class KMNIST(_IdxImages):
    """Kuzushiji-MNIST (Clanuwat et al. 2018): ten old Japanese characters, 28 x 28, 60,000 and 10,000."""

    TITLE, READER, STAND_IN = "KMNIST", "KMNIST", ODD
    FILES = _idx_files("KMNIST")


class CIFAR10(_CifarImages):
    """CIFAR-10 (Krizhevsky 2009): photographs of ten things, 32 x 32, 50,000 to train on and 10,000 to test with."""

    TITLE, READER, STAND_IN = "CIFAR-10", "CIFAR10", EVEN
    FILES = _in_folder(
        "cifar-10-batches-py", *(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"
    )


class CIFAR100(_CifarImages):
    """CIFAR-100 (Krizhevsky 2009): photographs of a hundred things, 32 x 32, 50,000 and 10,000."""

    TITLE, READER, STAND_IN = "CIFAR-100", "CIFAR100", ODD
    FILES = _in_folder("cifar-100-python", "train", "test", "meta")


class SVHN(TorchvisionImages):
    """SVHN (Netzer et al. 2011): digits of house numbers, 32 x 32 in colour, 73,257 and 26,032; without "extra"."""

    TITLE, READER, STAND_IN = "SVHN", "SVHN", ODD
    FILES = ("train_32x32.mat", "test_32x32.mat")
    SHAPE = (3, 32, 32)

    def _open(self, root: Path, part: str, download: bool) -> Any:
        return self._reader(root, split=part, download=download)

    def _arrays(self, opened: Any) -> tuple[Tensor, np.ndarray]:
        import torch

        return torch.from_numpy(np.ascontiguousarray(opened.data)), opened.labels


def _unpack(source: Path, target: Path) -> None:
    """Copy ``source``, unpacked if it is compressed; ``target`` appears only when complete.

    Raises:
        ScenarioError: It is damaged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as file:
            opener = gzip.open if source.suffix == ".gz" else open
            with opener(source, "rb") as packed:
                shutil.copyfileobj(packed, file)
        os.replace(temporary, target)
    except (OSError, EOFError, zlib.error):
        raise ScenarioError(f"data.root: {source} cannot be unpacked. Replace the file.") from None
    finally:
        Path(temporary).unlink(missing_ok=True)
