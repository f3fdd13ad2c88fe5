"""Finds out whether two processes would be faster than one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import mean
from typing import Any

from netsim.work.operator_threads import Inside

TRIAL = 2
"""So many rounds are timed as they are, and then as many with one thread inside operators, as the copy would have it.
The first round is not timed: in that one, executors are still finding out.
"""

WORTHWHILE_S = 0.5
"""Splitting a process costs some hundredths of a second, and memory that both write to: it must save more [s]."""

WORTHWHILE_SHARE = 0.1
"""So much of the rest of the run must be saved."""


class Trial:
    """Some rounds in one process, timed: would two have been faster?

    Args:
        rounds: Rounds of the run.
        inside: Says how many threads operators have.
    """

    def __init__(self, rounds: int, inside: Inside) -> None:
        self._rounds = rounds
        self._inside = inside
        self._clock_s: list[float] = []
        self._learning_s: list[float] = []
        self._since_s = 0.0
        self._tried = False  # with one thread inside operators

    def ends_well(self, round: int, begin_s: float, can_move: bool) -> bool:
        """``round`` was closed, which began at ``begin_s``; whether the trial has ended, with a yes."""
        end_s = time.perf_counter()
        if 1 < round <= 1 + 2 * TRIAL:
            self._clock_s.append(begin_s - self._since_s)
            self._learning_s.append(end_s - begin_s)
        self._since_s = end_s
        worthwhile = can_move and self._worthwhile()
        if round == 1 + TRIAL and worthwhile:
            self._tried = True
            self._inside.limit()
        if round != 1 + 2 * TRIAL or not self._tried:
            return False
        self._inside.limit(False)  # whoever goes on here has as many as before
        return worthwhile

    def facts(self) -> Mapping[str, Any]:
        """What was measured: mean times of a round."""
        if not self._clock_s:
            return {}
        clock_s, learning_s, alone_s = self._means()
        return {"clock_s": clock_s, "learning_s": learning_s, "learning_with_one_thread_s": alone_s}

    def _means(self) -> tuple[float, float, float | None]:
        """Of the clock; of the learning as it was, and with one thread."""
        usual_s, alone_s = self._learning_s[:TRIAL], self._learning_s[TRIAL:]
        return mean(self._clock_s), mean(usual_s), mean(alone_s) if alone_s and self._tried else None

    def _worthwhile(self) -> bool:
        """Whether the longer of both takes clearly less than both together, in the rounds after the trial."""
        if not self._clock_s:
            return False
        clock_s, learning_s, alone_s = self._means()
        together_s = clock_s + learning_s
        saved_s = together_s - max(clock_s, learning_s if alone_s is None else alone_s)
        rounds_left = self._rounds - (1 + 2 * TRIAL)
        return saved_s > WORTHWHILE_SHARE * together_s and rounds_left * saved_s > WORTHWHILE_S
