"""Numbers by pair of nodes, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from netsim.core.arrays import Floats, Whole


class Pairs(Mapping[tuple[int, int], float]):
    """A mapping from pairs of nodes to numbers, for very many pairs.

    Attributes:
        ends: The pairs [pairs, 2], in ascending order.
        numbers: The number of each [pairs].
        other: Computes the number of a pair that is not among them; None: such a pair is a KeyError.
    """

    def __init__(
        self, ends: Whole, numbers: Floats, other: Callable[[tuple[int, int]], float] | None = None
    ) -> None:
        self.ends = ends
        self.numbers = numbers
        self.other = other
        self._nodes = int(ends.max(initial=0)) + 1
        self._codes = ends[:, 0] * self._nodes + ends[:, 1]

    def places(self, a: Whole, b: Whole) -> Whole:
        """Return the place of each pair, all of which are there."""
        return np.searchsorted(self._codes, a * self._nodes + b)

    def __getitem__(self, pair: tuple[int, int]) -> float:
        a, b = pair
        place = int(np.searchsorted(self._codes, a * self._nodes + b))
        if place == len(self) or self.ends[place].tolist() != [a, b]:
            if self.other is None:
                raise KeyError(pair)
            return self.other(pair)
        return float(self.numbers[place])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return map(tuple, self.ends.tolist())

    def __len__(self) -> int:
        return len(self.numbers)
