"""Rounds that nodes go through at their own pace, and when the last one has left each."""

from __future__ import annotations

from collections.abc import Callable

import simpy

from netsim.work.graph import TaskGraph


class OpenRounds:
    """Closes each round when the last node has left it; a round that no node has completed is not closed.

    Args:
        env: The clock.
        work: Is told of the end of a round.
        rounds: Number of rounds.
        nodes: Number of nodes that go through them.
        on_left: Called with each round that the last node has left.
        is_over: Tells whether the run has reached its target; no round is closed then.
    """

    def __init__(
        self,
        env: simpy.Environment,
        work: TaskGraph,
        rounds: int,
        nodes: int,
        on_left: Callable[[int], object] = lambda t: None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._is_over = is_over
        self._env, self._work, self._rounds, self._on_left = env, work, rounds, on_left
        self._inside = dict.fromkeys(range(1, rounds + 1), nodes)
        self._completed = 0

    def complete(self, t: int) -> None:
        """Note that a node has completed round ``t``, and leaves it."""
        self._completed = max(self._completed, t)
        self.leave(t)

    def give_up(self, t: int) -> None:
        """Note that a node will complete neither round ``t`` nor any later one."""
        for later in range(t, self._rounds + 1):
            self.leave(later)

    def join(self, t: int) -> None:
        """Note that a node that had given up goes through the rounds from ``t`` on, which nobody has begun."""
        for later in range(t, self._rounds + 1):
            self._inside[later] = self._inside.get(later, 0) + 1

    def leave(self, t: int) -> None:
        """Note that a node leaves round ``t`` without completing it."""
        self._inside[t] -= 1
        if self._inside[t] == 0:
            del self._inside[t]
            self._on_left(t)
            if t <= self._completed and not self._is_over():
                self._work.close(t, self._env.now)
