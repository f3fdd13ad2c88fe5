"""Tables of a comparison: groups side by side, and their paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparison.groups import pairs
from analysis.comparison.measures import Measure, measured
from analysis.runs.run import Run
from analysis.runs.terminal import cell, with_error
from analysis.runs.units import UNITS, choose
from analysis.tables import FUSED

LEVEL = 0.95
"""Of confidence intervals."""


def side_by_side(
    groups: Mapping[str, Sequence[Run]], targets: Sequence[float] = (), modality: str = FUSED
) -> pd.DataFrame:
    """Return a row a group: accuracies as mean ± standard error over seeds, time and energy as median (range).

    Returns:
        Columns ``group``, ``seeds`` and one of text a measure, such as ``accuracy [%]``.
    """
    found = {label: [measured(run, targets, modality) for run in runs] for label, runs in groups.items()}
    scales = _scales([one for own in found.values() for one in own])
    rows = []
    for label, own in found.items():
        row: dict[str, object] = {"group": label, "seeds": len(own)}
        for measure in own[0]:
            factor, unit = scales[measure.units]
            values = np.array([one[measure] for one in own]) / factor
            row[f"{measure.name} [{unit}]" if unit else measure.name] = _told(measure, values)
        rows.append(row)
    return pd.DataFrame(rows)


def _scales(found: Sequence[Mapping[Measure, float]]) -> dict[str, tuple[float, str]]:
    """Return factor and name of the unit of times and of energies, which suits the typical value."""
    scales = {"": (1.0, "")}
    for units, choice in UNITS.items():
        values = [value for one in found for measure, value in one.items() if measure.units == units]
        known = [value for value in values if np.isfinite(value) and value > 0]
        scales[units] = choose(choice, float(np.median(known)) if known else 1.0)
    return scales


def _told(measure: Measure, values: np.ndarray) -> str:
    if not measure.heavy:
        known = values[np.isfinite(values)]
        if not len(known):
            return "–"
        return with_error(float(known.mean()), float(stats.sem(known)) if len(known) > 1 else math.nan)
    reached = values[np.isfinite(values)]
    if not len(reached):
        return "never"
    # An inverted CDF takes values that are there, so infinite ones need no interpolation.
    median = float(np.quantile(values, 0.5, method="inverted_cdf"))
    told = (
        cell(median) if len(values) == 1 else f"{cell(median)} ({cell(values.min())} to {cell(values.max())})"
    )
    return told if len(reached) == len(values) else f"{told}, {len(reached)} of {len(values)}"


class Difference(NamedTuple):
    """A group's difference from the reference in a measure, over seeds that both have.

    Attributes:
        group: The group.
        measure: What is compared.
        pairs: Number of seeds that both have, with a value in both.
        value: Mean difference [points]; of a heavy measure the ratio of geometric means, group over reference.
        low: Lower end of the confidence interval.
        high: Upper end.
        p: Two-sided p of Student's paired t test, of differences or of logarithms; NaN with fewer than two pairs.
        corrected: p after Holm's correction for all differences of the comparison.
    """

    group: str
    measure: Measure
    pairs: int
    value: float
    low: float
    high: float
    p: float
    corrected: float


def differences(
    groups: Mapping[str, Sequence[Run]],
    reference: str,
    targets: Sequence[float] = (),
    modality: str = FUSED,
) -> list[Difference]:
    """Return how each group differs from ``reference``, paired by seed.

    Runs of one seed have the same partition, positions and fading, so much of what differs between seeds cancels.
    Accuracies are compared by differences. Times and energies are compared by ratios, as differences of logarithms,
    for these have a variance even where the values have no mean. p values are corrected for their number (Holm 1979).
    """
    known = {id(run): measured(run, targets, modality) for runs in groups.values() for run in runs}
    found = []
    for label, runs in groups.items():
        if label == reference:
            continue
        both = pairs(runs, groups[reference])
        for measure in known[id(runs[0])]:
            ours, theirs = (np.array([known[id(pair[at])][measure] for pair in both]) for at in (0, 1))
            found.append(_difference(label, measure, ours, theirs))
    corrected = holm([one.p for one in found])
    return [one._replace(corrected=p) for one, p in zip(found, corrected, strict=True)]


def _difference(label: str, measure: Measure, ours: np.ndarray, theirs: np.ndarray) -> Difference:
    usable = np.isfinite(ours) & np.isfinite(theirs)
    if measure.heavy:
        usable &= (ours > 0) & (theirs > 0)
    ours, theirs = ours[usable], theirs[usable]
    gaps = np.log(ours / theirs) if measure.heavy else ours - theirs
    back = math.exp if measure.heavy else float
    if not len(gaps):
        return Difference(label, measure, 0, *(math.nan,) * 5)
    mean = float(gaps.mean())
    if len(gaps) < 2:
        return Difference(label, measure, 1, back(mean), *(math.nan,) * 4)
    if np.ptp(gaps) <= 1e-12 * max(1.0, abs(mean)):  # no spread: the same difference with every seed
        p = 1.0 if abs(mean) <= 1e-12 else 0.0
        return Difference(label, measure, len(gaps), back(mean), back(mean), back(mean), p, p)
    test = stats.ttest_1samp(gaps, 0.0)
    low, high = test.confidence_interval(LEVEL)
    return Difference(
        label, measure, len(gaps), back(mean), back(low), back(high), float(test.pvalue), math.nan
    )


def holm(p: Sequence[float]) -> list[float]:
    """Return p values corrected for their number by Holm's step-down method (Holm 1979); NaN stays NaN."""
    values = np.array(p, dtype=float)
    order = [int(at) for at in np.argsort(values) if np.isfinite(values[at])]
    corrected, most = np.full(len(values), math.nan), 0.0
    for place, at in enumerate(order):
        most = max(most, min(1.0, values[at] * (len(order) - place)))
        corrected[at] = most
    return corrected.tolist()


def difference_table(found: Sequence[Difference], reference: str) -> pd.DataFrame:
    """Return differences as text: columns ``group``, ``measure``, ``pairs``, ``against <reference>``, ``p (Holm)``."""
    rows = []
    for one in found:
        if not one.pairs:
            told = "no seed in both with a value"
        elif one.measure.heavy:
            told = f"× {one.value:.3g}"
            told += f" ({one.low:.3g} to {one.high:.3g})" if math.isfinite(one.low) else ""
        else:
            told = f"{one.value:+.2f}"
            told += f" ({one.low:+.2f} to {one.high:+.2f})" if math.isfinite(one.low) else ""
        p = (
            "–"
            if math.isnan(one.corrected)
            else "<0.001"
            if one.corrected < 0.001
            else f"{one.corrected:.3f}"
        )
        rows.append((one.group, one.measure.name, one.pairs, told, p))
    columns = ["group", "measure", "pairs", f"against {reference}, {100 * LEVEL:.0f} % interval", "p (Holm)"]
    return pd.DataFrame(rows, columns=columns)
