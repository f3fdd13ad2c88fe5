"""Rows of transfers in the order of their ends, where some are known before they end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import simpy

from netsim.events import TransferBatch, TransferRow

_KIND, _END = map(TransferRow._fields.index, ("kind", "end_s"))


class InOrder:
    """Passes transfers on to an observer in the order of their ends, many together where nobody waits for them.

    Args:
        env: The clock.
        observer: Called with transfers that have ended.
    """

    TOGETHER = 256

    def __init__(self, env: simpy.Environment, observer: Callable[[TransferBatch], None]) -> None:
        self._env = env
        self._observer = observer
        self._later: list[tuple[float, int, tuple[Any, ...]]] = []
        self._count = 0
        self._last_s = -math.inf

    def foretell(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Take rows of transfers that end now or later."""
        for row in rows:
            self._count += 1
            heappush(self._later, (row[_END], self._count, row))
            self._last_s = max(self._last_s, row[_END])

    def look(self) -> None:
        """Pass on what was foretold and has ended, if that is much or all."""
        if self._last_s <= self._env.now or len(self._later) > self.TOGETHER:
            self._catch_up()

    def __call__(self, batch: TransferBatch) -> None:
        """Pass on transfers that have ended just now."""
        self._catch_up()
        self._observer(batch)

    def _catch_up(self) -> None:
        later, now, ended = self._later, self._env.now, list[tuple[Any, ...]]()
        while later and later[0][0] <= now:
            ended.append(heappop(later)[2])
        for kind, rows in groupby(ended, itemgetter(_KIND)):
            columns = dict(zip(TransferRow._fields, map(list, zip(*rows, strict=True)), strict=True))
            arrays: Any = {name: np.array(column) for name, column in columns.items()}
            self._observer(TransferBatch(**arrays | {"kind": kind, "outcome": columns["outcome"]}))
