"""Figures of one run: one file each, with a function from a run to a Figure, or to None if records are missing.

Functions named ``..._axes`` draw a part of one into axes of yours and return them.
"""

from analysis.plots.accuracy import accuracy_axes, accuracy_figure
from analysis.plots.anatomy import anatomy_figure, energy_axes, time_axes
from analysis.plots.iterations import iterations_figure
from analysis.plots.metrics import metrics_figure
from analysis.plots.motion import motion_figure
from analysis.plots.network import network_axes, network_figure
from analysis.plots.save import FIGURES, save_plots
from analysis.plots.transfers import transfers_axes, transfers_figure

__all__ = [
    "FIGURES",
    "accuracy_axes",
    "accuracy_figure",
    "anatomy_figure",
    "energy_axes",
    "iterations_figure",
    "metrics_figure",
    "motion_figure",
    "network_axes",
    "network_figure",
    "save_plots",
    "time_axes",
    "transfers_axes",
    "transfers_figure",
]
