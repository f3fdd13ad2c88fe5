"""Time in which something goes on, however many things go on at once."""

from __future__ import annotations


class Coverage:
    """Adds up the time that at least one of many intervals covers, and the time that none does.

    Every interval begins now, and now never goes back. So all there is to remember is the moment up to which the
    count is complete: time before it is counted, and if it lies ahead, everything from now to there is covered.
    An interval is either known to its end (:meth:`cover`) or open until somebody ends it (:meth:`begin`,
    :meth:`end`). Each call takes the present time [s] and costs the same however many intervals there are.
    """

    __slots__ = ("_counted_until_s", "_covered_s", "_gaps_s", "_open")

    def __init__(self, now_s: float) -> None:
        self._counted_until_s = now_s
        self._covered_s = 0.0
        self._gaps_s = 0.0
        self._open = 0

    def cover(self, now_s: float, end_s: float) -> None:
        """An interval from now to ``end_s`` [s]."""
        until_s = self._counted_until_s
        if now_s > until_s:
            self._count(now_s)
            until_s = now_s
        if end_s > until_s:
            self._covered_s += end_s - until_s
            self._counted_until_s = end_s

    def begin(self, now_s: float) -> None:
        """An interval begins, and nobody knows for how long."""
        self._count(now_s)
        self._open += 1

    def end(self, now_s: float) -> None:
        """An interval that :meth:`begin` began ends."""
        self._count(now_s)
        self._open -= 1

    def covered_s(self, now_s: float) -> float:
        """Time covered up to now [s]."""
        self._count(now_s)
        return self._covered_s - (self._counted_until_s - now_s)

    def gaps_s(self, now_s: float) -> float:
        """Time up to now that nothing covered [s]."""
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
