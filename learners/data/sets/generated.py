"""Generated data from the run's seed, for studies of scale and speed: one Gaussian cloud per class."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import Field, PositiveInt

from learners.data.dataset import DataSource, MultimodalDataset
from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.streams import stream


class GeneratedOptions(Options):
    """Options of ``generated``."""

    samples: PositiveInt = Field(
        default=20_000, description="Samples to train on, of all devices together; the classes take turns."
    )
    test_samples: PositiveInt = Field(default=1_000, description="Samples to test on.")
    shape: tuple[PositiveInt, ...] = Field(
        default=(57,),
        min_length=1,
        description="Shape of a sample: [57] for vectors, [1, 28, 28] for images of noise.",
    )
    classes: int = Field(default=2, ge=2, description="How many classes there are.")
    separation: float = Field(
        default=2.0,
        ge=0,
        description="Distance between the means of any two classes, in standard deviations of a cloud; at 2, "
        "no classifier of two classes does better than 84.1 %.",
    )


class Generated(DataSource):
    """Gaussian clouds, one per class, drawn from the run's seed: data of any size, without meaning."""

    Options = GeneratedOptions
    MODALITIES = ("features",)
    options: GeneratedOptions

    def check(self) -> None:
        """Check that the classes fit into samples of that shape.

        Raises:
            ScenarioError: There are more classes than numbers in a sample.
        """
        numbers = math.prod(self.options.shape)
        if self.options.classes > numbers:
            raise ScenarioError(
                f"data.classes: must be at most the numbers in a sample, {numbers} for shape "
                f"{list(self.options.shape)} (got {self.options.classes})"
            )

    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Draw the clouds and the samples with ``seed``; nothing is read or kept.

        ``inputs["features"]`` is float32 [samples + test_samples, *shape], of variance 1 around its class's mean.
        It is no surrogate: it does not replace other data. The best classifier of two of C equally distant clouds,
        d apart, is right in Φ(d/2) of cases.
        """
        import torch

        self.check()
        options = self.options
        count = options.samples + options.test_samples
        means = class_means(options.classes, math.prod(options.shape), options.separation, seed)
        inputs = stream(seed, "generated", "samples").standard_normal((count, means.shape[1]), np.float32)
        for label, mean in enumerate(means):
            inputs[label :: options.classes] += mean
        return MultimodalDataset(
            name=f"generated data ({options.classes} Gaussian clouds)",
            classes=tuple(f"class {label}" for label in range(options.classes)),
            inputs={"features": torch.from_numpy(inputs).unflatten(1, options.shape)},
            labels=torch.arange(count) % options.classes,
            groups=np.zeros(count, dtype=np.int64),
            train=np.arange(options.samples),
            test=np.arange(options.samples, count),
        )


def class_means(classes: int, numbers: int, separation: float, seed: int) -> np.ndarray:
    """Draw means in random orthogonal directions, so that any two are ``separation`` apart.

    Args:
        classes: Number of classes, at most ``numbers``.
        numbers: Numbers in a sample.
        separation: Distance between any two means.
        seed: The run's seed.

    Returns:
        Means, float32 [classes, numbers].
    """
    directions = stream(seed, "generated", "means").standard_normal((numbers, classes))
    orthonormal, _ = np.linalg.qr(directions)  # [numbers, classes]
    return (separation / math.sqrt(2) * orthonormal.T).astype(np.float32)
