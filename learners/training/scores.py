"""Metrics of predictions on test samples: found by name, on arrays and without PyTorch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import netsim.core.options
from netsim.core.options import NoOptions

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Predictions of n test samples.

    Attributes:
        probabilities: Of each class, [n, C].
        labels: The right classes, int64 [n].
        weights: How much each sample counts, [n]; they sum to 1.
        classes: Names of the classes.
    """

    probabilities: Floats
    labels: NDArray[np.int64]
    weights: Floats
    classes: tuple[str, ...]

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Return the most probable class of each sample, [n]."""
        return self.probabilities.argmax(1)

    @cached_property
    def matrix(self) -> Floats:
        """Return the weight of the samples by right class and predicted class, [C, C]."""
        count = self.probabilities.shape[1]
        found = np.bincount(self.labels * count + self.predicted, self.weights, count**2)
        return found.reshape(count, count).astype(np.float64)

    @property
    def there(self) -> list[int]:
        """Return the classes that samples are of."""
        return np.flatnonzero(self.matrix.sum(1)).tolist()

    def name(self, number: int) -> str:
        """Return the name of a class; its number if it is none of the data set's."""
        return self.classes[number] if number < len(self.classes) else str(number)


@dataclass(frozen=True)
class Predicted:
    """Predictions of real numbers for n test samples.

    Attributes:
        values: What was predicted, [n].
        targets: The right numbers, [n].
        weights: How much each sample counts, [n]; they sum to 1.
    """

    values: Floats
    targets: Floats
    weights: Floats


class Score(ABC):
    """A metric of an evaluation; its name in a scenario is its name in the records, or else its class's name.

    It is about classes; one about real numbers is a :class:`RealScore`.

    Attributes:
        Options: The model of its block in the scenario.
    """

    Options: ClassVar[type[netsim.core.options.Options]] = NoOptions

    def __init__(self, options: netsim.core.options.Options) -> None:
        self.options = options

    @abstractmethod
    def values(self, scored: Any) -> Mapping[str, float]:
        """Return its values, each by what it is about, such as a class; by an empty text what is about everything.

        Args:
            scored: A :class:`Scored`; of a :class:`RealScore` a :class:`Predicted`.
        """


class RealScore(Score):
    """A metric of predictions of real numbers; its ``values`` take a :class:`Predicted`."""


class MSE(RealScore):
    """Mean squared error of predicted numbers."""

    def values(self, predicted: Predicted) -> Mapping[str, float]:
        """Return Σ_i w_i (y_i − t_i)²."""
        return {"": float(predicted.weights @ (predicted.values - predicted.targets) ** 2)}


class MAE(RealScore):
    """Mean absolute error of predicted numbers."""

    def values(self, predicted: Predicted) -> Mapping[str, float]:
        """Return Σ_i w_i |y_i − t_i|."""
        return {"": float(predicted.weights @ np.abs(predicted.values - predicted.targets))}


class R2(RealScore):
    """Part of the variance of the right numbers that predicted ones explain (R²); 0 for their mean, 1 at best."""

    def values(self, predicted: Predicted) -> Mapping[str, float]:
        """Return 1 − Σ w (y − t)²/Σ w (t − t̄)²; NaN where all right numbers are the same."""
        mean = predicted.weights @ predicted.targets
        spread = float(predicted.weights @ (predicted.targets - mean) ** 2)
        left = float(predicted.weights @ (predicted.values - predicted.targets) ** 2)
        return {"": 1 - left / spread if spread else float("nan")}


class ClassAccuracy(Score):
    """Part of a class's samples that is predicted as such (recall), by class."""

    def values(self, scored: Scored) -> Mapping[str, float]:
        """Return M_cc/Σ_j M_cj of each class that has samples."""
        matrix = scored.matrix
        return {scored.name(c): float(matrix[c, c] / matrix[c].sum()) for c in scored.there}


class MacroF1(Score):
    """F1, the harmonic mean of precision and recall, mean over the classes that samples are or are predicted of."""

    def values(self, scored: Scored) -> Mapping[str, float]:
        """Return the mean of 2 M_cc/(Σ_j M_cj + Σ_j M_jc)."""
        both = scored.matrix.sum(1) + scored.matrix.sum(0)
        return {"": float(np.mean(2 * scored.matrix.diagonal()[both > 0] / both[both > 0]))}


class AUC(Score):
    """Area under the ROC curve, one class against the rest, mean over the classes that samples are of."""

    def values(self, scored: Scored) -> Mapping[str, float]:
        """Return the mean probability that a sample of a class is given more of it than one of the rest.

        Ties are a half (Mann-Whitney). NaN where all samples are of one class.
        """
        if len(scored.there) < 2:
            return {"": float("nan")}
        areas = [
            area_under_curve(scored.probabilities[:, c], scored.labels == c, scored.weights)
            for c in scored.there
        ]
        return {"": float(np.mean(areas))}


def area_under_curve(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> float:
    """Return the probability that a positive sample has a larger score than a negative one; ties are a half."""
    _, place = np.unique(scores, return_inverse=True)
    above = np.bincount(place, weights * positive)
    below = np.bincount(place, weights * ~positive)
    smaller = np.cumsum(below) - below
    return float((above * (smaller + below / 2)).sum() / (above.sum() * below.sum()))


class Confusion(Score):
    """Confusion matrix: part of all samples by right and predicted class, as right>predicted; those that are not 0."""

    def values(self, scored: Scored) -> Mapping[str, float]:
        """Return M_ij/Σ M."""
        return {
            f"{scored.name(i)}>{scored.name(j)}": float(scored.matrix[i, j])
            for i, j in np.argwhere(scored.matrix).tolist()
        }


class CalibrationError(Score):
    """Expected calibration error: how far confidence is from accuracy, mean over bins (Guo et al. 2017, eq. 3)."""

    class Options(netsim.core.options.Options):
        """Block of metric ``calibration_error``."""

        bins: int = Field(
            default=15, ge=1, description="bins of equal width that confidences are sorted into"
        )

    options: CalibrationError.Options

    def values(self, scored: Scored) -> Mapping[str, float]:
        """Return Σ_b |Σ_{i in b} w_i (right_i − confidence_i)|, bins being (b/B, (b + 1)/B]."""
        confidence = scored.probabilities.max(1)
        gap = scored.weights * ((scored.predicted == scored.labels) - confidence)
        bins = np.clip(np.ceil(confidence * self.options.bins).astype(int) - 1, 0, None)
        return {"": float(np.abs(np.bincount(bins, gap)).sum())}


class Brier(Score):
    """Mean squared error of the probabilities, sum over classes (Brier 1950)."""

    def values(self, scored: Scored) -> Mapping[str, float]:
        """Return Σ_i w_i Σ_c (p_ic − [c is right])²."""
        wrong = scored.probabilities.copy()
        wrong[np.arange(len(wrong)), scored.labels] -= 1
        return {"": float(scored.weights @ (wrong**2).sum(1))}
