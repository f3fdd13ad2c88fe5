"""Sums of what receivers hear of those who disturb them, kept up to date as senders come and go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Ether(Protocol):
    """Gains between any two nodes, linked or not."""

    def across(
        self, senders: Sequence[int], receivers: Sequence[int], round: int
    ) -> tuple[Sequence[float], float]:
        """Return the power gains now from each of ``senders`` to its receiver, and until when ``round``'s fading holds.

        Args:
            senders: Numbers of the senders, in their ``round`` [pairs].
            receivers: Numbers of the receivers [pairs].
            round: The round.

        Returns:
            The gains [pairs], and the time [s].
        """

    def until_s(self, until_s: float, now_s: float | None = None) -> float:
        """Return when a gain that fading leaves alone until ``until_s`` [s] may change: then, or as nodes move."""


class Source(NamedTuple):
    """Power [W] and round of the latest transfer of somebody who is on the air."""

    power_w: float
    round: int


class Heard:
    """The sum of what one receiver hears, of which any term can be taken out again without a trace.

    It is kept as an unevaluated sum of two floats, whose error is at most some units in the 104th binary place of the
    largest sum that there was (Dekker, "A floating-point technique for extending the available precision", 1971). So
    what is left when a strong source falls silent is exact to rounding, be it 1e16 times as weak.

    Attributes:
        since_s: Time at which it was begun [s].
        terms_w: What is heard of each source, by its number [W].
        holds_until_s: Time until which nothing changes by fading, also of those who are too weak to count [s].
    """

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.terms_w: dict[int, float] = {}
        self.holds_until_s = math.inf
        self._high_w = self._low_w = 0.0

    def add(self, number: int, watts: float) -> None:
        """Add source ``number``, heard with ``watts``."""
        self.terms_w[number] = watts
        self._add(watts)

    def remove(self, number: int) -> bool:
        """Take source ``number`` out; return whether it was heard."""
        watts = self.terms_w.pop(number, None)
        if watts is None:
            return False
        self._add(-watts)
        if not self.terms_w:
            self._high_w = self._low_w = 0.0
        return True

    def without(self, number: int) -> float:
        """Return the sum of all but source ``number`` [W]."""
        watts = self.terms_w.get(number)
        if watts is None:
            return self._high_w
        if len(self.terms_w) == 1:
            return 0.0
        high_w, low_w = _two_sum(self._high_w, -watts)
        return high_w + (low_w + self._low_w)

    def _add(self, watts: float) -> None:
        high_w, low_w = _two_sum(self._high_w, watts)
        self._high_w, self._low_w = _two_sum(high_w, low_w + self._low_w)


def _two_sum(a: float, b: float) -> tuple[float, float]:
    """Return the sum of two floats, and what rounding has taken from it (Knuth, TAOCP 2, Section 4.2.2)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)
