"""Tells observers where devices are that move."""

from __future__ import annotations

import numpy as np

from netsim.events import Observer, PositionRow, RowBatch
from netsim.world.mobility.mobility import Moving


class Tracker(Observer):
    """Passes positions on, as every so many rounds end.

    Args:
        mobility: How devices move; nobody else asks it, for it is asked in the order of rounds.
        every: Number of rounds between two records; 0: none.
        observer: Receives them.
    """

    def __init__(self, mobility: Moving, every: int, observer: Observer) -> None:
        self._mobility = mobility
        self._every = every
        self._observer = observer

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Say where everybody is at the end of the round."""
        if self._every and round % self._every == 0:
            positions = self._mobility.positions_m(time_s)
            row = PositionRow(round, time_s, np.arange(len(positions)), *positions.T)  # type: ignore[arg-type]
            self._observer.on_positions(RowBatch(row, len(positions)))
