"""Centres of clusters: where edge servers stand if nobody says."""

from __future__ import annotations

import numpy as np

from netsim.world.topology.placement import Positions


def centres(positions: Positions, count: int) -> Positions:
    """Return the means of ``count`` clusters of ``positions`` [m], by Lloyd's algorithm; nothing is drawn.

    It begins with the position nearest to the mean of all, and then with that which is farthest from those chosen.
    """
    found = positions[[np.linalg.norm(positions - positions.mean(axis=0), axis=1).argmin()]]
    while len(found) < count:
        found = np.vstack([found, positions[_distances(positions, found).min(axis=1).argmax()]])
    while True:
        nearest = _distances(positions, found).argmin(axis=1)
        means = [
            positions[nearest == place].mean(axis=0) if (nearest == place).any() else found[place]
            for place in range(count)
        ]
        if np.array_equal(means, found):
            return found
        found = np.array(means)


def _distances(positions: Positions, others: Positions) -> Positions:
    """Return the distance of each position from each of ``others`` [m], shape [positions, others]."""
    return np.linalg.norm(positions[:, None] - others[None], axis=2)
