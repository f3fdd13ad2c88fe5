"""The three panels of every figure of accuracy: over rounds, over simulated time, over energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.style import (
    PAGE_IN,
    band_handles,
    count_axis,
    draw_band,
    draw_line,
    legend_below,
    logarithmic_x,
    new_figure,
)
from analysis.runs.units import energy_unit, largest, time_unit

FAR_APART = 8.0
"""Curves whose ends differ by more than this factor share a logarithmic axis; a linear one would squeeze some."""


def accuracy_panels(
    curves: Mapping[str, pd.DataFrame],
    styles: Mapping[str, Mapping[str, Any]],
    band: str | None,
    label: str = "Accuracy [%]",
) -> Figure:
    """Draw every curve in three panels that share the axis of accuracy.

    Args:
        curves: Tables by name; columns ``round``, ``time_s``, ``energy_j``, ``mean``, ``low``, ``high``.
        styles: Colour and dashes by name.
        band: Meaning of ``low`` and ``high``, for the legend; None if there is no band.
        label: Label of the axis of accuracy.
    """
    seconds, time_name = time_unit(largest(curve["time_s"].max() for curve in curves.values()))
    joules, energy_name = energy_unit(largest(curve["energy_j"].max() for curve in curves.values()))
    panels = [
        ("round", 1.0, "Round"),
        ("time_s", seconds, f"Simulated time [{time_name}]"),
        ("energy_j", joules, f"Energy per device [{energy_name}]"),
    ]
    figure = new_figure(PAGE_IN, 2.5)
    all_axes = figure.subplots(1, 3, sharey=True)
    for axes, (column, factor, x_label) in zip(all_axes, panels, strict=True):
        for name, curve in curves.items():
            x = curve[column] / factor
            draw_line(axes, x, 100 * curve["mean"], label=name, **styles[name])
            draw_band(axes, x, 100 * curve["low"], 100 * curve["high"], styles[name]["color"])
        axes.set_xlabel(x_label)
        ends = [curve[column].max() / factor for curve in curves.values()]
        if column != "round" and max(ends) > FAR_APART * min(ends) > 0:
            first = min(curve[column].min() / factor for curve in curves.values())
            logarithmic_x(axes, decades=np.log10(max(ends) / first))
    count_axis(all_axes[0])
    all_axes[0].set_ylabel(label)
    legend_below(figure, all_axes[0], *(band_handles(band, *curves.values()) if band else []))
    return figure
