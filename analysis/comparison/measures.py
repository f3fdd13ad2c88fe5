"""Numbers that runs are compared by: accuracy, time, energy, and what it took to reach an accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.runs.run import Run
from analysis.tables import FUSED, accuracy_summary, energy_by_category, to_target


class Measure(NamedTuple):
    """A number of a run.

    Attributes:
        name: Name in tables.
        heavy: Whether its mean may not exist: times and joules of transfers over fading links have no expectation, and
            a target that is never reached takes infinitely long. Then medians and ratios are compared.
        units: Units to choose from for a table, as in :mod:`analysis.runs.units`; values here are SI.
    """

    name: str
    heavy: bool
    units: str = ""


LAST = Measure("accuracy [%]", False)
BEST = Measure("best accuracy [%]", False)
TIME = Measure("time", True, "_s")
ENERGY = Measure("energy of a device", True, "_j")


def time_to(target: float) -> Measure:
    """Return the measure of simulated time to an accuracy from 0 to 1."""
    return Measure(f"time to {100 * target:g} %", True, "_s")


def energy_to(target: float) -> Measure:
    """Return the measure of the energy of an average device to an accuracy from 0 to 1."""
    return Measure(f"energy to {100 * target:g} %", True, "_j")


def measured(run: Run, targets: Sequence[float] = (), modality: str = FUSED) -> dict[Measure, float]:
    """Return the numbers of a run; infinite for a target that it did not reach, NaN for what was not measured."""
    summary = accuracy_summary(run).set_index("modality")
    known = modality in summary.index
    found = {
        LAST: 100 * float(summary.loc[modality, "last"]) if known else np.nan,  # type: ignore[arg-type]
        BEST: 100 * float(summary.loc[modality, "best"]) if known else np.nan,  # type: ignore[arg-type]
        TIME: float(run.spending["end_s"].max()),
        ENERGY: float(energy_by_category(run)["total_j"].mean()),
    }
    reached = to_target(run, targets)
    reached = reached[reached["modality"] == modality].set_index("target")[["time_s", "energy_j"]]
    costs = {float(str(target)): row for target, row in zip(reached.index, reached.to_numpy(), strict=True)}
    for target in targets:
        time_s, energy_j = np.nan_to_num(costs.get(target, np.array([np.nan, np.nan])), nan=np.inf)
        found[time_to(target)] = float(time_s)
        found[energy_to(target)] = float(energy_j)
    return found
