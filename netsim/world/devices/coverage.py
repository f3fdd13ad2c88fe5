"""Time covered by at least one of many intervals."""

from __future__ import annotations


class Coverage:
    """A sum of the time that at least one of many intervals covers, and of the time that none covers.

    Every interval begins now, and now never goes back. So one moment describes the state: time before it is
    counted, and if it lies ahead, the time from now to it is covered.
    The end of an interval is either known when it begins (:meth:`cover`) or comes later (:meth:`begin`,
    :meth:`end`). Each call takes the present time [s] and costs the same however many intervals there are.
    """

    __slots__ = ("_counted_until_s", "_covered_s", "_gaps_s", "_open")

    def __init__(self, now_s: float) -> None:
        self._counted_until_s = now_s
        self._covered_s = 0.0
        self._gaps_s = 0.0
        self._open = 0

    def cover(self, now_s: float, end_s: float) -> None:
        """Add an interval from now to ``end_s`` [s]."""
        until_s = self._counted_until_s
        if now_s > until_s:
            self._count(now_s)
            until_s = now_s
        if end_s > until_s:
            self._covered_s += end_s - until_s
            self._counted_until_s = end_s

    def begin(self, now_s: float) -> None:
        """Begin an interval of unknown length."""
        self._count(now_s)
        self._open += 1

    def end(self, now_s: float) -> None:
        """End an interval begun by :meth:`begin`."""
        self._count(now_s)
        self._open -= 1

    def covered_s(self, now_s: float) -> float:
        """Return the time up to now that intervals cover [s]."""
        self._count(now_s)
        return self._covered_s - (self._counted_until_s - now_s)

    def gaps_s(self, now_s: float) -> float:
        """Return the time up to now that no interval covers [s]."""
        self._count(now_s)
        return self._gaps_s

    def _count(self, now_s: float) -> None:
        since_s = now_s - self._counted_until_s
        if since_s > 0:
            if self._open:
                self._covered_s += since_s
            else:
                self._gaps_s += since_s
            self._counted_until_s = now_s
