"""Accuracy over rounds, over simulated time and over energy."""

from __future__ import annotations

from matplotlib.figure import Figure

from analysis.plots.panels import accuracy_panels
from analysis.plots.style import modality_styles, note_surrogate, styled
from analysis.runs.run import Run
from analysis.tables import accuracy_by_round


@styled
def accuracy_figure(run: Run) -> Figure | None:
    """Draw the mean accuracy over devices, with a band from the lowest device to the highest."""
    table = accuracy_by_round(run).rename(columns={"min": "low", "max": "high"})
    if table.empty:
        return None
    curves = {str(modality): curve for modality, curve in table.groupby("modality", sort=False)}
    figure = accuracy_panels(curves, modality_styles(list(curves)), "lowest to highest device")
    note_surrogate(figure, run)
    return figure
