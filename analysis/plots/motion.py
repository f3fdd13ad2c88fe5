"""Maps of devices that move, over time."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from analysis.plots.network import LABELLED
from analysis.plots.style import BLACK, BLUE, GREY, PAGE_IN, new_figure, styled
from analysis.runs.run import Run
from analysis.runs.units import time_unit

PANELS = 6
TRAIL = 3  # rounds


@styled
def motion_figure(run: Run) -> Figure | None:
    """Draw where devices are, and the links then, at the beginning and as some rounds end; and the ways there."""
    if run.positions.empty:
        return None
    begin = run.devices[["device", "x_m", "y_m"]].assign(round=0, time_s=0.0)
    places = pd.concat([begin, run.positions], ignore_index=True)
    rounds = np.unique(places["round"])
    shown = rounds[np.unique(np.linspace(0, len(rounds) - 1, min(PANELS, len(rounds))).round().astype(int))]
    figure = new_figure(PAGE_IN, 2.4 * -(-len(shown) // 3) + 0.2)
    panels = figure.subplots(-(-len(shown) // 3), 3, sharex=True, sharey=True, squeeze=False)
    seconds, unit = time_unit(float(places["time_s"].max()))
    for axes, round in zip(panels.flat, shown, strict=False):
        now = places[places["round"] == round]
        points = now[["x_m", "y_m"]].to_numpy()
        pairs = _links(run, points)
        axes.add_collection(
            LineCollection(
                list(points[pairs]),
                colors=GREY,
                linewidths=0.6,
                alpha=min(1.0, max(0.1, 200 / (1 + len(pairs)))),
            )
        )
        recent = places[places["round"].isin(rounds[rounds <= round][-1 - TRAIL :])]
        ways = [way.to_numpy() for _, way in recent.groupby("device")[["x_m", "y_m"]]]
        axes.add_collection(LineCollection(ways, colors=BLUE, linewidths=0.8, alpha=0.4))
        axes.scatter(*points.T, s=14 if len(points) <= LABELLED else 4, color=BLUE, zorder=3)
        axes.scatter(run.server["x_m"], run.server["y_m"], s=60, marker="s", color=BLACK, zorder=3)
        time_s = float(now["time_s"].iloc[0])
        axes.set_title(
            f"{time_s / seconds:.3g} {unit}, {f'end of round {round}' if round else 'begin'}", fontsize=8
        )
        axes.set_aspect("equal")
        axes.margins(0.05)
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    figure.supxlabel("x [m]", fontsize=8)
    figure.supylabel("y [m]", fontsize=8)
    return figure


def _links(run: Run, points: np.ndarray) -> np.ndarray:
    """Return the pairs of devices that are linked at ``points`` [devices, 2]: [links, 2]."""
    rule = (run.scenario.get("topology") or {}).get("links") or {}
    if len(run.server):
        return np.empty((0, 2), dtype=int)
    if rule.get("name") == "range":
        found: np.ndarray = cKDTree(points).query_pairs(float(rule["range_m"]), output_type="ndarray")
        return found
    return run.links[["a", "b"]].to_numpy()
