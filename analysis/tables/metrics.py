"""Tables of all metrics of a learner."""

from __future__ import annotations

import pandas as pd

from analysis.runs.run import Run
from analysis.tables.accuracy import FUSED, measured

WITH_A_TABLE_OF_ITS_OWN = "accuracy"


def metric_names(run: Run) -> list[str]:
    """Return the run's metrics but the accuracy: first in the order of the learner's descriptions, then by name."""
    found = {str(name) for name in run.metrics.dropna(subset="value")["name"]} - {WITH_A_TABLE_OF_ITS_OWN}
    explained = [name for name in run.explained if name in found]
    return explained + sorted(found - set(explained))


def metric_by_round(run: Run, name: str) -> pd.DataFrame:
    """Return a metric after each round, over the devices that measured it.

    Returns:
        Columns ``round``, ``modality``, ``mean``, ``min``, ``max``; the fused values first, then by modality.
    """
    grouped = measured(run, name).groupby(["round", "modality"])["value"]
    table = grouped.agg(["mean", "min", "max"]).reset_index()
    table["place"] = table["modality"] != FUSED
    return table.sort_values(["place", "modality", "round"]).drop(columns="place").reset_index(drop=True)


def metric_summary(run: Run) -> pd.DataFrame:
    """Return first, last, lowest and highest value of each metric.

    Returns:
        Columns ``metric``, ``modality``, ``first``, ``last``, ``lowest``, ``highest`` (of the means over devices, by
        round) and ``meaning`` (the learner's description).
    """
    rows = []
    for name in metric_names(run):
        for modality, curve in metric_by_round(run, name).groupby("modality", sort=False):
            means = curve["mean"]
            ends = (means.iloc[0], means.iloc[-1], means.min(), means.max())
            rows.append((name, modality, *ends, run.explained.get(name, "")))
    return pd.DataFrame(rows, columns=["metric", "modality", "first", "last", "lowest", "highest", "meaning"])
