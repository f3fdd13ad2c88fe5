"""Tables of means and quantiles, side by side.

With a Rayleigh channel the airtime of a transfer has a tail P(T > t) ~ 1/t, so its mean does not converge;
medians and quantiles do. Neither table shows a mean alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.runs.run import Run
from analysis.tables.energy import ENERGY

LEVELS = {"median": 0.5, "p90": 0.9, "p99": 0.99}


def latency_quantiles(run: Run) -> pd.DataFrame:
    """Return times of computing, of rounds, and of transfers of each kind.

    A lost transfer or a round that was cut off counts as infinitely long in the quantiles: without the slowest, the
    tail would look too short. Mean and maximum are over finished ones. Devices that a server did not choose do not
    count; for computing, devices that the server's model never reached do not count either.

    Returns:
        Columns ``what``, ``finished``, ``unfinished`` (counts), ``mean_s``, ``median_s``, ``p90_s``,
        ``p99_s``, ``max_s`` [s].
    """
    rounds, transfers = run.asked, run.transfers
    began = rounds if run.server.empty else rounds[rounds["received"] > 0]
    rows = [
        ("computing", *_times(began["compute_s"], began["compute_end_s"].notna())),
        ("round", *_times(rounds["end_s"] - rounds["start_s"], rounds["outcome"] == "finished")),
    ]
    for kind, sent in transfers.groupby("kind", sort=False):
        rows.append((f"{kind} transfer", *transfer_times(sent)))
    names = [f"{name}_s" for name in ("mean", *LEVELS, "max")]
    return pd.DataFrame(rows, columns=["what", "finished", "unfinished", *names])


def energy_quantiles(run: Run) -> pd.DataFrame:
    """Return the energy of one device in one round in which it was asked to take part, by category.

    Returns:
        Columns ``what``, ``rounds`` (count), ``mean_j``, ``median_j``, ``p90_j``, ``p99_j``, ``max_j`` [J].
    """
    spent = run.asked[list(ENERGY.values())].set_axis(list(ENERGY), axis=1)
    spent = spent.assign(total=spent.sum(axis=1))
    rows = [(name, len(spent), *_tail(spent[name].to_numpy(dtype=float), lost=0)) for name in spent]
    return pd.DataFrame(rows, columns=["what", "rounds", *(f"{name}_j" for name in ("mean", *LEVELS, "max"))])


def transfer_times(sent: pd.DataFrame) -> tuple[float, ...]:
    """Return ``finished``, ``unfinished`` and the other numbers of :func:`latency_quantiles` for transfers ``sent``."""
    return _times(sent["end_s"] - sent["start_s"], sent["outcome"] == "delivered")


def _times(lengths: pd.Series, finished: pd.Series) -> tuple[float, ...]:
    done = lengths[finished].to_numpy(dtype=float)
    lost = len(lengths) - len(done)
    return (len(done), lost, *_tail(done, lost))


def _tail(values: np.ndarray, lost: int) -> tuple[float, ...]:
    """Return mean, quantiles, maximum; a quantile q is the smallest value that a share q does not exceed."""
    everything = np.concatenate([values, np.full(lost, np.inf)])
    if not len(everything):
        return (np.nan,) * (len(LEVELS) + 2)
    quantiles = np.quantile(everything, list(LEVELS.values()), method="inverted_cdf")
    mean, longest = (values.mean(), values.max()) if len(values) else (np.nan, np.nan)
    return (mean, *quantiles, longest)
