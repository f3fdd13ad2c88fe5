"""Several runs on the page: a table, mean curves, and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from analysis.compare import group_by_scenario, mean_curve
from analysis.comparison.measures import ENERGY, LAST, TIME, measured
from analysis.comparison.pareto import pareto
from analysis.comparison.tables import side_by_side
from analysis.page.figure import DASHES, Figure, band, layout, numbers
from analysis.page.text import html_table
from analysis.plots.style import CYCLE
from analysis.runs.run import Run
from analysis.runs.units import energy_unit, largest, time_unit
from analysis.tables import mean_over_time


class Comparison(NamedTuple):
    """The top of a page about several runs.

    Attributes:
        says: What is compared, in a sentence.
        table: A table of groups, as HTML.
        figures: Curves, and the Pareto front.
    """

    says: str
    table: str
    figures: list[Figure]


def comparison(runs: Sequence[Run]) -> Comparison:
    """Return the comparison of runs; those that differ in nothing but the seed are one group."""
    groups = group_by_scenario(runs)
    says = (
        "Runs that differ in nothing but the seed are one group. Accuracies are mean ± standard error over seeds; "
        "hours and joules are median (lowest to highest), for over fading links they have no expectation."
    )
    figures = [figure for figure in (_curves(groups), _front(groups)) if figure is not None]
    return Comparison(says, html_table(side_by_side(groups)), figures)


def _curves(groups: Mapping[str, Sequence[Run]]) -> Figure | None:
    curves = {label: mean_curve(runs) for label, runs in groups.items()}
    curves = {label: curve for label, curve in curves.items() if len(curve)}
    if not curves:
        return None
    over = {label: mean_over_time(groups[label]) for label in curves}
    seconds, hours = time_unit(largest(curve["time_s"].max() for curve in over.values()))
    joules, energy = energy_unit(largest(curve["energy_j"].max() for curve in over.values()))
    traces: list[dict[str, Any]] = []
    for place, (label, curve) in enumerate(curves.items()):
        later = over[label]
        colour = CYCLE[place % len(CYCLE)]
        line = {
            "color": colour,
            "dash": DASHES[place // len(CYCLE) % len(DASHES)],
            "width": 2,
        }
        xs = {
            "round": curve["round"].tolist(),
            "time": numbers(later["time_s"] / seconds),
            "energy": numbers(later["energy_j"] / joules),
        }
        low, mean, high = (_over(curve, later, sign) for sign in (-1, 0, 1))
        own = band(label, xs["round"], low["round"], high["round"], colour, {})
        shown = {"type": "scatter", "mode": "lines", "name": label, "legendgroup": label, "line": line}
        own.append({**shown, "x": xs["round"], "y": mean["round"]})
        traces += [
            {**trace, "meta": {"xs": xs, "ys": ys}} for trace, ys in zip(own, (low, high, mean), strict=True)
        ]
    choices = {
        "round": "Round",
        "time": f"Simulated time [{hours}]",
        "energy": f"Energy per device [{energy}]",
    }
    says = "Accuracy, mean over devices and seeds; bands are one standard error over seeds."
    return Figure("compared-accuracy", "Accuracy", says, traces, layout("Round", "Accuracy [%]"), choices)


def _over(by_round: pd.DataFrame, over_time: pd.DataFrame, sign: int) -> dict[str, list[float | None]]:
    """Return percentages over rounds, time and energy: the mean, and so many standard errors more."""
    early, late = (
        numbers(100 * (curve["mean"] + (sign * curve["se"] if sign else 0.0)))
        for curve in (by_round, over_time)
    )
    return {"round": early, "time": late, "energy": late}


def _front(groups: Mapping[str, Sequence[Run]]) -> Figure | None:
    table = pareto(groups)
    if not table["accuracy"].notna().any():
        return None
    seconds, hours = time_unit(largest(table["time_s"]))
    joules, energy = energy_unit(largest(table["energy_j"]))
    traces = []
    for place, row in enumerate(table.itertuples(index=False)):
        found = [measured(run) for run in groups[str(row.group)]]
        xs = {
            "time": numbers(one[TIME] / seconds for one in found),
            "energy": numbers(one[ENERGY] / joules for one in found),
        }
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{row.group}{' (front)' if row.front else ''}",
                "x": xs["time"],
                "y": numbers(one[LAST] for one in found),
                "text": [f"seed {run.seed}" for run in groups[str(row.group)]],
                "marker": {
                    "size": 11,
                    "color": CYCLE[place % len(CYCLE)],
                    "symbol": "circle" if row.front else "circle-open",
                },
                "meta": {"xs": xs},
            }
        )
    choices = {"time": f"Simulated time [{hours}]", "energy": f"Energy of a device [{energy}]"}
    says = "Each mark is a run. Filled: its group is on the Pareto front of accuracy, hours and joules."
    return Figure("front", "Pareto front", says, traces, layout("", "Accuracy [%]"), choices)
