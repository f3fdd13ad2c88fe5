"""The Pareto front of accuracy, hours and joules: methods that no other method beats in all three."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison.measures import ENERGY, LAST, TIME, measured
from analysis.plots.style import PAGE_IN, curve_style, legend_below, new_figure, note_surrogate, styled
from analysis.runs.run import Run
from analysis.runs.units import energy_unit, largest, time_unit
from analysis.tables import FUSED


def pareto(groups: Mapping[str, Sequence[Run]], modality: str = FUSED) -> pd.DataFrame:
    """Return a row a group, and whether it is on the front of accuracy (more), hours and joules (less).

    Returns:
        Columns ``group``, ``accuracy`` (mean of last ones [%]), ``time_s`` and ``energy_j`` (medians [s], [J]), and
        ``front``: no other group is at least as good in all three and better in one.
    """
    rows = []
    for label, runs in groups.items():
        found = [measured(run, (), modality) for run in runs]
        middle = [float(np.median([one[measure] for one in found])) for measure in (TIME, ENERGY)]
        rows.append((label, float(np.mean([one[LAST] for one in found])), middle[0], middle[1]))
    table = pd.DataFrame(rows, columns=["group", "accuracy", "time_s", "energy_j"])
    costs = table[["accuracy", "time_s", "energy_j"]].to_numpy() * [-1.0, 1.0, 1.0]
    beaten = [any(bool((other <= own).all() and (other < own).any()) for other in costs) for own in costs]
    return table.assign(front=~np.array(beaten, dtype=bool))


@styled
def pareto_figure(groups: Mapping[str, Sequence[Run]], modality: str = FUSED) -> Figure:
    """Draw accuracy over hours and over joules: a filled mark for groups on the front, an empty one for others.

    Bars reach from the lowest seed to the highest.
    """
    table = pareto(groups, modality)
    seconds, hours = time_unit(largest(table["time_s"]))
    joules, energy = energy_unit(largest(table["energy_j"]))
    figure = new_figure(PAGE_IN, 2.8)
    panels = figure.subplots(1, 2, sharey=True)
    for place, row in enumerate(table.itertuples(index=False)):
        found = [measured(run, (), modality) for run in groups[str(row.group)]]
        colour = curve_style(place)["color"]
        for axes, measure, scale in zip(panels, (TIME, ENERGY), (seconds, joules), strict=True):
            x = np.array([one[measure] for one in found]) / scale
            y = np.array([one[LAST] for one in found])
            middle, mean = float(np.median(x)), float(y.mean())
            axes.errorbar(
                middle,
                mean,
                xerr=[[middle - x.min()], [x.max() - middle]],
                yerr=[[mean - y.min()], [y.max() - mean]],
                color=colour,
                marker="osD^vP"[place % 6],
                markerfacecolor=colour if row.front else "white",
                markersize=5,
                lw=0.8,
                label=str(row.group),
            )
    panels[0].set_xlabel(f"Simulated time [{hours}]")
    panels[1].set_xlabel(f"Energy of a device [{energy}]")
    panels[0].set_ylabel(f"Accuracy ({modality}) [%]")
    panels[1].set_title("filled: on the Pareto front of all three", loc="right", fontsize=7)
    for axes in panels:
        axes.margins(0.12)
    legend_below(figure, panels[0], columns=4)
    note_surrogate(figure, *(run for runs in groups.values() for run in runs))
    return figure
