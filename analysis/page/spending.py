"""Joules and seconds of the page: by device, over time, and the distribution of times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.page.figure import Figure, curve_line, layout, numbers
from analysis.plots.style import ACTIVITY
from analysis.plots.transfers import not_within
from analysis.runs.run import Run
from analysis.runs.units import energy_unit, largest, time_unit
from analysis.tables import ENERGY, energy_by_category

MOST_BARS = 120
POINTS = 300


def by_device(run: Run) -> Figure | None:
    """Return the energy of each device by category; means over groups of devices if they are many."""
    table = energy_by_category(run)
    if not table["total_j"].any():
        return None
    says = "What each device spent until the run ended."
    labels = table["device"].astype(str)
    if len(table) > MOST_BARS:
        group = np.arange(len(table)) * MOST_BARS // len(table)
        first, last = table.groupby(group)["device"].min(), table.groupby(group)["device"].max()
        labels = first.astype(str) + "–" + last.astype(str)
        says = f"What devices spent until the run ended: means over {MOST_BARS} groups of {len(table):,} devices."
        table = table.groupby(group).mean()
    factor, unit = energy_unit(largest(table["total_j"]))
    traces = [
        {
            "type": "bar",
            "name": name,
            "x": labels.tolist(),
            "y": numbers(table[column] / factor),
            "marker": {"color": ACTIVITY[name]},
        }
        for name, column in ENERGY.items()
        if table[column].any()
    ]
    look = layout("Device", f"Energy [{unit}]", xaxis={"type": "category"}, barmode="stack")
    return Figure("energy", "Energy by device", says, traces, look)


def over_time(run: Run) -> Figure | None:
    """Return the energy spent so far by category over simulated time, mean over devices."""
    spending = run.spending
    if spending.empty or not spending[list(ENERGY.values())].to_numpy().any():
        return None
    rows = spending.sort_values("end_s")
    moments = np.linspace(0.0, float(rows["end_s"].max()), POINTS + 1)
    at = np.searchsorted(rows["end_s"].to_numpy(), moments, side="right")
    factor, unit = energy_unit(float(rows[list(ENERGY.values())].to_numpy().sum()) / len(run.devices))
    seconds, hours = time_unit(float(moments[-1]))
    traces = []
    for name, column in ENERGY.items():
        total = np.concatenate([[0.0], np.cumsum(rows[column].to_numpy(dtype=float))])[at] / len(run.devices)
        if total.any():
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "stackgroup": "one",
                    "name": name,
                    "x": numbers(moments / seconds),
                    "y": numbers(total / factor),
                    "line": {"width": 0.5, "color": ACTIVITY[name], "shape": "hv"},
                }
            )
    says = "Energy of an average device so far. What a round cost is added at its end."
    return Figure(
        "spent", "Energy over time", says, traces, layout(f"Simulated time [{hours}]", f"Energy [{unit}]")
    )


def latency(run: Run) -> Figure | None:
    """Return the share of transfers, by kind, and of rounds that took longer than t, on logarithmic axes."""
    lengths = {"round": _lengths(run.asked, run.asked["outcome"] == "finished")}
    for kind, sent in run.transfers.groupby("kind"):
        lengths[f"{kind} transfer"] = _lengths(sent, sent["outcome"] == "delivered")
    lengths = {name: found for name, found in lengths.items() if len(found[0])}
    if not lengths:
        return None
    factor, unit = time_unit(float(np.median(np.concatenate([found for found, _ in lengths.values()]))))
    traces = [
        _tail(name, found / factor, unit, count, place)
        for place, (name, (found, count)) in enumerate(lengths.items())
    ]
    says = (
        "Share that took longer than t. A curve that becomes flat contains some that never ended. With Rayleigh fading "
        "the tail falls like 1/t, so a mean does not converge."
    )
    if not run.has_all_transfers:
        says += " The run kept only some of its transfers."
    axis: dict[str, Any] = {"type": "log", "exponentformat": "power", "dtick": 1}
    look = layout(f"t [{unit}]", "P(longer than t)", xaxis=axis, yaxis=axis)
    return Figure("latency", "Latency", says, traces, look)


def _lengths(rows: pd.DataFrame, ended: pd.Series) -> tuple[np.ndarray, int]:
    lengths = (rows["end_s"] - rows["start_s"])[ended].to_numpy(dtype=float)
    return lengths[lengths > 0], len(rows)


def _tail(name: str, lengths: np.ndarray, unit: str, count: int, place: int) -> dict[str, Any]:
    t, share = not_within(pd.Series(lengths), count)
    keep = np.unique(
        np.searchsorted(-share, -np.geomspace(1.0, max(share.min(), 1e-9), POINTS)).clip(0, len(t) - 1)
    )
    line = {**curve_line(place), "shape": "hv"}
    lost = f", {count - len(lengths):,} never ended" if count > len(lengths) else ""
    median = f"{np.median(lengths):.3g} {unit}"
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"{name}: {count:,}{lost}, median {median}",
        "x": numbers(t[keep]),
        "y": numbers(share[keep]),
        "line": line,
    }
