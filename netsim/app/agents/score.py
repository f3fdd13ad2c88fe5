"""Rewards of an agent: metrics, joules and seconds of a run as it goes on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import simpy

from netsim.events import MetricRow, Observer, RoundBatch, RowBatch
from netsim.records.totals import Curve, Spent


class Score(Observer):
    """Adds up what has changed.

    A metric is the mean over devices in the last closed round that has it; it counts from 0.

    Args:
        env: The clock.
        devices: Number of devices.
        weights: What a unit of each is worth.

    Attributes:
        closed: Number of closed rounds.
    """

    def __init__(self, env: simpy.Environment, devices: int, weights: Mapping[str, float]) -> None:
        self._env = env
        self._weights = weights
        self._spent = Spent(devices)
        self._curves: defaultdict[str, Curve] = defaultdict(Curve)
        self._before: Mapping[str, float] = {}
        self.closed = 0

    def on_metrics(self, rows: Sequence[MetricRow]) -> None:
        """Take in metrics that are about no single modality."""
        for row in rows:
            if not row.modality:
                self._curves[row.name].add(row.round, row.device, row.value)

    def on_rounds(self, batch: RoundBatch) -> None:
        """Take in the energy of rounds."""
        self._spent.add(batch.columns)

    def on_outsides(self, batch: RowBatch) -> None:
        """Take in the energy of devices between their rounds."""
        self._spent.add(batch.columns)

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Count it."""
        self.closed = max(self.closed, round)

    def info(self) -> dict[str, Any]:
        """Return the values now."""
        self._spent.close(self._env.now)
        found = {"round": self.closed, "seconds": float(self._env.now), "joules": self._spent.mean_j}
        for name, curve in self._curves.items():
            ended = [value for t, value in curve.means.items() if t <= self.closed]
            found |= {name: ended[-1]} if ended else {}
        return found

    def since(self) -> float:
        """Return what all that has changed since the last call is worth."""
        now = self.info()
        worth = math.fsum(
            weight * (now.get(name, 0.0) - self._before.get(name, 0.0))
            for name, weight in self._weights.items()
        )
        self._before = now
        return worth
