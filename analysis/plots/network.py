"""A map of the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.plots.labels import label
from analysis.plots.style import COLUMN_IN, GREY, VERMILION, new_figure, styled
from analysis.runs.run import Run
from analysis.runs.units import energy_unit, largest
from analysis.tables import energy_account

MARKERS = "osD^vPph<>"
COLOURS = "viridis"
LABELLED = 40  # more device numbers than this do not fit


@styled
def network_figure(run: Run) -> Figure | None:
    """Draw positions and links; colour: battery left, or energy spent if power is unlimited; shape: modalities."""
    if run.devices.empty:
        return None
    figure = new_figure(COLUMN_IN, 3.3)
    network_axes(run, figure.subplots())
    return figure


def network_axes(run: Run, axes: Axes) -> Axes:
    """Draw the map of the network into ``axes``, with a bar of colours beside it, and return ``axes``."""
    places = run.devices.set_index("device")[["x_m", "y_m"]]
    nodes = pd.concat([places, run.server.set_index("device")[["x_m", "y_m"]]])
    _draw_links(axes, run.links, nodes)
    axes.scatter(run.server["x_m"], run.server["y_m"], s=140, marker="s", c="black", zorder=3)
    for x, y, role in run.server[["x_m", "y_m", "role"]].itertuples(index=False):
        axes.annotate(role, (x, y), xytext=(9, 7), textcoords="offset points", fontsize=7, zorder=5)
    values, meaning, norm = _colour_values(run)
    colours = ScalarMappable(norm, COLOURS)
    size = 45 if len(places) <= LABELLED else 25
    shapes = dict(zip(sorted(run.devices["modalities"].fillna("").unique()), MARKERS * 10, strict=False))
    for owned, devices in run.devices.fillna({"modalities": ""}).groupby("modalities"):
        fill = colours.to_rgba(values.loc[devices["device"]].to_numpy())
        axes.scatter(
            devices["x_m"],
            devices["y_m"],
            s=size,
            marker=shapes[owned],
            c=fill,
            edgecolors="black",
            lw=0.6,
            zorder=2,
        )
    if len(places) <= LABELLED:
        label(axes, [str(device) for device in places.index], places.to_numpy(dtype=float))
    dead = places.loc[places.index.isin(run.dead)]
    axes.scatter(dead["x_m"], dead["y_m"], s=1.5 * size, marker="x", color=VERMILION, lw=1.6, zorder=4)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.12)
    axes.set_xlabel("x [m]")
    axes.set_ylabel("y [m]")
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.colorbar(colours, ax=axes, label=meaning, shrink=0.85, aspect=25, pad=0.02)
    _legend(axes, shapes, bool(len(dead)))
    return axes


def _draw_links(axes: Axes, links: pd.DataFrame, places: pd.DataFrame) -> None:
    ends = np.stack(
        [places.loc[links["a"]].to_numpy(), places.loc[links["b"]].to_numpy()], axis=1
    )  # [links, 2, 2]
    # Thousands of opaque lines would merge into one grey area.
    opacity = min(1.0, max(0.1, 200 / max(1, len(links))))
    axes.add_collection(LineCollection(list(ends), colors=GREY, linewidths=0.6, alpha=opacity, zorder=1))


def _colour_values(run: Run) -> tuple[pd.Series, str, Normalize]:
    """Return the value of each node's colour, by device, its label and its scale."""
    account = energy_account(run).set_index("device")
    if np.isfinite(account["start_j"]).all():
        share = 100 * account["left_j"] / account["start_j"].where(account["start_j"] > 0, 1.0)
        return share, "Battery left [%]", Normalize(0, 100)
    factor, unit = energy_unit(largest(account["spent_j"]))
    spent = account["spent_j"] / factor
    low, high = float(spent.min()), float(spent.max())
    if high <= low:
        low, high = 0.0, high or 1.0
    return spent, f"Energy spent [{unit}]", Normalize(low, high)


def _legend(axes: Axes, shapes: dict[str, str], any_dead: bool) -> None:
    look: dict[str, Any] = {
        "linestyle": "",
        "markersize": 5,
        "markerfacecolor": "white",
        "markeredgecolor": "black",
    }
    handles = [
        Line2D([], [], marker=marker, label=owned or "no data", **look)
        for owned, marker in shapes.items()
        if len(shapes) > 1  # one shape needs no explanation
    ]
    if any_dead:
        handles.append(
            Line2D(
                [],
                [],
                marker="x",
                linestyle="",
                color=VERMILION,
                markeredgewidth=1.8,
                label="battery ran out",
            )
        )
    if handles:
        axes.legend(
            handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1.0
        )
