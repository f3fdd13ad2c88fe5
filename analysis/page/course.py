"""The course of a run: who computes, sends, waits and is dead, and how many at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.page.figure import Figure, layout, numbers
from analysis.plots.style import ACTIVITY, BLACK, PURPLE, VERMILION
from analysis.runs.run import Run
from analysis.runs.units import time_unit

COLOURS = {
    "waiting": "#DDDDDD",
    "computing": ACTIVITY["computing"],
    "sending": ACTIVITY["sending"],
    "away": PURPLE,
    "dead": VERMILION,
}
MOST_BARS = 8000
"""Bars that are drawn one by one; a run with more is drawn as shares of its devices."""

MOST_ROWS = 60
MOMENTS = 400


def periods(run: Run) -> pd.DataFrame:
    """Return who did what when: a row for each period; those of sending lie within rounds.

    Returns:
        Columns ``state`` (of ``COLOURS``), ``device``, ``start_s``, ``end_s``. ``waiting`` is a whole round or time
        outside rounds: what is not covered by the other states is waiting.
    """
    columns = ["device", "start_s", "end_s"]
    spending, rounds = run.spending, run.rounds
    end_s = spending["end_s"].max() if len(spending) else 0.0
    computed = rounds[rounds["compute_s"] > 0]
    compute_end_s = computed["compute_end_s"].fillna(computed["start_s"] + computed["compute_s"])
    computing = computed.assign(start_s=compute_end_s - computed["compute_s"], end_s=compute_end_s)
    died = spending[spending["outcome"] == "died"]
    later = _next_begin(spending, died, end_s)
    empty = run.outside[run.outside["outcome"] == "dead"]
    dead = pd.concat([died.assign(start_s=died["end_s"], end_s=later), empty])
    away = run.outside[run.outside["outcome"] == "away"]
    found = {
        "waiting": spending,
        "computing": computing,
        "sending": _sending(run),
        "away": away,
        "dead": dead,
    }
    tables = [table[columns].assign(state=state) for state, table in found.items() if len(table)]
    everything = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*columns, "state"])
    return everything[everything["end_s"] > everything["start_s"]]


def _next_begin(spending: pd.DataFrame, died: pd.DataFrame, end_s: float) -> list[float]:
    """Return for each death when the device did something again; the end of the run if never."""
    later = []
    for device, moment in zip(died["device"], died["end_s"], strict=True):
        starts = spending.loc[(spending["device"] == device) & (spending["start_s"] >= moment), "start_s"]
        later.append(float(starts.min()) if len(starts) else float(end_s))
    return later


def _sending(run: Run) -> pd.DataFrame:
    """Return the time from a device's first transfer of a round to its last one's end; without transfers, a guess."""
    sent = run.transfers[run.transfers["sender"].isin(run.devices["device"])]
    if len(sent) and run.has_all_transfers:
        grouped = sent.groupby(["sender", "round", "kind"])
        table = grouped.agg(start_s=("start_s", "min"), end_s=("end_s", "max")).reset_index()
        return table.rename(columns={"sender": "device"})
    rounds = run.rounds[run.rounds["sending_s"] > 0]
    start_s = rounds["compute_end_s"].fillna(rounds["start_s"])
    return rounds.assign(start_s=start_s, end_s=start_s + rounds["sending_s"])


def course(run: Run) -> Figure | None:
    """Return a Gantt chart of the devices, or of the shares of devices in each state if there are too many."""
    table = periods(run)
    if table.empty:
        return None
    factor, unit = time_unit(float(table["end_s"].max()))
    if len(table) <= MOST_BARS and len(run.devices) <= MOST_ROWS:
        return _gantt(run, table, factor, unit)
    return _shares(run, table, factor, unit)


def _gantt(run: Run, table: pd.DataFrame, factor: float, unit: str) -> Figure:
    traces: list[dict[str, Any]] = []
    for state, colour in COLOURS.items():
        own = table[table["state"] == state]
        if own.empty:
            continue
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": state,
                "y": own["device"].tolist(),
                "base": numbers(own["start_s"] / factor),
                "x": numbers((own["end_s"] - own["start_s"]) / factor),
                "marker": {"color": colour, "line": {"width": 0}},
                "width": 0.4 if state == "sending" else 0.8,
                "hovertemplate": f"device %{{y}}, {state} from %{{base}} {unit}, %{{x}} {unit} long<extra></extra>",
            }
        )
    rows = {"dtick": 1 if len(run.devices) <= 30 else 5, "autorange": "reversed"}
    says = (
        "Who computes, sends, waits and is dead. Drag over a part to see it closer; a double click goes back."
    )
    look = layout(
        f"Simulated time [{unit}]",
        "Device",
        yaxis=rows,
        barmode="overlay",
        height=160 + 22 * len(run.devices),
    )
    return Figure("course", "Who does what when", says, traces, look)


def _shares(run: Run, table: pd.DataFrame, factor: float, unit: str) -> Figure:
    moments = np.linspace(0.0, float(table["end_s"].max()), MOMENTS + 2)[1:-1]
    count, shares, left = len(run.devices), {}, np.full(MOMENTS, 1.0)
    for state in ("dead", "away", "computing", "sending"):
        own = table[table["state"] == state]
        started = np.searchsorted(np.sort(own["start_s"]), moments, side="right")
        ended = np.searchsorted(np.sort(own["end_s"]), moments, side="right")
        shares[state] = np.minimum((started - ended) / count, left)
        left = left - shares[state]
    shares["waiting"] = left
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "stackgroup": "one",
            "name": state,
            "x": numbers(moments / factor),
            "y": numbers(100 * share),
            "line": {"width": 0.5, "color": COLOURS[state]},
            "fillcolor": COLOURS[state],
        }
        for state, share in shares.items()
        if share.any()
    ]
    says = (
        f"How many of the {count:,} devices compute, send, wait and are dead, at {MOMENTS} moments: "
        f"{len(table):,} periods are too many to be drawn one by one."
    )
    look = layout(f"Simulated time [{unit}]", "Devices [%]", yaxis={"range": [0, 100]})
    return Figure("course", "Who does what when", says, traces, look)


def stragglers(run: Run) -> Figure | None:
    """Return how often each device was the last one of a round, to compute and to end."""
    from analysis.tables import straggler_counts

    counts = straggler_counts(run)
    if not counts[["times_last_computing", "times_last_ending"]].to_numpy().any():
        return None
    says = (
        "How often each device was the last of a round to end its computing, and the last to end the round."
    )
    if len(counts) > MOST_ROWS:
        often = counts[["times_last_computing", "times_last_ending"]].sum(axis=1)
        counts = counts.loc[often.nlargest(MOST_ROWS).index].sort_values("device")
        says += f" The {MOST_ROWS} devices that were last most often, of {len(run.devices):,}."
    traces = [
        {
            "type": "bar",
            "name": label,
            "x": counts["device"].astype(str).tolist(),
            "y": counts[column].tolist(),
            "marker": {"color": colour},
        }
        for label, column, colour in (
            ("computing", "times_last_computing", ACTIVITY["computing"]),
            ("the round", "times_last_ending", BLACK),
        )
    ]
    look = layout("Device", "Rounds", xaxis={"type": "category"}, barmode="group")
    return Figure("stragglers", "Stragglers", says, traces, look)
