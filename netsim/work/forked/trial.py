"""Measuring whether a forked process would make a run faster."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import mean
from typing import Any

from netsim.work.operator_threads import Inside

TRIAL = 2
"""Number of rounds that are timed as they are, and then again with one thread inside operators.

The forked process computes with one thread. The first round is not timed, because executors measure in it.
"""

LAST = 1 + 2 * TRIAL
"""The round with which a trial ends."""

WORTHWHILE_S = 0.5
"""Least time that forking must save in the rest of the run [s].

A fork takes some hundredths of a second, and memory that both processes write to is copied.
"""

WORTHWHILE_SHARE = 0.1
"""Least share of the rest of the run that forking must save."""


class Trial:
    """Times of some rounds in one process, to estimate whether two processes would be faster.

    Args:
        rounds: Rounds of the run.
        inside: Sets the number of threads inside operators.
    """

    def __init__(self, rounds: int, inside: Inside) -> None:
        self._rounds = rounds
        self._inside = inside
        self._clock_s: list[float] = []
        self._learning_s: list[float] = []
        self._since_s = 0.0
        self._tried = False  # with one thread inside operators

    def ends_well(self, round: int, begin_s: float, can_move: bool) -> bool:
        """Note a closed round; return whether the trial has ended and forking is worthwhile.

        Args:
            round: The round that was closed.
            begin_s: Wall-clock time at which closing it began [s].
            can_move: Whether the tasks can move to a forked process.
        """
        end_s = time.perf_counter()
        if 1 < round <= LAST:
            self._clock_s.append(begin_s - self._since_s)
            self._learning_s.append(end_s - begin_s)
        self._since_s = end_s
        worthwhile = can_move and self._worthwhile()
        if round == 1 + TRIAL and worthwhile:
            self._tried = True
            self._inside.limit()
        if round != LAST or not self._tried:
            return False
        self._inside.limit(False)  # the number of threads is again as before the trial
        return worthwhile

    def facts(self) -> Mapping[str, Any]:
        """Return the mean times of a round [s], for the run's record."""
        if not self._clock_s:
            return {}
        clock_s, learning_s, alone_s = self._means()
        return {"clock_s": clock_s, "learning_s": learning_s, "learning_with_one_thread_s": alone_s}

    def _means(self) -> tuple[float, float, float | None]:
        """Return the mean times of a round [s]: of the simulation, of the tasks, and of the tasks with one thread."""
        usual_s, alone_s = self._learning_s[:TRIAL], self._learning_s[TRIAL:]
        return mean(self._clock_s), mean(usual_s), mean(alone_s) if alone_s and self._tried else None

    def _worthwhile(self) -> bool:
        """Return whether two processes, of which the slower one decides, would save enough in the rounds left."""
        if not self._clock_s:
            return False
        clock_s, learning_s, alone_s = self._means()
        together_s = clock_s + learning_s
        saved_s = together_s - max(clock_s, learning_s if alone_s is None else alone_s)
        rounds_left = self._rounds - LAST
        return saved_s > WORTHWHILE_SHARE * together_s and rounds_left * saved_s > WORTHWHILE_S
