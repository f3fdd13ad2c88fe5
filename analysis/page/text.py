"""Words and tables of the page."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.report import TARGETS
from analysis.runs.run import Run
from analysis.runs.terminal import cell
from analysis.runs.units import energy_unit, readable, time_unit
from analysis.tables import (
    accuracy_summary,
    energy_by_category,
    energy_quantiles,
    latency_quantiles,
    metric_summary,
    straggler_counts,
    time_by_category,
    to_target,
)

LONGEST = 100
"""Rows of a table that are shown."""


def headline(run: Run) -> list[tuple[str, str, str]]:
    """Return the numbers on top of the page: what, how much, and a remark."""
    numbers = [
        ("Rounds", str(run.metadata.get("rounds_finished", run.rounds["round"].nunique())), run.progress)
    ]
    learned = accuracy_summary(run)
    for row in learned.to_dict("records"):
        best = f"best {100 * row['best']:.1f} % in round {row['best_round']:.0f}"
        numbers.append((f"Accuracy, {row['modality']}", f"{100 * row['last']:.1f} %", best))
    if len(run.spending):
        length_s = float(run.spending["end_s"].max())
        factor, unit = time_unit(length_s)
        numbers.append(("Simulated time", f"{cell(length_s / factor)} {unit}", "to the end of the run"))
    spent = energy_by_category(run)["total_j"]
    factor, unit = energy_unit(float(spent.mean()))
    span = f"{cell(spent.min() / factor)} to {cell(spent.max() / factor)} {unit}"
    numbers.append(("Energy of a device", f"{cell(spent.mean() / factor)} {unit}", span))
    if run.dead:
        numbers.append(("Batteries that ran out", str(len(run.dead)), f"of {len(run.devices):,} devices"))
    return numbers


def facts(run: Run) -> list[tuple[str, str]]:
    """Return what was run: scenario, learner, data, seed, versions, machine."""
    data = run.metadata.get("data") or {}
    source = ": generated, in place of the real set" if run.surrogate else ", the real set"
    known: list[tuple[str, Any]] = [
        ("scenario", run.name),
        ("description", run.scenario.get("description")),
        ("learner", run.learner),
        (
            "data",
            f"{str(data['name']).removesuffix(' (surrogate data)')}{source}" if data.get("name") else None,
        ),
        ("devices", f"{len(run.devices):,}, {len(run.links):,} links"),
        ("seed", run.seed),
        ("folder", run.folder),
        ("commit", run.metadata.get("commit")),
        ("versions", _pairs(run.metadata.get("versions"))),
        ("machine", _pairs(run.metadata.get("hardware"))),
        ("real time", f"{cell(run.metadata['wall_s'])} s" if "wall_s" in run.metadata else None),
    ]
    return [(name, str(value)) for name, value in known if value not in (None, "")]


def _pairs(block: Any) -> str | None:
    if not isinstance(block, dict):
        return None
    return ", ".join(f"{key} {value}" for key, value in block.items() if value is not None)


def tables(run: Run) -> list[tuple[str, str]]:
    """Return the tables of the page as headings and HTML; cells are escaped."""
    reached = to_target(run, TARGETS).dropna()
    found = [
        ("Accuracy, mean over devices; energy per device", accuracy_summary(run)),
        ("Time and energy per device to a target accuracy", reached),
        ("Everything else that was measured", metric_summary(run)),
        ("Energy by device", energy_by_category(run)),
        ("Time by device", time_by_category(run)),
        ("Energy of one device in one round", energy_quantiles(run)),
        ("Latency; unfinished ones count as infinite in the quantiles", latency_quantiles(run)),
        ("Stragglers", straggler_counts(run)),
    ]
    return [(heading, html_table(table)) for heading, table in found if len(table)]


def html_table(table: pd.DataFrame) -> str:
    """Return a frame as an HTML table in readable units, its first :data:`LONGEST` rows."""
    shown = readable(table.head(LONGEST)).map(cell)
    text = shown.to_html(index=False, border=0, justify="left", escape=True)
    if len(table) > LONGEST:
        text += f"<p>{LONGEST} of {len(table):,} rows; the others are in the run's folder.</p>"
    return text
