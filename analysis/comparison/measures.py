"""Numbers that runs are compared by: accuracy, hours, joules, and what it took to reach an accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.runs.run import Run
from analysis.tables import FUSED, accuracy_summary, energy_by_category, to_target


class Measure(NamedTuple):
    """A number of a run.

    Attributes:
        name: Column of tables, with the unit.
        heavy: Whether its mean may not exist: times and joules of transfers over fading links have no expectation, and
            a target that is never reached takes infinitely long. Then medians and ratios are compared.
        more_is_better: Whether a higher value is better.
    """

    name: str
    heavy: bool
    more_is_better: bool


LAST = Measure("accuracy [%]", False, True)
BEST = Measure("best accuracy [%]", False, True)
HOURS = Measure("hours", True, False)
JOULES = Measure("joules of a device", True, False)


def hours_to(target: float) -> Measure:
    """Return the measure of simulated hours to an accuracy from 0 to 1."""
    return Measure(f"hours to {100 * target:g} %", True, False)


def joules_to(target: float) -> Measure:
    """Return the measure of joules of an average device to an accuracy from 0 to 1."""
    return Measure(f"joules to {100 * target:g} %", True, False)


def measured(run: Run, targets: Sequence[float] = (), modality: str = FUSED) -> dict[Measure, float]:
    """Return the numbers of a run; infinite for a target that it did not reach, NaN for what was not measured."""
    summary = accuracy_summary(run).set_index("modality")
    known = modality in summary.index
    found = {
        LAST: 100 * float(summary.loc[modality, "last"]) if known else np.nan,  # type: ignore[arg-type]
        BEST: 100 * float(summary.loc[modality, "best"]) if known else np.nan,  # type: ignore[arg-type]
        HOURS: float(run.spending["end_s"].max()) / 3600,
        JOULES: float(energy_by_category(run)["total_j"].mean()),
    }
    reached = to_target(run, targets)
    reached = reached[reached["modality"] == modality].set_index("target")[["time_s", "energy_j"]]
    costs = {float(str(target)): row for target, row in zip(reached.index, reached.to_numpy(), strict=True)}
    for target in targets:
        time_s, energy_j = np.nan_to_num(costs.get(target, np.array([np.nan, np.nan])), nan=np.inf)
        found[hours_to(target)] = float(time_s) / 3600
        found[joules_to(target)] = float(energy_j)
    return found
