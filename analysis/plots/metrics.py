"""All metrics of a learner over rounds, a panel each."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.style import (
    COLUMN_IN,
    PAGE_IN,
    band_handles,
    count_axis,
    draw_band,
    draw_line,
    logarithmic_y,
    modality_styles,
    new_figure,
    note_surrogate,
    panels_across,
    styled,
)
from analysis.runs.run import Run
from analysis.tables import metric_by_round, metric_names

ACROSS = 3
"""Panels in a row."""

DECADES = 1.5
"""Values above zero that span more powers of ten than this are drawn on a logarithmic axis."""


@styled
def metrics_figure(run: Run) -> Figure | None:
    """Draw every metric but the accuracy, which has its own figure: mean over devices, band from lowest to highest.

    The title of a panel is the metric's name and the learner's description of it.
    """
    names = metric_names(run)
    if not names:
        return None
    columns = min(len(names), panels_across(ACROSS))
    rows = -(-len(names) // columns)
    figure = new_figure(COLUMN_IN if columns == 1 else PAGE_IN, 2.4 * rows + 0.2)
    grid = figure.subplots(rows, columns, squeeze=False)
    letters = int(52 * figure.get_figwidth() / columns / COLUMN_IN)
    handles: dict[str, Artist] = {}
    for name, axes in zip(names, grid.flat, strict=False):
        _draw(axes, run, name)
        explained = textwrap.wrap(run.explained.get(name, ""), letters)
        axes.set_title("\n".join([name, *explained]), loc="left", fontsize=7)
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    bands = band_handles("lowest to highest device", *(_curves(run, name) for name in names))
    shown = [*(handles.values() if len(handles) > 1 else ()), *bands]
    if shown:
        figure.legend(handles=shown, loc="outside lower center", ncols=min(len(shown), 5))
    note_surrogate(figure, run)
    return figure


def _curves(run: Run, name: str) -> pd.DataFrame:
    return metric_by_round(run, name).rename(columns={"min": "low", "max": "high"})


def _draw(axes: Axes, run: Run, name: str) -> None:
    table = _curves(run, name)
    styles = modality_styles([*run.modalities, *table["modality"].unique()])
    for modality, curve in table.groupby("modality", sort=False):
        style = styles[str(modality)]
        draw_line(axes, curve["round"], curve["mean"], label=str(modality), **style)
        draw_band(axes, curve["round"], curve["low"], curve["high"], style["color"])
    if table["low"].min() > 0 and table["mean"].max() > 10**DECADES * table["mean"].min():
        logarithmic_y(axes)
    axes.set_xlabel("Round")
    count_axis(axes)
