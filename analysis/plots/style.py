"""Style of all figures: column widths of a two-column journal, colours for readers with any colour vision."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import matplotlib
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from analysis.runs.run import Run
from analysis.tables import FUSED

COLUMN_IN = 3.5
PAGE_IN = 7.16

# Okabe and Ito's palette, which readers with any colour vision can tell apart.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
FEW = 3  # fewer points than this are drawn one by one
HAIR = 0.01  # a band that is nowhere wider than this share of its axis is invisible
GREY = "#BBBBBB"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))

ACTIVITY = {"computing": BLUE, "sending": ORANGE, "receiving": GREEN, "radio": SKY, "idle": GREY}

STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
}

P = ParamSpec("P")
R = TypeVar("R")


IEEE: dict[Any, Any] = {
    "font.family": "serif",
    "font.serif": [
        "Times New Roman",
        "Times",
        "Nimbus Roman",
        "TeX Gyre Termes",
        "STIXGeneral",
        "DejaVu Serif",
    ],
    "mathtext.fontset": "stix",
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
"""What an IEEE journal asks of a figure: Times, 8 points, and the width of one column or of two."""

_columns: ContextVar[int | None] = ContextVar("columns", default=None)


@contextmanager
def for_paper(columns: int) -> Iterator[None]:
    """Draw figures in the block for ``columns`` columns of an IEEE journal, 1 or 2.

    In one column, panels stand below each other.
    """
    token = _columns.set(columns)
    try:
        yield
    finally:
        _columns.reset(token)


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Make ``draw`` use this style, and leave the user's own settings unchanged."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context(STYLE | (IEEE if _columns.get() else {})):
            return draw(*args, **kwargs)

    return drawn


def panels_across(most: int) -> int:
    """Return how many panels stand side by side: ``most``, but one in a single column of a journal."""
    return 1 if _columns.get() == 1 else most


def new_panels(count: int, height_in: float, **shared: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of the page's width with ``count`` panels side by side, each ``height_in`` high.

    In a single column of a journal they stand below each other.
    """
    across = panels_across(count)
    rows = count // across
    figure = new_figure(PAGE_IN if across > 1 else COLUMN_IN, height_in * (1 if rows == 1 else 0.85 * rows))
    return figure, list(figure.subplots(rows, across, squeeze=False, **shared).flat)


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure outside pyplot, so that it need not be closed."""
    return Figure(figsize=(width_in, height_in), layout="constrained")


def modality_styles(modalities: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return line colour and dashes by modality: black and solid for the fused value, distinct ones for the others."""
    styles: dict[str, dict[str, Any]] = {FUSED: {"color": BLACK, "linestyle": "-"}}
    for place, modality in enumerate(dict.fromkeys(name for name in modalities if name != FUSED)):
        styles[modality] = {
            "color": CYCLE[place % len(CYCLE)],
            "linestyle": DASHES[1 + place % (len(DASHES) - 1)],
        }
    return styles


def curve_style(place: int) -> dict[str, Any]:
    """Return colour and dashes of the ``place``-th curve; the first 36 differ, neighbours differ in both."""
    return {
        "color": CYCLE[place % len(CYCLE)],
        "linestyle": DASHES[(place + place // len(CYCLE)) % len(DASHES)],
    }


def logarithmic_x(axes: Axes, decades: float) -> None:
    """Make the x axis logarithmic; over less than two decades ticks are numbers at 1, 2 and 5, not powers of ten."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(_power))
    if decades < 2:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def logarithmic_y(axes: Axes) -> None:
    """Make the y axis logarithmic, with powers of ten as ticks."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(_power))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _power(value: float, _: object) -> str:
    """Write a power of ten without Matplotlib's mathematics, which figures do without."""
    exponent = round(math.log10(value)) if value > 0 else 0
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def note_surrogate(figure: Figure, *runs: Run) -> None:
    """Write on the figure that its learner was trained on surrogate data, if that is so."""
    if any(run.surrogate for run in runs):
        break_ = "\n" if figure.get_figwidth() <= COLUMN_IN else " "
        text = f"SURROGATE DATA, generated in place of the real set:{break_}what is learned here says nothing about it"
        figure.suptitle(text, color=VERMILION, fontsize=7, fontweight="bold")


def band_handles(label: str, *tables: pd.DataFrame) -> list[Patch]:
    """Return the legend's entry for bands from ``low`` to ``high``; none if no band of ``tables`` is visible."""
    seen = any(
        (table["high"] - table["low"]).max() > HAIR * (table["high"].max() - table["low"].min())
        for table in tables
    )
    return [Patch(facecolor=BLACK, alpha=0.15, label=label)] if seen else []


def draw_line(axes: Axes, x: pd.Series, y: pd.Series, **style: Any) -> None:
    """Draw a line, with markers if it has few points."""
    axes.plot(x, y, marker="o" if len(x) < FEW else None, markersize=3, **style)


def draw_band(axes: Axes, x: pd.Series, low: pd.Series, high: pd.Series, colour: str) -> None:
    """Shade the area between two curves; with few points, draw a bar at each."""
    if len(x) < FEW:
        axes.vlines(x, low, high, color=colour, alpha=0.4, lw=3)
    else:
        axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)


def legend_below(figure: Figure, axes: Axes, *more: Artist, columns: int = 5) -> None:
    """Draw one legend for all panels below them; a single curve named fused gets no entry."""
    curves, labels = axes.get_legend_handles_labels()
    handles = [*([] if labels == ["fused"] else curves), *more]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), columns))


def count_axis(axes: Axes) -> None:
    """Use whole numbers only on the x axis: rounds or devices."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
