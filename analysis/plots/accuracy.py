"""Accuracy over rounds, over simulated time and over energy."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.panels import accuracy_panel, accuracy_panels
from analysis.plots.style import modality_styles, note_surrogate, styled
from analysis.runs.run import Run
from analysis.tables import accuracy_by_round, accuracy_over_time


@styled
def accuracy_figure(run: Run) -> Figure | None:
    """Draw the mean accuracy over devices, with a band from the lowest device to the highest."""
    curves = _curves(run)
    if not curves:
        return None
    styles = modality_styles(list(curves))
    figure = accuracy_panels(
        curves, styles, "lowest to highest device", over_time=_named(accuracy_over_time(run))
    )
    note_surrogate(figure, run)
    return figure


def accuracy_axes(run: Run, axes: Axes, over: str = "round") -> Axes:
    """Draw the accuracy of a run into ``axes``, over ``round``, ``time`` or ``energy``, and return ``axes``."""
    curves = _curves(run) if over == "round" else _named(accuracy_over_time(run))
    if curves:
        accuracy_panel(axes, curves, modality_styles(list(curves)), over)
    axes.set_ylabel("Accuracy [%]")
    return axes


def _curves(run: Run) -> dict[str, pd.DataFrame]:
    return _named(accuracy_by_round(run))


def _named(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    table = table.rename(columns={"min": "low", "max": "high"})
    return {str(modality): curve for modality, curve in table.groupby("modality", sort=False)}
