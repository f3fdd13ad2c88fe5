"""Base of sources of labelled images: options, class-balanced subsets, one size, one modality or two halves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, PositiveInt

from learners.data.dataset import DataSource, MultimodalDataset
from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.streams import stream

if TYPE_CHECKING:  # a scenario is checked without them
    from torch import Tensor

    from learners.data.transforms.transform import Standardise

Cut = Literal["left_right", "top_bottom"]
_AT_ONCE = 10_000  # images resized in one go


class ImageOptions(Options):
    """The part of a ``data`` block that all image sets have.

    Attributes:
        train_samples: Images to train on, as many of each class as can be and the same ones for every seed; null
            for all.
        test_samples: Images to test on, chosen in the same way; null for all.
        size: Height and width that images are resized to, bilinearly and without aliasing [pixel]; null leaves
            them as they are.
        cut: Cut every image into two modalities, ``left`` and ``right`` or ``top`` and ``bottom``, the second of which
            has the middle line of an odd size; null for one modality, ``image``.
    """

    train_samples: PositiveInt | None = None
    test_samples: PositiveInt | None = None
    size: int | None = Field(default=None, ge=4, le=512)
    cut: Cut | None = None


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Attributes:
        pixels: uint8 [images, channels, height, width].
        labels: Class of each image, int64 [images].
    """

    pixels: Tensor
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: np.ndarray) -> Images:
        """Return the images of ``rows`` only."""
        import torch

        return Images(self.pixels[torch.from_numpy(rows)], self.labels[rows])

    def resized(self, size: int | None) -> Images:
        """Return squares of ``size`` pixels; the same images if it is None or they have that size."""
        if size is None or self.pixels.shape[-2:] == (size, size):
            return self
        import torch
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2.functional import resize

        parts = [
            resize(part, [size, size], interpolation=InterpolationMode.BILINEAR, antialias=True)
            for part in self.pixels.split(_AT_ONCE)
        ]
        return Images(torch.cat(parts), self.labels)


class ImageSource(DataSource):
    """A data set of labelled images without natural clients; a subclass reads them."""

    Options = ImageOptions
    MODALITIES = ("image",)
    options: ImageOptions

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return ``image``, or the halves that images are cut into."""
        cut = self.options.cut
        return self.MODALITIES if cut is None else tuple(cut.split("_"))

    def _dataset(
        self, name: str, classes: tuple[str, ...], train: Images, test: Images, surrogate: bool = False
    ) -> MultimodalDataset:
        """Return the chosen images of both parts, resized, with a transform that standardises each channel.

        Raises:
            ScenarioError: The options demand more samples than the set has. A surrogate gives all instead.
        """
        import torch

        kept = []
        for part, images, asked in (
            ("train", train, self.options.train_samples),
            ("test", test, self.options.test_samples),
        ):
            count = min(asked, len(images)) if asked is not None and surrogate else asked
            kept.append(_chosen(name, part, images, count).resized(self.options.size))
        count = len(kept[0]) + len(kept[1])
        inputs = _cut(torch.cat([images.pixels for images in kept]), self.options.cut)
        return MultimodalDataset(
            name=name,
            classes=classes,
            inputs=inputs,
            labels=torch.from_numpy(np.concatenate([images.labels for images in kept])),
            groups=np.zeros(count, dtype=np.int64),
            train=np.arange(len(kept[0])),
            test=np.arange(len(kept[0]), count),
            transforms={m: standardise(pixels[: len(kept[0])]) for m, pixels in inputs.items()},
            surrogate=surrogate,
        )


def balanced(labels: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw ``count`` rows at random, as balanced over the classes as possible; sorted, int64 [count].

    Classes take turns until they have no sample left. With the same stream, a smaller draw is a subset of a larger one.

    Args:
        labels: Class of each sample, [samples].
        count: Number of rows, at most that of samples.
        random: Stream of the draw.
    """
    order = random.permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)  # number of samples of its class drawn before it
    for label in np.unique(labels):
        mine = order[labels[order] == label]
        turn[mine] = np.arange(len(mine))
    return np.sort(np.lexsort((labels, turn))[:count])


def standardise(pixels: Tensor) -> Standardise:
    """Scale each channel to mean 0 and deviation 1 over ``pixels``, uint8 [images, channels, height, width]."""
    import torch

    from learners.data.transforms.transform import Standardise

    means, deviations = [], []
    for c in range(pixels.shape[1]):
        channel = pixels[:, c].int()
        # Sums of whole numbers are exact, so they are the same on every machine and for every number of threads.
        mean = int(channel.sum()) / channel.numel()
        variance = int(channel.square_().sum()) / channel.numel() - mean**2
        means.append(mean)
        deviations.append(max(variance, 0.0) ** 0.5 or 1.0)  # a channel of one value becomes 0
    return Standardise(torch.tensor(means).view(-1, 1, 1), torch.tensor(deviations).view(-1, 1, 1))


def _cut(pixels: Tensor, cut: Cut | None) -> dict[str, Tensor]:
    """Return ``pixels`` [images, channels, height, width] by modality: whole, or in two halves."""
    if cut is None:
        return {"image": pixels}
    axis = 3 if cut == "left_right" else 2
    half = pixels.shape[axis] // 2
    parts = pixels.split([half, pixels.shape[axis] - half], axis)
    return {m: part.contiguous() for m, part in zip(cut.split("_"), parts, strict=True)}


def _chosen(name: str, part: str, images: Images, count: int | None) -> Images:
    if count is None or count == len(images):
        return images
    if count > len(images):
        raise ScenarioError(
            f"data.{part}_samples: must be at most {len(images)}, the images that {name} has to {part} "
            f"{'on' if part == 'train' else 'with'} (got {count})"
        )
    return images.at(balanced(images.labels, count, stream(0, "images", name, part)))
