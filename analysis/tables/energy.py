"""Tables of energy."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.runs.run import Run

ENERGY = {
    "computing": "compute_j",
    "sending": "sending_j",
    "receiving": "receiving_j",
    "idle": "idle_j",
}
"""Column of ``rounds`` by category of energy."""


def energy_by_category(run: Run) -> pd.DataFrame:
    """Return the energy that each device spent until the run ended, by category.

    Returns:
        Columns ``device``, those of ``ENERGY`` and ``total_j`` [J]; one row per device, also for one that
        never finished a round.
    """
    columns = list(ENERGY.values())
    spent = run.spending.groupby("device")[columns].sum().reindex(run.devices["device"], fill_value=0.0)
    return spent.assign(total_j=spent.sum(axis=1)).reset_index()


def cumulative_energy(run: Run) -> pd.DataFrame:
    """Return the energy that each device had spent when its round t ended, waiting for it included [J].

    A dead device keeps the energy that it had spent, since the network spent it too.

    Returns:
        Index ``round``, one column per device.
    """
    by_round = _by_round(run.rounds).reindex(columns=run.devices["device"]).fillna(0.0)
    # Energy spent after round t - 1 belongs to t; energy spent after the last round belongs to none.
    waited = _by_round(run.outside.assign(round=run.outside["round"] + 1))
    return (by_round + waited.reindex_like(by_round).fillna(0.0)).cumsum()


def _by_round(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the energy of all categories [J]; index ``round``, one column per device."""
    total = rows[list(ENERGY.values())].sum(axis=1)
    return total.groupby([rows["round"], rows["device"]]).sum().unstack("device")


def energy_account(run: Run) -> pd.DataFrame:
    """Compare the energy that left each battery with the sum of the records.

    Returns:
        Columns ``device``, ``start_j``, ``left_j``, ``spent_j`` (sum of the categories) and ``missing_j``
        (start - left - spent: zero but for rounding; NaN for unlimited power) [J].
    """
    spent = energy_by_category(run).set_index("device")["total_j"]
    start = run.devices.set_index("device")["battery_j"].astype(float)
    last = run.spending.groupby("device")["battery_j"].last()
    left = last.reindex(start.index).fillna(start)
    drawn = (start - left).where(np.isfinite(start))
    account = pd.DataFrame({"start_j": start, "left_j": left, "spent_j": spent, "missing_j": drawn - spent})
    return account.reset_index()
