"""Tables of time."""

from __future__ import annotations

import pandas as pd

from analysis.runs.run import Run

TIME = {
    "computing": "compute_s",
    "sending": "sending_s",
    "receiving": "receiving_s",
    "idle": "idle_s",
}
"""Column of ``rounds`` by category of time."""


def time_by_category(run: Run) -> pd.DataFrame:
    """Return the simulated time that each device spent, by category.

    Computing, sending and receiving may overlap each other, so these columns need not add up. ``radio_s`` is
    the time with the radio busy and the processor not, and ``compute_s + radio_s + idle_s = total_s``.

    Returns:
        Columns ``device``, those of ``TIME``, ``radio_s`` and ``total_s`` (time that it was alive in the run) [s]; one
        row per device.
    """
    columns = list(TIME.values())
    spending = run.spending
    lengths = spending.assign(total_s=spending["end_s"] - spending["start_s"])
    spent = lengths.groupby("device")[[*columns, "total_s"]].sum()
    spent = spent.reindex(run.devices["device"], fill_value=0.0)
    radio = (spent["total_s"] - spent["compute_s"] - spent["idle_s"]).clip(lower=0.0)  # rounding of sums
    spent.insert(len(columns), "radio_s", radio)
    return spent.reset_index()
