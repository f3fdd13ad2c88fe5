"""The handwritten digits of scikit-learn: small, real, and always installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import Field

from learners.data.dataset import MultimodalDataset
from learners.data.sets.image_source import ImageOptions, Images, ImageSource, balanced
from netsim.core.streams import stream

DIGITS = tuple("0123456789")
SAMPLES, TEST = 1797, 297
DARKEST = 16  # darkest value of a pixel in scikit-learn's arrays


class DigitsOptions(ImageOptions):
    """The ``data`` block for ``digits``.

    Attributes:
        size: Height and width that the images of 8 x 8 are enlarged to, bilinearly [pixel].
    """

    size: int = Field(default=28, ge=8, le=512)


class Digits(ImageSource):
    """Handwritten digits included in scikit-learn: 1,500 to train on and 297 to test with, never missing."""

    Options = DigitsOptions
    options: DigitsOptions

    def check(self) -> None:
        """Do nothing: scikit-learn is installed with this package and contains the images."""

    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Read and enlarge the images; split and subsets are the same for every ``seed``.

        ``inputs["image"]`` is uint8 [images, 1, size, size].
        """
        return self._dataset("digits", DIGITS, *bundled_digits())


def bundled_digits(keep: slice = slice(None)) -> tuple[Images, Images]:
    """Return images to train on and to test with, uint8 [images, 1, 8, 8]; a balanced sixth is for testing.

    They are a part of NIST's and UCI's "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998).

    Args:
        keep: Slice of all 1,797 images, such as every other one.
    """
    import torch
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = np.rint(found.images[keep] * (255 / DARKEST)).astype(np.uint8)[:, None]
    images = Images(torch.from_numpy(pixels), found.target[keep].astype(np.int64))
    test = np.zeros(len(images), dtype=bool)
    test[
        balanced(images.labels, round(len(images) * TEST / SAMPLES), stream(0, "images", "digits", "split"))
    ] = True
    return images.at(np.flatnonzero(~test)), images.at(np.flatnonzero(test))
