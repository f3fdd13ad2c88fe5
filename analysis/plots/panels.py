"""The three panels of every figure of accuracy: over rounds, over simulated time, over energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.style import (
    band_handles,
    count_axis,
    draw_band,
    draw_line,
    legend_below,
    logarithmic_x,
    new_panels,
    panels_across,
)
from analysis.runs.units import energy_unit, largest, time_unit

FAR_APART = 8.0
"""Curves whose ends differ by more than this factor share a logarithmic axis; a linear one would squeeze some."""


OVER = {"round": "round", "time": "time_s", "energy": "energy_j"}
"""Column of a curve by what it is drawn over."""


def accuracy_panels(
    curves: Mapping[str, pd.DataFrame],
    styles: Mapping[str, Mapping[str, Any]],
    band: str | None,
    label: str = "Accuracy [%]",
    over_time: Mapping[str, pd.DataFrame] | None = None,
) -> Figure:
    """Draw every curve in three panels that share the axis of accuracy.

    Args:
        curves: Tables by name; columns ``round``, ``time_s``, ``energy_j``, ``mean``, ``low``, ``high``.
        styles: Colour and dashes by name.
        band: Meaning of ``low`` and ``high``, for the legend; None if there is no band.
        label: Label of the axis of accuracy.
        over_time: Tables for the panels over time and energy, without ``round``; None: the same.
    """
    figure, all_axes = new_panels(3, 2.5, sharey=True)
    for axes, over in zip(all_axes, OVER, strict=True):
        accuracy_panel(axes, curves if over == "round" else over_time or curves, styles, over)
    for axes in all_axes if panels_across(3) == 1 else all_axes[:1]:
        axes.set_ylabel(label)
    legend_below(figure, all_axes[0], *(band_handles(band, *curves.values()) if band else []))
    return figure


def accuracy_panel(
    axes: Axes, curves: Mapping[str, pd.DataFrame], styles: Mapping[str, Mapping[str, Any]], over: str
) -> Axes:
    """Draw every curve, with its band, over one of :data:`OVER`, and return ``axes``."""
    column = OVER[over]
    last = largest(curve[column].max() for curve in curves.values())
    factor, x_label = 1.0, "Round"
    if column == "time_s":
        factor, unit = time_unit(last)
        x_label = f"Simulated time [{unit}]"
    elif column == "energy_j":
        factor, unit = energy_unit(last)
        x_label = f"Energy per device [{unit}]"
    for name, curve in curves.items():
        x = curve[column] / factor
        draw_line(axes, x, 100 * curve["mean"], label=name, **styles[name])
        draw_band(axes, x, 100 * curve["low"], 100 * curve["high"], styles[name]["color"])
    axes.set_xlabel(x_label)
    ends = [curve[column].max() / factor for curve in curves.values()]
    if column == "round":
        count_axis(axes)
    elif max(ends) > FAR_APART * min(ends) > 0:
        first = min(curve[column].min() / factor for curve in curves.values())
        logarithmic_x(axes, decades=np.log10(max(ends) / first))
    return axes
