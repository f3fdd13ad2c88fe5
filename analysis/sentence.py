"""A run in two sentences."""

from __future__ import annotations

import pandas as pd

from analysis.runs.run import Run
from analysis.runs.terminal import cell
from analysis.runs.units import energy_unit, time_unit
from analysis.tables import (
    ENERGY,
    FUSED,
    accuracy_summary,
    energy_by_category,
    straggler_counts,
    time_by_category,
)

FAR = 0.03
"""A modality whose accuracy is so much below another's is said to be behind."""

FALLEN = 0.05
"""An accuracy that ends so much below its best is said to have fallen."""

OFTEN = 1.5
"""A device that ended rounds last so many times as often as an equal share would be is said to be slow."""


def sentence(run: Run) -> str:
    """Return what came out of a run: which modality is ahead, what it cost, who was slow, who died."""
    parts = [_learnt(run), _spent(run), _slow(run), _dead(run)]
    return " ".join(part for part in parts if part)


def _learnt(run: Run) -> str:
    table = accuracy_summary(run)
    if table.empty:
        return ""
    rows = {str(row["modality"]): row for row in table.to_dict("records")}
    values = {name: float(row["last"]) for name, row in rows.items()}
    alone = {name: value for name, value in values.items() if name != FUSED}
    shown = FUSED if FUSED in values else max(values, key=lambda m: values[m])
    said = f"Devices end at an accuracy of {100 * values[shown]:.1f} %"
    if rows[shown]["best"] - values[shown] >= FALLEN:
        said += f", after {100 * rows[shown]['best']:.1f} % in round {rows[shown]['best_round']:.0f}"
    if len(alone) > 1:
        best, worst = max(alone, key=lambda m: alone[m]), min(alone, key=lambda m: alone[m])
        if alone[best] - alone[worst] >= FAR:
            said += (
                f"; alone, {best} gives {100 * alone[best]:.1f} % and {worst} only {100 * alone[worst]:.1f} %"
            )
    return f"{said}{' (surrogate data)' if run.surrogate else ''}."


def _spent(run: Run) -> str:
    if run.spending.empty:
        return ""
    table = energy_by_category(run)
    mean_j, length_s = float(table["total_j"].mean()), float(run.spending["end_s"].max())
    hours, hour = time_unit(length_s)
    said = f"It took {cell(length_s / hours)} {hour}"
    if mean_j > 0:
        joules, joule = energy_unit(mean_j)
        sums = {name: float(table[column].sum()) for name, column in ENERGY.items()}
        most = max(sums, key=lambda name: sums[name])
        share = 100 * sums[most] / sum(sums.values())
        said += f" and {cell(mean_j / joules)} {joule} a device, {share:.0f} % of it for {most}"
    return f"{said}."


def _slow(run: Run) -> str:
    protocol = run.scenario.get("protocol", {})
    if protocol.get("schedule") == "shared" and (deadline_s := protocol.get("deadline_s")):
        return _until_deadline(run, float(deadline_s))
    counts = straggler_counts(run)
    last = pd.concat([counts["times_last_ending"], counts["times_last_computing"]], axis=1).max(axis=1)
    rounds = int(run.rounds["round"].nunique())
    if len(counts) < 2 or not last.any() or last.max() < OFTEN * rounds / len(counts):
        return ""
    slowest = int(counts["device"].iloc[int(last.argmax())])
    waited = _waited(run)
    more = f"; devices waited {waited:.0f} % of their time" if waited >= 1 else ""
    return f"Device {slowest} was slow: the last one in {int(last.max())} of {rounds} rounds{more}."


def _until_deadline(run: Run, deadline_s: float) -> str:
    """Say how many rounds a deadline cut off, and what it left to wait: who is last says little there."""
    cut = 100 * float((run.asked["outcome"] == "cut_off").mean())
    parts = [f"cut off {cut:.0f} % of devices' rounds"] if cut >= 1 else []
    if (waited := _waited(run)) >= 1:
        parts.append(f"left devices waiting {waited:.0f} % of their time")
    return f"The deadline of {cell(deadline_s)} s {' and '.join(parts)}." if parts else ""


def _waited(run: Run) -> float:
    """Return for how many per cent of their time devices did nothing."""
    idle = time_by_category(run)
    return 100 * float(idle["idle_s"].sum()) / max(float(idle["total_s"].sum()), 1e-300)


def _dead(run: Run) -> str:
    dead = run.dead
    if not dead:
        return ""
    first = run.spending[run.spending["outcome"] == "died"]["end_s"].min()
    factor, unit = time_unit(float(first))
    when = f"{cell(first / factor)} {unit}"
    if len(dead) == 1:
        return f"The battery of device {dead[0]} ran out after {when}."
    return f"The batteries of {len(dead)} devices ran out, the first after {when}."
