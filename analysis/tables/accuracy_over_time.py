"""Accuracy at instants of simulated time, whatever rounds devices are in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.runs.run import Run
from analysis.tables.accuracy import FUSED, measured
from analysis.tables.energy import ENERGY

Numbers = NDArray[np.float64]
MOST = 200
"""Instants of a curve."""


def accuracy_over_time(run: Run) -> pd.DataFrame:
    """Return the accuracy over devices at instants of time; each device has the value that it measured last.

    Devices can be in different rounds at one time, the more so where nobody waits for anybody: then the mean over a
    round is one over different times. A device that has died for good counts until then.

    Returns:
        Columns ``modality`` (as in ``accuracy_by_round``), ``time_s``, ``mean``, ``min``, ``max``, ``devices`` (number
        of those that have measured and are there), ``energy_j`` (what a device had spent by then [J], mean over all
        devices). Instants are those of the measurements, at most :data:`MOST` of them.
    """
    values = measured(run, "accuracy")
    order = [*dict.fromkeys([FUSED, *run.modalities, *values["modality"]])]
    tables = [_of(run, values[values["modality"] == modality], modality) for modality in order]
    found = [table for table in tables if len(table)]
    columns = ["modality", "time_s", "mean", "min", "max", "devices", "energy_j"]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def _of(run: Run, values: pd.DataFrame, modality: str) -> pd.DataFrame:
    instants = np.unique(values["time_s"].to_numpy(dtype=float))
    if len(instants) > MOST:
        instants = instants[np.linspace(0, len(instants) - 1, MOST).round().astype(int)]
    last = run.spending.sort_values("end_s").groupby("device")[["outcome", "end_s"]].last()
    gone_s = last.loc[last["outcome"] == "died", "end_s"]
    each = []
    for device, own in values.sort_values("time_s", kind="stable").groupby("device"):
        there = carried(own["time_s"].to_numpy(dtype=float), own["value"].to_numpy(dtype=float), instants)
        there[instants > gone_s.get(device, np.inf)] = np.nan
        each.append(there)
    table = pd.DataFrame(np.array(each).reshape(len(each), len(instants)))
    return pd.DataFrame(
        {
            "modality": modality,
            "time_s": instants,
            "mean": table.mean(),
            "min": table.min(),
            "max": table.max(),
            "devices": table.notna().sum(),
            "energy_j": spent_j(run, instants),
        }
    ).dropna(subset="mean")


def spent_j(run: Run, instants: Numbers) -> Numbers:
    """Return what a device had spent by each instant [J], mean over all; in a row it spends evenly."""
    rows = run.spending[run.spending["device"].isin(run.devices["device"])]
    begin_s, end_s = (rows[column].to_numpy(dtype=float) for column in ("start_s", "end_s"))
    joules = rows[list(ENERGY.values())].sum(axis=1).to_numpy(dtype=float)
    lasting = end_s > begin_s
    power_w = joules[lasting] / (end_s - begin_s)[lasting]
    times_s = np.concatenate([begin_s[lasting], end_s[lasting]])
    order = times_s.argsort(kind="stable")
    times_s, steps_w = times_s[order], np.concatenate([power_w, -power_w])[order]
    spent = np.concatenate([[0.0], np.cumsum(np.cumsum(steps_w)[:-1] * np.diff(times_s))])
    found = np.interp(instants, times_s, spent[: len(times_s)]) if len(times_s) else np.zeros(len(instants))
    order = end_s[~lasting].argsort()
    at_once = np.append(0.0, np.cumsum(joules[~lasting][order]))
    found = found + at_once[np.searchsorted(end_s[~lasting][order], instants, side="right")]
    return found / max(len(run.devices), 1)


def carried(times_s: Numbers, values: Numbers, instants: Numbers) -> Numbers:
    """Return the value at the last of ``times_s``, ascending, that is not later than each instant; NaN before them."""
    places = np.searchsorted(times_s, instants, side="right")
    return np.append(np.nan, values)[places]


def mean_over_time(runs: Sequence[Run], modality: str = FUSED) -> pd.DataFrame:
    """Return the mean over runs at common instants, from when all have measured until the first of them ends.

    Returns:
        Columns ``time_s``, ``mean``, ``se`` (standard error of the mean; NaN for one run), ``energy_j``.
    """
    tables = [accuracy_over_time(run) for run in runs]
    tables = [table[table["modality"] == modality] for table in tables]
    if any(table.empty for table in tables):
        return pd.DataFrame(columns=["time_s", "mean", "se", "energy_j"])
    begin_s = max(table["time_s"].iloc[0] for table in tables)
    end_s = max(begin_s, min(table["time_s"].iloc[-1] for table in tables))
    every = np.unique(np.concatenate([table["time_s"].to_numpy(dtype=float) for table in tables]))
    instants = every[(every >= begin_s) & (every <= end_s)]
    if len(instants) > MOST:
        instants = instants[np.linspace(0, len(instants) - 1, MOST).round().astype(int)]
    found = {
        name: pd.DataFrame(
            [
                carried(table["time_s"].to_numpy(dtype=float), table[name].to_numpy(dtype=float), instants)
                for table in tables
            ]
        )
        for name in ("mean", "energy_j")
    }
    return pd.DataFrame(
        {
            "time_s": instants,
            "mean": found["mean"].mean(),
            "se": found["mean"].sem(),
            "energy_j": found["energy_j"].mean(),
        }
    )
