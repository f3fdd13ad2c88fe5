"""Partition of the data: samples of each device by class, and its modalities."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator

from analysis.plots.style import (
    BLACK,
    COLUMN_IN,
    CYCLE,
    GREY,
    PAGE_IN,
    VERMILION,
    YELLOW,
    new_figure,
    styled,
)

FEW_DEVICES = 14  # fit into one column of a journal
NUMBERED = 30  # more device numbers than this run into each other
NAMED = 20  # more classes than this get a colour scale, not a legend
WIDTH = 0.8  # width of a bar; devices are 1 apart
LETTER_IN = 0.055  # width of a letter in a legend or in the title
OWNED, NOT_OWNED = "#4D4D4D", "#F2F2F2"
INDIGO, WINE = "#332288", "#882255"  # from Paul Tol's palette, distinct from all of Okabe and Ito's


@styled
def partition_figure(
    table: pd.DataFrame,
    classes: Sequence[str],
    modalities: Sequence[str],
    title: str = "",
    surrogate: bool = False,
) -> Figure:
    """Draw a bar per device, of its samples by class, above a strip of its modalities.

    A cell of the strip is filled if the device owns the modality. The height of the filling is the fraction of its
    samples with this modality.

    Args:
        table: A row per device: ``modalities`` (joined by "+"), ``samples``, a column of counts per class, and, where
            samples are incomplete, ``<modality> samples``.
        classes: Names of the classes, in the order of stacking.
        modalities: Names of the modalities, from top to bottom.
        title: Names of the data and the partition; no title if empty.
        surrogate: Whether the data is generated in place of the real set; the title is then red and bold.
    """
    few = len(table) <= FEW_DEVICES
    strip_in = 0.17 * len(modalities)
    figure = new_figure(COLUMN_IN if few else PAGE_IN, 2.6 + strip_in)
    bars, strip = figure.subplots(2, 1, sharex=True, height_ratios=(2.0, strip_in))
    colours = _class_colours(len(classes))
    _draw_bars(bars, table[list(classes)].to_numpy().T, colours)
    _draw_strip(strip, recorded(table, modalities), modalities)
    strip.set_xlabel("Device")
    strip.set_xlim(-0.6, len(table) - 0.4)
    every = 1 if len(table) <= NUMBERED else 5 * -(-len(table) // (5 * NUMBERED))
    strip.xaxis.set_major_locator(FixedLocator(list(range(0, len(table), every))))
    _explain_colours(figure, bars, classes, colours)
    if title:
        look = {"color": VERMILION, "fontweight": "bold"} if surrogate else {"color": BLACK}
        lines = textwrap.wrap(title, int(figure.get_figwidth() / LETTER_IN))
        figure.suptitle("\n".join(lines), fontsize=7, **look)
    return figure


def recorded(table: pd.DataFrame, modalities: Sequence[str]) -> np.ndarray:
    """Return the fraction of each device's samples that have each modality; 0 if not owned, [modalities, devices]."""
    owns = np.array(
        [[m in owned.split("+") for owned in table["modalities"]] for m in modalities], dtype=float
    )
    for place, modality in enumerate(modalities):
        if f"{modality} samples" in table:
            owns[place] *= table[f"{modality} samples"] / table["samples"].clip(lower=1)
    return owns


def _class_colours(count: int) -> list[str]:
    """Return colours that differ in hue for few classes; for many, steps from dark to light."""
    distinct = [*CYCLE, YELLOW, GREY, INDIGO, WINE]
    if count <= len(distinct):
        return distinct[:count]
    scale = matplotlib.colormaps["viridis"]
    return [matplotlib.colors.to_hex(scale(value)) for value in np.linspace(0, 1, count)]


def _boxes(left: np.ndarray, bottom: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Return the corners of rectangles of the bars' width, [boxes, 4, 2]."""
    right = left + WIDTH
    corners = [(left, bottom), (right, bottom), (right, top), (left, top)]
    return np.stack([np.stack(corner, axis=-1) for corner in corners], axis=-2)


def _draw_bars(axes: Axes, counts: np.ndarray, colours: Sequence[str]) -> None:
    """Stack ``counts`` [classes, devices] as one collection, fast also for hundreds of classes and devices."""
    tops = np.cumsum(counts, axis=0)
    classes, devices = np.nonzero(counts)
    top = tops[classes, devices]
    boxes = _boxes(devices - WIDTH / 2, top - counts[classes, devices], top)
    axes.add_collection(
        PolyCollection(
            list(boxes),
            facecolors=np.array(colours)[classes].tolist(),
            edgecolors="white",
            linewidths=0.4 if len(colours) <= NAMED else 0.0,
        )
    )
    axes.set_ylim(0, 1.04 * max(1, tops[-1].max(initial=0)))
    axes.set_ylabel("Training samples")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.grid(False, axis="x")
    axes.tick_params(axis="x", length=0)


def _draw_strip(axes: Axes, fractions: np.ndarray, modalities: Sequence[str]) -> None:
    """Draw a cell per modality and device, filled from below up to ``fractions`` [modalities, devices]."""
    rows, devices = np.indices(fractions.shape).reshape(2, -1)
    left, bottom = devices - WIDTH / 2, -rows - WIDTH / 2
    filled = bottom + WIDTH * fractions.reshape(-1)
    axes.add_collection(
        PolyCollection(list(_boxes(left, bottom, bottom + WIDTH)), facecolors=NOT_OWNED, edgecolors="none")
    )
    axes.add_collection(
        PolyCollection(list(_boxes(left, bottom, filled)), facecolors=OWNED, edgecolors="none")
    )
    if ((fractions > 0) & (fractions < 1)).any():
        axes.set_title("height of a cell: share of the samples that have the modality", fontsize=6, pad=2)
    axes.set_ylim(0.5 - len(modalities), 0.5)
    axes.set_yticks([-place for place in range(len(modalities))], list(modalities))
    axes.tick_params(axis="y", length=0)
    axes.grid(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _explain_colours(figure: Figure, axes: Axes, classes: Sequence[str], colours: Sequence[str]) -> None:
    """Draw a legend of the classes, or a colour scale if there are too many to name."""
    if len(classes) <= NAMED:
        handles = [Patch(facecolor=colour, label=name) for name, colour in zip(classes, colours, strict=True)]
        fit = max(1, int(figure.get_figwidth() / (0.35 + LETTER_IN * max(map(len, classes)))))
        rows = -(-len(classes) // fit)
        columns = -(-len(classes) // rows)
        # Matplotlib fills a legend column by column; people read it row by row.
        ordered = [handle for column in range(columns) for handle in handles[column::columns]]
        figure.legend(
            handles=ordered, loc="outside lower center", ncols=columns, handlelength=1.0, columnspacing=1.2
        )
        return
    edges = np.arange(len(classes) + 1) - 0.5
    scale = ScalarMappable(BoundaryNorm(list(edges), len(classes)), ListedColormap(list(colours)))
    bar = figure.colorbar(scale, ax=axes, label="Class", spacing="proportional", pad=0.01, aspect=30)
    ticks = MaxNLocator(nbins=6, integer=True).tick_values(0, len(classes) - 1)
    bar.set_ticks([tick for tick in ticks if 0 <= tick < len(classes)])
    bar.minorticks_off()
