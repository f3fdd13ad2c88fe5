"""Tables of accuracy, with its time and energy."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.runs.run import Run
from analysis.tables.energy import cumulative_energy

FUSED = "fused"
"""Name of all modalities of a device together; the records have an empty text for it."""


def measured(run: Run, name: str) -> pd.DataFrame:
    """Return the rows of metric ``name``, one per device, round and modality.

    If no device has values of its own, as with one central model, values of the whole network (device -1) are returned.
    """
    rows = run.metrics[run.metrics["name"] == name].dropna(subset="value")
    of_devices = rows[rows["device"] >= 0]
    rows = of_devices if len(of_devices) else rows
    return rows.assign(modality=rows["modality"].fillna("").replace("", FUSED))


def accuracy_by_round(run: Run) -> pd.DataFrame:
    """Return the accuracy over devices after each evaluated round.

    Returns:
        Columns ``round``, ``modality`` (``fused``, or one modality alone), ``mean``, ``std``, ``min``,
        ``max`` over the devices (all of them, so the population's deviation), ``devices`` (number of
        devices that measured), ``time_s`` (mean simulated time of the measurement [s]) and ``energy_j`` (energy that
        a device had spent by the end of that round [J], mean over all devices, the dead included).
    """
    grouped = measured(run, "accuracy").groupby(["round", "modality"])
    table = grouped.agg(
        mean=("value", "mean"),
        std=("value", lambda values: values.std(ddof=0)),
        min=("value", "min"),
        max=("value", "max"),
        devices=("device", "nunique"),
        time_s=("time_s", "mean"),
    ).reset_index()
    spent = cumulative_energy(run).mean(axis=1)
    evaluated = spent.index.union(pd.Index(table["round"]).unique())
    spent = spent.reindex(evaluated).ffill().fillna(0.0)  # before the first round nothing is spent
    order = {modality: place for place, modality in enumerate([FUSED, *run.modalities])}
    table = table.assign(
        energy_j=table["round"].map(spent).astype(float),
        place=table["modality"].map(order),
    )
    return table.sort_values(["round", "place", "modality"]).drop(columns="place").reset_index(drop=True)


def accuracy_summary(run: Run) -> pd.DataFrame:
    """Return best and last accuracy, fused and by modality, with round, time and energy of the best.

    Returns:
        Columns ``modality``, ``best``, ``best_round``, ``best_time_s``, ``best_energy_j``, ``last``,
        ``last_round``.
    """
    rows = []
    for modality, curve in accuracy_by_round(run).groupby("modality", sort=False):
        best, last = curve.iloc[int(curve["mean"].argmax())], curve.iloc[-1]
        when = (best["round"], best["time_s"], best["energy_j"])
        rows.append((modality, best["mean"], *when, last["mean"], last["round"]))
    names = ["modality", "best", "best_round", "best_time_s", "best_energy_j", "last", "last_round"]
    return pd.DataFrame(rows, columns=names)


def to_target(run: Run, targets: Sequence[float]) -> pd.DataFrame:
    """Return round, time and energy at which the mean accuracy first reached each target.

    Returns:
        Columns ``modality``, ``target``, ``round``, ``time_s`` [s], ``energy_j`` (per device [J]); NaN where
        a target was never reached.
    """
    rows = []
    for modality, curve in accuracy_by_round(run).groupby("modality", sort=False):
        for target in targets:
            reached = curve[curve["mean"] >= target]
            first = reached.iloc[0] if len(reached) else pd.Series(dtype=float)
            rows.append((modality, target, *(first.get(key, float("nan")) for key in _COSTS)))
    return pd.DataFrame(rows, columns=["modality", "target", *_COSTS])


_COSTS = ("round", "time_s", "energy_j")


def energy_per_accuracy(run: Run) -> pd.DataFrame:
    """Return the energy of each gain of the fused accuracy: one row per new best.

    Returns:
        Columns ``round``, ``time_s``, ``energy_j``, ``accuracy``, ``gained_points`` (percentage points since
        the best before it), ``spent_since_j`` and ``per_point_j`` (their ratio: joules of one device for one
        percentage point). The first row has nothing before it, so its last three are NaN.
    """
    curve = accuracy_by_round(run)
    curve = curve[curve["modality"] == FUSED]
    best = curve[curve["mean"] > curve["mean"].cummax().shift(fill_value=float("-inf"))]
    table = best[["round", "time_s", "energy_j"]].assign(accuracy=best["mean"])
    table["gained_points"] = 100 * table["accuracy"].diff()
    table["spent_since_j"] = table["energy_j"].diff()
    table["per_point_j"] = table["spent_since_j"] / table["gained_points"]
    return table.reset_index(drop=True)
