"""Tables of stragglers: the last device of each round, and the waiting of the others."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.runs.run import Run


def stragglers(run: Run) -> pd.DataFrame:
    """Return for each round the device that finished computing last, the device that ended it last, and their delays.

    Behind the next: the time by which the round would have been shorter without this delay. Behind the median: the
    delay relative to a typical device. A device whose computing never ended (it was cut off or died) cannot be the
    last to compute; ``unfinished`` counts such devices. Devices that a server did not choose are left out.

    Returns:
        Columns ``round``, ``last_computing`` (device), ``computing_behind_next_s``,
        ``computing_behind_median_s``, ``last_ending`` (device), ``ending_behind_next_s``,
        ``ending_behind_median_s``, ``slowdown`` (of the device last to compute), ``others_idle_s`` (mean idle
        time of all others in that round) and ``unfinished``. NaN where a round has no second device.
    """
    rows = [_round_row(number, devices) for number, devices in run.asked.groupby("round")]
    return pd.DataFrame(rows, columns=_COLUMNS)


def straggler_counts(run: Run) -> pd.DataFrame:
    """Return for each device the number of times it was last and the total delay; ties count for no device.

    Returns:
        Columns ``device``, ``times_last_computing``, ``times_last_ending``, ``computing_behind_next_s`` and
        ``ending_behind_next_s`` (summed over the rounds in which it was the last), ``median_slowdown``.
    """
    last = stragglers(run)
    table = pd.DataFrame(index=run.devices["device"])
    for what in ("computing", "ending"):
        behind = last[last[f"{what}_behind_next_s"] > 0].groupby(f"last_{what}")[f"{what}_behind_next_s"]
        table[f"times_last_{what}"] = behind.size()
        table[f"{what}_behind_next_s"] = behind.sum()
    table = table.fillna(0.0).astype({"times_last_computing": int, "times_last_ending": int})
    return table.assign(median_slowdown=run.asked.groupby("device")["slowdown"].median()).reset_index()


ROUNDING = 1e-9
"""Moments that differ by less than this share of the clock are equal: the difference is a rounding error."""

_COLUMNS = [
    "round",
    "last_computing",
    "computing_behind_next_s",
    "computing_behind_median_s",
    "last_ending",
    "ending_behind_next_s",
    "ending_behind_median_s",
    "slowdown",
    "others_idle_s",
    "unfinished",
]


def _round_row(number: object, devices: pd.DataFrame) -> list[object]:
    by_device = devices.sort_values("device").set_index("device")
    computing = _last(by_device["compute_end_s"].dropna())
    ending = _last(by_device["end_s"])
    slowdown = by_device["slowdown"].get(computing[0], float("nan"))
    idle = by_device["idle_s"].drop(ending[0]).mean()
    return [number, *computing, *ending, slowdown, idle, int(by_device["compute_end_s"].isna().sum())]


def _last(moments: pd.Series) -> tuple[Any, float, float]:
    """Return the last device, its delay behind the next and behind the median; the lower number wins a tie."""
    if moments.empty:
        return (float("nan"),) * 3
    latest = moments.max()
    others = moments.drop(moments.idxmax())
    behind_next = latest - others.max() if len(others) else float("nan")
    behind_median = latest - moments.median() if len(others) else float("nan")
    if behind_next <= ROUNDING * abs(latest):
        behind_next = 0.0
    return moments.idxmax(), behind_next, behind_median
