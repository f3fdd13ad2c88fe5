"""The figure of differences that are paired by seed, which all studies draw."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

Differences = Mapping[str, Mapping[str, Sequence[float]]]
"""By study and name of a row: the difference on each seed."""


def draw(found: Differences, axis: str) -> Figure:
    """Draw each seed, and mean with standard error; a panel a study, with a common ``axis``."""
    found = {about: rows for about, rows in found.items() if rows}
    heights = [len(rows) for rows in found.values()]
    figure, panels = plt.subplots(
        len(found),
        squeeze=False,
        sharex=True,
        figsize=(9.5, 1 + 0.34 * sum(heights) + 0.5 * len(found)),
        gridspec_kw={"height_ratios": heights},
        layout="constrained",
    )
    for (about, rows), panel in zip(found.items(), panels[:, 0], strict=True):
        for place, values in enumerate(rows.values()):
            panel.plot(values, [place] * len(values), "o", color="tab:gray", alpha=0.4, markersize=4)
            panel.errorbar(
                np.mean(values), place, xerr=error_of(values), fmt="D", color="tab:blue", capsize=3
            )
        panel.axvline(0, color="black", linewidth=0.8)
        panel.set_yticks(range(len(rows)), [textwrap.fill(name, 52) for name in rows], fontsize=8)
        panel.set_ylim(len(rows) - 0.5, -0.5)
        panel.set_title(textwrap.fill(about, 88), fontsize=9, loc="left")
    panels[-1, 0].set_xlabel(f"{axis}, paired by seed [points]")
    return figure


def error_of(values: Sequence[float]) -> float:
    """Standard error of the mean."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0
