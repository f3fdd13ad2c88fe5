"""Means and quantiles side by side.

With a Rayleigh channel the airtime of a transfer has a tail P(T > t) ~ 1/t, so its mean does not converge;
medians and quantiles do. Neither table shows a mean alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.run import Run
from analysis.tables.energy import ENERGY

LEVELS = {"median": 0.5, "p90": 0.9, "p99": 0.99}


def latency_quantiles(run: Run) -> pd.DataFrame:
    """How long computing, a round, and a transfer of each kind took.

    What never finished (a transfer lost, a round cut off) counts as infinitely long in the quantiles, because
    leaving out the slowest would flatter the tail; the mean and the maximum are over what did finish. A device that a
    server did not choose had nothing to finish and does not count; nor does, among those that computed, one that the
    server's model never reached.

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
    """Energy of one device in one round in which it was asked to take part, by category.

    Returns:
        Columns ``what``, ``rounds`` (count), ``mean_j``, ``median_j``, ``p90_j``, ``p99_j``, ``max_j`` [J].
    """
    spent = run.asked[list(ENERGY.values())].set_axis(list(ENERGY), axis=1)
    spent = spent.assign(total=spent.sum(axis=1))
    rows = [(name, len(spent), *_tail(spent[name].to_numpy(dtype=float), lost=0)) for name in spent]
    return pd.DataFrame(rows, columns=["what", "rounds", *(f"{name}_j" for name in ("mean", *LEVELS, "max"))])


def transfer_times(sent: pd.DataFrame) -> tuple[float, ...]:
    """How long the transfers ``sent`` took: ``finished``, ``unfinished``, and the rest of :func:`latency_quantiles`."""
    return _times(sent["end_s"] - sent["start_s"], sent["outcome"] == "delivered")


def _times(lengths: pd.Series, finished: pd.Series) -> tuple[float, ...]:
    done = lengths[finished].to_numpy(dtype=float)
    lost = len(lengths) - len(done)
    return (len(done), lost, *_tail(done, lost))


def _tail(values: np.ndarray, lost: int) -> tuple[float, ...]:
    """Mean, quantiles, maximum. A quantile is the smallest value that this share does not exceed."""
    everything = np.concatenate([values, np.full(lost, np.inf)])
    if not len(everything):
        return (np.nan,) * (len(LEVELS) + 2)
    quantiles = np.quantile(everything, list(LEVELS.values()), method="inverted_cdf")
    mean, longest = (values.mean(), values.max()) if len(values) else (np.nan, np.nan)
    return (mean, *quantiles, longest)
