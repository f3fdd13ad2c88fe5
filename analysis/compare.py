"""Comparison of several runs: differences between learners, and between seeds of one learner."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.panels import accuracy_panels
from analysis.plots.style import curve_style, note_surrogate, styled
from analysis.runs.files import RunError
from analysis.runs.run import Run
from analysis.tables import FUSED, accuracy_by_round, accuracy_summary, energy_by_category, mean_over_time

NO_SETTINGS = {"seed", "name", "description", "jobs"}  # jobs: places where the real work runs
VALUES = ("best", "last", "time_s", "energy_j")


def compare_runs(runs: Sequence[Run], modality: str = FUSED) -> pd.DataFrame:
    """Return a table with one row per run.

    Returns:
        Columns ``learner`` (with the keys that differ, if a learner ran in several scenarios), ``seed``,
        ``rounds``, ``best`` and ``last`` accuracy, ``time_s`` (simulated, to the end of the last round [s])
        and ``energy_j`` (mean over the devices [J]).
    """
    rows = []
    for label, group in group_by_scenario(runs).items():
        for run in group:
            summary = accuracy_summary(run).set_index("modality")
            best, last = (
                summary.loc[modality, ["best", "last"]] if modality in summary.index else (np.nan, np.nan)
            )
            spent = energy_by_category(run)["total_j"].mean()
            rows.append(
                (label, run.seed, run.rounds["round"].max(), best, last, run.rounds["end_s"].max(), spent)
            )
    return pd.DataFrame(rows, columns=["learner", "seed", "rounds", *VALUES])


def compare(runs: Sequence[Run], modality: str = FUSED) -> pd.DataFrame:
    """Return a table with one row per learner: mean over its seeds and standard error of that mean.

    Returns:
        Columns ``learner``, ``seeds`` (their number), and for each of ``best``, ``last``, ``time_s`` and
        ``energy_j`` the mean under its own name and the error as ``se_<name>``; the error of one seed is NaN.

    Raises:
        RunError: Two of the runs are one scenario with one seed.
    """
    grouped = compare_runs(runs, modality).groupby("learner", sort=False)
    table = pd.DataFrame({"seeds": grouped["seed"].count()})
    for name in VALUES:
        table[name], table[f"se_{name}"] = grouped[name].mean(), grouped[name].sem()
    return table.reset_index()


@styled
def comparison_figure(runs: Sequence[Run], modality: str = FUSED) -> Figure | None:
    """Draw accuracy over rounds, time and energy per learner: mean over seeds, band of one standard error.

    A curve ends with the shortest run of its learner.
    """
    groups = group_by_scenario(runs)
    curves = {label: mean_curve(group, modality) for label, group in groups.items()}
    curves = {label: curve for label, curve in curves.items() if len(curve)}
    if not curves:
        return None
    styles = {label: curve_style(place) for place, label in enumerate(curves)}
    over_time = {label: mean_over_time(groups[label], modality) for label in curves}
    for curve in (*curves.values(), *over_time.values()):
        curve["low"], curve["high"] = curve["mean"] - curve["se"], curve["mean"] + curve["se"]
    band = "± standard error over seeds" if any(len(group) > 1 for group in groups.values()) else None
    figure = accuracy_panels(curves, styles, band, f"Accuracy ({modality}) [%]", over_time)
    note_surrogate(figure, *runs)
    return figure


def mean_curve(runs: Sequence[Run], modality: str = FUSED) -> pd.DataFrame:
    """Return the mean over runs of one scenario, at the rounds that all of them evaluated.

    Returns:
        Columns ``round``, ``mean``, ``se`` (standard error of the mean; NaN for one run), ``time_s``,
        ``energy_j``.
    """
    tables = [accuracy_by_round(run) for run in runs]
    together = pd.concat([table[table["modality"] == modality] for table in tables], ignore_index=True)
    grouped = together.groupby("round")
    curve = pd.DataFrame(
        {
            "mean": grouped["mean"].mean(),
            "se": grouped["mean"].sem(),
            "time_s": grouped["time_s"].mean(),
            "energy_j": grouped["energy_j"].mean(),
        }
    )
    return curve[grouped.size() == len(runs)].reset_index()


def group_by_scenario(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs that differ only in the seed, under the learner's name.

    If one learner ran in several scenarios, the name contains the keys that differ.

    Raises:
        RunError: Two of the runs are one scenario with one seed: they are not two samples.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(settings_of(run), sort_keys=True, default=str), []).append(run)
    for group in groups.values():
        refuse_repeats(group)
    firsts = [group[0] for group in groups.values()]
    return dict(zip(_labels(firsts), groups.values(), strict=True))


def refuse_repeats(group: Sequence[Run]) -> None:
    """Raise a RunError if two of the runs are one scenario with one seed."""
    seen: dict[object, Run] = {}
    for run in group:
        if run.seed in seen:
            raise RunError(
                f"{run.folder}: same scenario and same seed ({run.seed}) as {seen[run.seed].folder}; "
                "they are one sample, leave one out"
            )
        seen[run.seed] = run


def _labels(runs: Sequence[Run]) -> list[str]:
    labels = []
    for run in runs:
        namesakes = [other for other in runs if other.learner == run.learner]
        mine = settings_of(run)
        differing = [
            key for key in mine if any(settings_of(other).get(key) != mine[key] for other in namesakes)
        ]
        # Only the last word of a key: a legend needs "lr", not "learner.lr".
        told = ", ".join(f"{key.split('.')[-1]}={mine[key]}" for key in differing[:3])
        labels.append(f"{run.learner} ({told})" if told else run.learner)
    return [
        label if labels.count(label) == 1 else f"{label} #{place + 1}" for place, label in enumerate(labels)
    ]


def settings_of(run: Run) -> dict[str, Any]:
    """Return the settings of a run but the seed: the resolved scenario as one level of dotted keys."""
    flat = _flat({"learner_name": run.learner} | run.scenario)
    return {key: value for key, value in flat.items() if key.split(".")[0] not in NO_SETTINGS}


def _flat(block: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in block.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
