"""A diary: what is known to happen on a device, done when somebody asks."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

import simpy


class Diary:
    """Notes of what will happen on a device, each at a known time.

    A note needs no event. Whoever looks at the device, or changes something, calls :meth:`catch_up` first, which does
    what was due by now, in the order of times. While a note is done, :attr:`now` is its time.

    Args:
        env: The clock.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._notes: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        self._done_at_s: float | None = None
        self.last_s = env.now

    @property
    def now(self) -> float:
        """Return the present time, or that of the note that is being done [s]."""
        return self._env.now if self._done_at_s is None else self._done_at_s

    @property
    def pending(self) -> bool:
        """Return whether there are notes of what is still to come."""
        return bool(self._notes)

    @property
    def catching_up(self) -> bool:
        """Return whether a note is being done."""
        return self._done_at_s is not None

    def note(self, at_s: float, act: Callable[[], object]) -> None:
        """Note that ``act`` is to be called at ``at_s`` [s]; of one time, what was noted first comes first."""
        self._count += 1
        self.last_s = max(self.last_s, at_s)
        heappush(self._notes, (at_s, self._count, act))

    def catch_up(self) -> None:
        """Do what was due by now."""
        notes = self._notes
        if not notes or self._done_at_s is not None:
            return
        now = self._env.now
        while notes and notes[0][0] <= now:
            self._done_at_s, _, act = heappop(notes)
            act()
        self._done_at_s = None
