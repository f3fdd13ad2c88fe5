"""Energy and time of each device, by category."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.style import ACTIVITY, count_axis, new_panels, styled
from analysis.runs.run import Run
from analysis.runs.units import energy_unit, largest, time_unit
from analysis.tables import ENERGY, energy_by_category, time_by_category


@styled
def anatomy_figure(run: Run) -> Figure | None:
    """Draw two stacked bars per device: energy by category, time by category.

    Sending and receiving overlap each other and computing, so the time bar stacks three categories without
    overlap: computing, the radio busy while the processor is not, idle.
    """
    if run.rounds.empty:
        return None
    figure, (left, right) = new_panels(2, 2.5)
    energy_axes(run, left)
    time_axes(run, right)
    return figure


def energy_axes(run: Run, axes: Axes) -> Axes:
    """Draw the energy of each device by category, stacked, into ``axes``, and return it."""
    table = energy_by_category(run)
    factor, unit = energy_unit(largest(table["total_j"]))
    _stack(axes, table, ENERGY, factor)
    axes.set_ylabel(f"Energy [{unit}]")
    return _label(run, axes, table, table["total_j"] / factor)


def time_axes(run: Run, axes: Axes) -> Axes:
    """Draw the time of each device by category, stacked, into ``axes``, and return it."""
    table = time_by_category(run)
    factor, unit = time_unit(largest(table["total_s"]))
    _stack(axes, table, {"computing": "compute_s", "radio": "radio_s", "idle": "idle_s"}, factor)
    axes.set_ylabel(f"Simulated time [{unit}]")
    return _label(run, axes, table, table["total_s"] / factor)


def _label(run: Run, axes: Axes, table: pd.DataFrame, heights: pd.Series) -> Axes:
    axes.set_xlabel("Device" + (" (†: battery ran out)" if run.dead else ""))
    axes.set_ylim(0, 1.1 * largest(heights))
    axes.grid(axis="x", visible=False)
    axes.set_xlim(table["device"].min() - 0.7, table["device"].max() + 0.7)
    if len(table) <= 20:
        axes.set_xticks(table["device"])
    else:
        count_axis(axes)
    for device, height in zip(table["device"], heights, strict=True):
        if device in run.dead:
            axes.annotate("†", (device, height), ha="center", va="bottom", fontsize=8)
    return axes


def _stack(axes: Axes, table: pd.DataFrame, categories: dict[str, str], factor: float) -> None:
    width = 0.8 if len(table) <= 40 else 1.0  # gaps between very many bars do not help the reader
    bottom = np.zeros(len(table))
    whole = sum(float(table[column].sum()) for column in categories.values())
    for name, column in categories.items():
        height = table[column].to_numpy(dtype=float) / factor
        if height.sum() == 0.0:
            continue  # an empty category needs no entry in the legend
        share = 100 * height.sum() * factor / whole
        label = f"{name} ({share:.2g} %)" if share < 99.5 else f"{name} ({share:.1f} %)"
        axes.bar(
            table["device"],
            height,
            bottom=bottom,
            width=width,
            color=ACTIVITY[name],
            label=label,
        )
        bottom += height
    if bottom.any():
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, columnspacing=1.0, handlelength=1.0
        )
