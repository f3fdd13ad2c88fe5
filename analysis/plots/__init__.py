"""Figures of one run: one file each, with a function from a run to a Figure, or to None if records are missing."""

from analysis.plots.accuracy import accuracy_figure
from analysis.plots.anatomy import anatomy_figure
from analysis.plots.iterations import iterations_figure
from analysis.plots.metrics import metrics_figure
from analysis.plots.network import network_figure
from analysis.plots.save import FIGURES, save_plots
from analysis.plots.transfers import transfers_figure

__all__ = [
    "FIGURES",
    "accuracy_figure",
    "anatomy_figure",
    "iterations_figure",
    "metrics_figure",
    "network_figure",
    "save_plots",
    "transfers_figure",
]
