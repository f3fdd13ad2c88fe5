"""Distribution of the times of transfers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.style import (
    COLUMN_IN,
    FEW,
    curve_style,
    legend_below,
    logarithmic_x,
    logarithmic_y,
    new_figure,
    styled,
)
from analysis.runs.run import Run
from analysis.runs.terminal import cell
from analysis.runs.units import time_unit
from analysis.tables import transfer_times

LABEL_IN = 0.28  # two lines of the legend

GUIDES = {"median": 0.5, "90 %": 0.1, "99 %": 0.01}


@styled
def transfers_figure(run: Run) -> Figure | None:
    """Draw the share of transfers not delivered within t, on logarithmic axes, one curve per kind of message.

    A curve that becomes flat contains messages that never arrived. With Rayleigh fading the tail falls like 1/t for
    large t, so the mean does not converge; the legend shows the median beside it. Both are those of
    :func:`analysis.tables.latency_quantiles`.
    """
    kinds = _arrived(run)["kind"].nunique()
    if not kinds:
        return None
    figure = new_figure(COLUMN_IN, 2.5 + LABEL_IN * kinds)
    axes = transfers_axes(run, figure.subplots())
    legend_below(figure, axes, columns=1)
    return figure


def _arrived(run: Run) -> pd.DataFrame:
    transfers = run.transfers.assign(time_s=run.transfers["end_s"] - run.transfers["start_s"])
    return transfers[(transfers["outcome"] == "delivered") & (transfers["time_s"] > 0)]


def transfers_axes(run: Run, axes: Axes) -> Axes:
    """Draw the times of a run's transfers into ``axes``, as :func:`transfers_figure` does, and return ``axes``."""
    arrived, lowest = _arrived(run), 1.0
    factor, unit = time_unit(arrived["time_s"].median())
    for place, (kind, times) in enumerate(arrived.groupby("kind")):
        sent = run.transfers[run.transfers["kind"] == kind]
        t, late = not_within(times["time_s"] / factor, len(sent))
        _, lost, mean_s, median_s, *_ = transfer_times(sent)
        label = f"{kind}: {len(sent):,} sent" + (f", {lost:,} lost" if lost else "")
        median, mean = cell(median_s / factor), cell(mean_s / factor)
        label += f"\nmedian {median} {unit}, mean {'of the rest ' if lost else ''}{mean} {unit}"
        marker = "o" if len(t) < FEW else None
        axes.step(t, late, where="post", label=label, marker=marker, markersize=3, **curve_style(place))
        lowest = min(lowest, late.min())
    first, last = arrived["time_s"].min() / factor, arrived["time_s"].max() / factor
    logarithmic_x(axes, decades=np.log10(last / first))
    if last < 2 * first:  # so close together that the axis would magnify small differences
        axes.set_xlim(first / 2.5, 2.5 * last)
    logarithmic_y(axes)
    axes.set_ylim(min(0.1, 0.8 * lowest), 1.2)
    _guides(axes)
    axes.set_xlabel(f"t [{unit}]")
    axes.set_ylabel("P(not delivered within t)")
    return axes


def not_within(times_s: pd.Series, sent: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of ``sent`` messages that took longer than t, at each t at which one arrived."""
    t = np.sort(times_s.to_numpy(dtype=float))
    late = 1 - np.arange(1, len(t) + 1) / sent
    keep = late > 1e-12  # zero has no place on a logarithmic axis
    start = (np.array([t[0]]), np.array([1.0]))
    return np.concatenate([start[0], t[keep]]), np.concatenate([start[1], late[keep]])


def _guides(axes: Axes) -> None:
    """Draw lines at the usual quantiles of tails."""
    lowest = axes.get_ylim()[0]
    for name, late in GUIDES.items():
        if late > lowest:
            axes.axhline(late, color="black", linestyle=":", linewidth=0.6)
            axes.annotate(
                name,
                (1.0, late),
                xycoords=axes.get_yaxis_transform(),
                ha="right",
                va="bottom",
                fontsize=6,
            )
