"""Curves of the page: accuracy over rounds, hours and joules, and every other metric over rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.page.figure import Figure, band, layout, modality_lines, numbers
from analysis.plots.style import GREY
from analysis.runs.run import Run
from analysis.runs.units import energy_unit, largest, time_unit
from analysis.tables import (
    FUSED,
    accuracy_by_round,
    accuracy_over_time,
    cumulative_energy,
    metric_by_round,
    metric_names,
)
from analysis.tables.accuracy import measured

MOST_DEVICES = 40
"""With more devices the page draws no curve of each, but only the band from the lowest to the highest."""


def accuracy(run: Run) -> Figure | None:
    """Return accuracy over rounds, simulated time or energy: mean, band from lowest to highest device, each device."""
    table = accuracy_by_round(run)
    if table.empty:
        return None
    over = accuracy_over_time(run)
    seconds, hours = time_unit(largest(over["time_s"]))
    joules, energy = energy_unit(largest(over["energy_j"]))
    traces: list[dict[str, Any]] = []
    lines = modality_lines(table["modality"].unique())
    for modality, curve in table.groupby("modality", sort=False):
        name = str(modality)
        later = over[over["modality"] == modality]
        xs = {
            "round": curve["round"].tolist(),
            "time": numbers(later["time_s"] / seconds),
            "energy": numbers(later["energy_j"] / joules),
        }
        line = lines[name]
        low, mean, high = (_over(curve, later, column) for column in ("min", "mean", "max"))
        own = band(name, xs["round"], low["round"], high["round"], line["color"], {"xs": xs})
        own.append(_line(name, xs, mean["round"], line))
        for trace, ys in zip(own, (low, high, mean), strict=True):
            trace["meta"] = {**trace["meta"], "ys": ys}
        traces += own
    says = "Test accuracy: mean over devices, with a band from the lowest device to the highest."
    if len(run.devices) <= MOST_DEVICES:
        traces += _each_device(run, seconds, joules)
        says += " Choose 'each device' in the legend to see them one by one."
    choices = {
        "round": "Round",
        "time": f"Simulated time [{hours}]",
        "energy": f"Energy per device [{energy}]",
    }
    return Figure("accuracy", "Accuracy", says, traces, layout("Round", "Accuracy [%]"), choices)


def _over(by_round: pd.DataFrame, over_time: pd.DataFrame, column: str) -> dict[str, list[float | None]]:
    """Return percentages over rounds, time and energy."""
    later = numbers(100 * over_time[column])
    return {"round": numbers(100 * by_round[column]), "time": later, "energy": later}


def _line(name: str, xs: dict[str, list[Any]], y: list[float | None], line: dict[str, Any]) -> dict[str, Any]:
    shown = {"type": "scatter", "mode": "lines+markers" if len(y) < 30 else "lines", "name": name}
    return {
        **shown,
        "x": xs["round"],
        "y": y,
        "line": {**line, "width": 2},
        "legendgroup": name,
        "meta": {"xs": xs},
    }


def _each_device(run: Run, seconds: float, joules: float) -> list[dict[str, Any]]:
    """Return a thin curve of the fused accuracy of each device, hidden until the reader asks for them."""
    values = measured(run, "accuracy")
    values = values[(values["modality"] == FUSED) & (values["device"] >= 0)]
    spent = cumulative_energy(run)
    traces = []
    for place, (device, own) in enumerate(values.groupby("device")):
        energy = spent[device].reindex(own["round"]) if device in spent else own["time_s"] * float("nan")
        xs = {
            "round": own["round"].tolist(),
            "time": numbers(own["time_s"] / seconds),
            "energy": numbers(energy / joules),
        }
        trace = _line(f"device {device}", xs, numbers(100 * own["value"]), {"color": GREY, "dash": "solid"})
        group = {"legendgroup": "each device", "visible": "legendonly", "showlegend": place == 0}
        label = {"name": "each device", "text": f"device {device}", "hovertemplate": "%{text}: %{y} %"}
        traces.append(trace | group | label | {"line": {"color": "#777777", "width": 1}})
    return traces


def metrics(run: Run) -> Figure | None:
    """Return every other metric and the iterations over rounds; the reader chooses which."""
    traces: list[dict[str, Any]] = []
    panels: dict[str, list[int]] = {}
    for name in metric_names(run):
        explained = run.explained.get(name, "")
        title = f"{name}: {explained}" if explained else name
        _panel(title, metric_by_round(run, name), traces, panels, run.modalities)
    _panel("iterations of a device in a round", _iterations(run), traces, panels, run.modalities)
    if not panels:
        return None
    says = "What else was measured: mean over devices, with a band from the lowest to the highest."
    return Figure(
        "metrics", "Everything else, round by round", says, traces, layout("Round", "Value"), panels=panels
    )


def _panel(
    title: str,
    table: pd.DataFrame,
    traces: list[dict[str, Any]],
    panels: dict[str, list[int]],
    modalities: Sequence[str],
) -> None:
    if table.empty:
        return
    begin = len(traces)
    lines = modality_lines([*modalities, *map(str, table["modality"].unique())])
    for modality, curve in table.groupby("modality", sort=False):
        name, line, x = str(modality), lines[str(modality)], curve["round"].tolist()
        traces += band(name, x, numbers(curve["min"]), numbers(curve["max"]), line["color"], {})
        traces.append(_line(name, {"round": x}, numbers(curve["mean"]), line))
    panels[title] = list(range(begin, len(traces)))


def _iterations(run: Run) -> pd.DataFrame:
    """Return iterations by round and modality, over the devices that own it, as :func:`metric_by_round` does."""
    rows = []
    for modality in run.modalities:
        column = f"iterations_{modality}"
        if column in run.rounds:
            words = [str(owned).split("+") for owned in run.devices["modalities"].fillna("")]
            owners = run.devices[[modality in owned for owned in words]]
            own = run.asked[run.asked["device"].isin(owners["device"])]
            table = own.groupby("round")[column].agg(["mean", "min", "max"]).reset_index()
            rows.append(table.assign(modality=modality))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()
