"""Places of labels on a map: beside their points, where nothing else is."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

DISTANCE = 9.0
"""From a point to the middle of its label [points]."""

WAYS = np.array([(np.cos(angle), np.sin(angle)) for angle in np.pi / 4 * np.array([1, 7, 3, 5, 0, 2, 4, 6])])
"""Directions that a label may lie in, the usual one first."""


SIDES = (
    *("top right", "bottom right", "top left", "bottom left"),
    *("middle right", "top center", "middle left", "bottom center"),
)
"""What Plotly calls those directions."""


def offsets(places: np.ndarray) -> np.ndarray:
    """Return how far from its point each label's middle is, towards where most room is.

    Labels are dealt in the order of points, and each keeps away from all points and from labels that are there.

    Args:
        places: Where points are on the page [points, 2], in points.

    Returns:
        Offsets [points, 2], in points.
    """
    return DISTANCE * WAYS[ways(places)]


def ways(places: np.ndarray) -> np.ndarray:
    """Return the direction of each point's label, a place in :data:`WAYS` [points]; see :func:`offsets`."""
    taken = list(places)
    found = np.empty(len(places), dtype=int)
    for place, point in enumerate(places):
        others = np.array(taken[:place] + taken[place + 1 :]).reshape(-1, 2)
        middles = point + DISTANCE * WAYS
        gaps = np.linalg.norm(middles[:, None] - others[None], axis=-1)  # [ways, others]
        room = np.minimum(gaps.min(axis=1, initial=np.inf), 3 * DISTANCE)  # more is no better
        found[place] = np.argmax(room)
        taken.append(middles[found[place]])
    return found


def on_page(places: np.ndarray, width_pt: float) -> np.ndarray:
    """Return where places [names, 2] are on a map that is ``width_pt`` points wide, about."""
    return places / (float(np.ptp(places, axis=0).max()) or 1.0) * width_pt


def label(axes: Axes, names: list[str], places: np.ndarray) -> None:
    """Write ``names`` beside ``places`` [names, 2], in the axes' units; on lines they stand on white."""
    width_pt = 72 * axes.get_figure(root=True).get_figwidth()  # type: ignore[union-attr]
    for name, place, offset in zip(names, places, offsets(on_page(places, 0.6 * width_pt)), strict=True):
        axes.annotate(
            name,
            place,
            xytext=offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=7,
            zorder=5,
            path_effects=[withStroke(linewidth=1.8, foreground="white")],
        )
