"""Energy and time of each device, by category."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.style import ACTIVITY, PAGE_IN, count_axis, new_figure, styled
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
    energy, time = energy_by_category(run), time_by_category(run)
    joules, energy_name = energy_unit(largest(energy["total_j"]))
    seconds, time_name = time_unit(largest(time["total_s"]))
    figure = new_figure(PAGE_IN, 2.5)
    left, right = figure.subplots(1, 2)
    _stack(left, energy, ENERGY, joules)
    left.set_ylabel(f"Energy [{energy_name}]")
    _stack(right, time, {"computing": "compute_s", "radio": "radio_s", "idle": "idle_s"}, seconds)
    right.set_ylabel(f"Simulated time [{time_name}]")
    for axes, total, factor in ((left, energy["total_j"], joules), (right, time["total_s"], seconds)):
        axes.set_xlabel("Device" + (" (†: battery ran out)" if run.dead else ""))
        axes.set_ylim(0, 1.1 * largest(total / factor))
        axes.grid(axis="x", visible=False)
        axes.set_xlim(energy["device"].min() - 0.7, energy["device"].max() + 0.7)
        if len(energy) <= 20:
            axes.set_xticks(energy["device"])
        else:
            count_axis(axes)
        for device, height in zip(energy["device"], total / factor, strict=True):
            if device in run.dead:
                axes.annotate("†", (device, height), ha="center", va="bottom", fontsize=8)
    return figure


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
