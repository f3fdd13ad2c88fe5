"""Iterations of each modality, and the training balance that they depend on."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.style import (
    band_handles,
    count_axis,
    draw_band,
    draw_line,
    legend_below,
    modality_styles,
    new_panels,
    note_surrogate,
    styled,
)
from analysis.runs.run import Run
from analysis.runs.units import largest
from analysis.tables import measured

PREFIX = "iterations_"


@styled
def iterations_figure(run: Run) -> Figure | None:
    """Draw iterations per modality over rounds, and Γ per modality if the learner measured it.

    A modality's mean is over the devices that own it, in rounds that they were asked to take part in. The band goes
    from the lowest of these devices to the highest.
    """
    iterations, gamma = iterations_by_round(run), measured(run, "gamma")
    gamma = gamma.rename(columns={"value": "of"})[["round", "modality", "of"]]
    panels = [(iterations, "Iterations per round"), (gamma, "Training balance γ")]
    panels = [(_over_devices(table), label) for table, label in panels if not table.empty]
    if iterations.empty:
        return None
    figure, all_axes = new_panels(len(panels), 2.5)
    styles = modality_styles([*run.modalities, *iterations["modality"].unique()])
    for axes, (table, label) in zip(all_axes, panels, strict=True):
        _draw(axes, table, styles)
        axes.set_xlabel("Round")
        axes.set_ylabel(label)
        count_axis(axes)
    all_axes[0].set_ylim(0, 1.08 * largest(iterations["of"]))
    legend_below(
        figure, all_axes[0], *band_handles("lowest to highest device", *(table for table, _ in panels))
    )
    note_surrogate(figure, run)
    return figure


def iterations_by_round(run: Run) -> pd.DataFrame:
    """Return iterations in long form: ``round``, ``device``, ``modality``, ``of`` (the number)."""
    rounds = run.asked
    names = [name for name in rounds.columns if str(name).startswith(PREFIX)]
    table = rounds.melt(["round", "device"], names, var_name="modality", value_name="of")
    table["modality"] = table["modality"].astype(str).str.removeprefix(PREFIX)
    owned = run.devices.set_index("device")["modalities"].fillna("").str.split("+")
    owns = [m in owned.get(device, []) for device, m in zip(table["device"], table["modality"], strict=True)]
    return table[pd.Series(owns, index=table.index, dtype=bool) & table["of"].notna()]


def _over_devices(table: pd.DataFrame) -> pd.DataFrame:
    """Return columns ``modality``, ``round``, ``mean``, ``low``, ``high``."""
    over = table.groupby(["modality", "round"])["of"].agg(mean="mean", low="min", high="max")
    return over.reset_index()


def _draw(axes: Axes, table: pd.DataFrame, styles: dict[str, dict[str, Any]]) -> None:
    for modality, over in table.groupby("modality"):
        style = styles.get(str(modality), {"color": "black"})
        draw_line(axes, over["round"], over["mean"], label=str(modality), **style)
        draw_band(axes, over["round"], over["low"], over["high"], style["color"])
