"""Shared by all figures of the page: numbers, colours, axes, and the form that Plotly reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from analysis.plots.style import BLACK, CYCLE
from analysis.tables import FUSED

DIGITS = 5
"""Significant digits of the numbers in the page: more cannot be seen, and each is a byte a value."""

DASHES = ("solid", "dash", "dashdot", "dot", "longdash")


class Figure(NamedTuple):
    """A figure of the page.

    Attributes:
        name: Its name in the page, a word.
        heading: Its heading.
        says: What it shows, in a sentence or two; and what was left out to keep it readable.
        traces: As Plotly takes them. ``meta`` of a trace may have other values of x by name, in ``xs``.
        layout: As Plotly takes it.
        choices: What the reader can choose x from: name of ``xs`` to title of the axis; empty for no choice.
        panels: What the reader can choose to see, if not all traces at once: the name of a panel to its traces.
    """

    name: str
    heading: str
    says: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    choices: Mapping[str, str] = MappingProxyType({})
    panels: Mapping[str, list[int]] = MappingProxyType({})


def numbers(values: Iterable[float]) -> list[float | None]:
    """Return values with :data:`DIGITS` digits; None where a value is not finite, for JSON has no such number."""
    array = np.asarray(list(values) if not isinstance(values, np.ndarray) else values, dtype=float)
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in array.tolist()]


def layout(x: str, y: str, **more: Any) -> dict[str, Any]:
    """Return a figure's layout with titles of its axes; ``more`` is added to them (``xaxis``, ``yaxis``) or beside."""
    axes = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    for name, axis in axes.items():
        axis.update(more.pop(name, {}))
    return {**axes, **more}


def curve_line(place: int) -> dict[str, Any]:
    """Return colour and dash of the ``place``-th curve."""
    return {"color": CYCLE[place % len(CYCLE)], "dash": DASHES[place % len(DASHES)]}


def modality_lines(modalities: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return colour and dash by modality, in colours those of a run's plots: black and solid for the fused one."""
    lines: dict[str, dict[str, Any]] = {FUSED: {"color": BLACK, "dash": "solid"}}
    for place, modality in enumerate(dict.fromkeys(name for name in modalities if name != FUSED)):
        colour, dash = CYCLE[place % len(CYCLE)], DASHES[1 + place % (len(DASHES) - 1)]
        lines[modality] = {"color": colour, "dash": dash}
    return lines


def shade(colour: str, opacity: float) -> str:
    """Return ``#rrggbb`` as an ``rgba`` colour."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def band(
    label: str,
    x: list[Any],
    low: list[float | None],
    high: list[float | None],
    colour: str,
    meta: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return two traces that shade the area between ``low`` and ``high``, in the legend's group ``label``."""
    shared = {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "line": {"width": 0},
        "legendgroup": label,
        "showlegend": False,
        "hoverinfo": "skip",
        "meta": dict(meta),
    }
    return [{**shared, "y": low}, {**shared, "y": high, "fill": "tonexty", "fillcolor": shade(colour, 0.15)}]
