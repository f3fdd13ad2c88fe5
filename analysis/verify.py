"""Verification of a run: its files are those that were written, and its seconds, joules and bits add up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs.checksums import CHECKSUMS, changed_files
from analysis.runs.files import RunError
from analysis.runs.run import SPENT, Run, load_run

CRUMB = 1e-9
"""Relative difference that sums of rounded numbers may have."""

ROUNDED = 1e-14
"""Relative error of the difference of two times, each rounded to 53 bits."""

JOULES = [column for column in SPENT if column.endswith("_j")]
BUSY = [column for column in SPENT if column.endswith("_s") and column != "idle_s"]


def verify(folder: str | Path) -> list[str]:
    """Check a run's folder; return what is wrong with it, a line each, without its path.

    Checksums are those of the run's end. Where they fit, or there are none, the rest follows from the tables alone. A
    device's rows leave no gap and do not overlap, and what it did in them fits into their time. What its transfers cost
    is what it spent on sending. What it spent is what left its battery, with
    what that took in and lost. A transfer is delivered exactly if all its bits
    are sent. The summary has the sums.

    Raises:
        RunError: It is no run folder.
    """
    folder = Path(folder)
    if not (folder / "metadata.json").is_file():
        load_run(folder)  # says what is there instead
    found = list(changed_files(folder))
    if found and (folder / CHECKSUMS).is_file():
        return found  # what was changed is not worth adding up
    try:
        run = load_run(folder)
    except RunError as error:
        return [*found, str(error).removeprefix(f"{folder}/").removeprefix(f"{folder}: ")]
    found += _of_transfers(run.transfers)
    if run.metadata.get("status") == "finished":
        found += [line for _, rows in run.spending.groupby("device") for line in _of_times(rows)]
        found += _of_joules(run)
        found += _of_summary(run)
    return found


def _of_transfers(rows: pd.DataFrame) -> Iterator[str]:
    """Check bits, times and outcomes of all transfers."""
    whole = rows["sent_bits"] == rows["size_bits"]
    length_s = rows["end_s"] - rows["start_s"]
    checks = {
        "more bits sent than it has, or fewer than none": ~rows["sent_bits"].between(0, rows["size_bits"]),
        "delivered without all its bits, or not delivered with them": whole
        != (rows["outcome"] == "delivered"),
        "ends before it starts": length_s < 0,
        "longer on the air than it takes": rows["airtime_s"]
        > length_s * (1 + CRUMB) + ROUNDED * rows["end_s"],
        "costs less than nothing": rows["energy_j"] < 0,
    }
    for text, wrong in checks.items():
        if wrong.any():
            first = rows[wrong].iloc[0]
            yield (
                f"transfers: {wrong.sum()} of {len(rows)}: {text}; the first from {first['sender']} to "
                f"{first['receiver']}, round {first['round']}"
            )


def _of_times(rows: pd.DataFrame) -> Iterator[str]:
    """Check that one device's rows follow each other, and that what it did in each fits into it."""
    device, end_s = rows["device"].iloc[0], float(rows["end_s"].max())
    died = rows["outcome"].isin(["died", "dead", "away"])
    before_s = np.concatenate([[0.0], rows["end_s"].to_numpy()[:-1]])
    crumb_s = CRUMB * max(end_s, CRUMB)
    length_s = rows["end_s"] - rows["start_s"]
    busy_s, together_s = rows[BUSY].max(axis=1), rows[BUSY].sum(axis=1)
    checks = {
        "does not begin where the one before ended": rows["start_s"] != before_s,
        "ends before it begins": length_s < 0,
        "has a time below nothing": (rows[[*BUSY, "idle_s"]] < -crumb_s).any(axis=1),
        "has more in it than its length": rows["idle_s"] + busy_s > length_s + crumb_s,
        "has less in it than its length": ~died & (rows["idle_s"] + together_s < length_s - crumb_s),
    }
    for text, wrong in checks.items():
        if wrong.any():
            first = rows[wrong].iloc[0]
            yield f"device {device}: the row of round {first['round']} that begins at {first['start_s']:g} s {text}"


def _of_joules(run: Run) -> Iterator[str]:
    """Check each device's energy against its transfers and its battery."""
    spent = run.spending.groupby("device")[JOULES].sum()
    sent_j = run.transfers.groupby("sender")["energy_j"].sum()
    left_j = run.spending.groupby("device")["battery_j"].last()
    charged_j = run.charges.groupby("device")[["harvested_j", "wasted_j"]].sum()
    for device, battery_j in zip(
        run.devices["device"].tolist(), run.devices["battery_j"].tolist(), strict=True
    ):
        if device not in spent.index:
            continue
        total_j = float(spent.loc[device].sum())
        crumb_j = CRUMB * max(total_j, CRUMB)
        cost_j = float(sent_j.get(device, 0.0))
        if run.has_all_transfers and abs(spent.loc[device, "sending_j"] - cost_j) > crumb_j:
            yield (
                f"device {device}: spent {spent.loc[device, 'sending_j']:.9g} J on sending, its transfers cost "
                f"{cost_j:.9g} J"
            )
        in_j, lost_j = charged_j.loc[device].tolist() if device in charged_j.index else (0.0, 0.0)
        if in_j < 0 or lost_j < -CRUMB * (in_j + battery_j):
            yield f"device {device}: harvested {in_j:.9g} J and wasted {lost_j:.9g} J, which is less than nothing"
        crumb_j = CRUMB * (battery_j + in_j)
        if math.isfinite(battery_j) and abs(total_j + left_j[device] + lost_j - in_j - battery_j) > crumb_j:
            charged = f"harvested {in_j:.9g} J, wasted {lost_j:.9g} J, " if in_j or lost_j else ""
            yield (
                f"device {device}: had {battery_j:.9g} J, {charged}spent {total_j:.9g} J and has "
                f"{left_j[device]:.9g} J left"
            )


def _of_summary(run: Run) -> Iterator[str]:
    """Check the sums of the summary against the tables."""
    if run.summary is None:
        yield "summary.json: missing, though the run has finished"
        return
    count = max(1, len(run.devices))
    expected: dict[tuple[str, ...], float] = {
        ("energy_per_device_j", "mean"): float(run.spending[JOULES].to_numpy().sum()) / count
    }
    if run.has_all_transfers:
        expected["sent_bits",] = float(run.transfers["sent_bits"].sum())
        for outcome, rows in run.transfers.groupby("outcome"):
            expected["transfers", str(outcome)] = float(len(rows))
    for path, value in expected.items():
        said: Any = run.summary
        for key in path:
            said = said.get(key, math.nan) if isinstance(said, dict) else math.nan
        if not isinstance(said, int | float) or not math.isclose(said, value, rel_tol=CRUMB, abs_tol=CRUMB):
            yield f"summary.json: {'.'.join(path)}: {said!r}, but the tables say {value:.9g}"
