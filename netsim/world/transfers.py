"""The messages of a round of all devices, as arrays of transfers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from netsim.core.arrays import Floats, Truths, Whole

Messages = Sequence[Sequence[tuple[tuple[int, ...], float]]]
"""Messages by sender: receivers, and size [bit]."""


class Transfers(NamedTuple):
    """The transfers of a round, grouped by message; mostly the same round after round.

    Attributes:
        link: Link of each transfer; those of a message follow each other.
        message: Message that it belongs to [transfers].
        first: First transfer of each message, and the number of transfers at the end.
        sender: Sender of each message, in ascending order.
        main: Whether it is the sender's first message [messages].
        told: Whether a message is sent over each link, maybe one of no bits [links].
        messages: Number of messages of each device, those of no bits and to nobody included.
    """

    link: Whole
    message: Whole
    first: list[int]
    sender: Whole
    main: Truths
    told: Truths
    messages: Whole

    def in_order_of(self, messages: Whole) -> Whole:
        """Return the places of the transfers in the order of ``messages``."""
        first = np.array(self.first)
        begin, count = first[:-1][messages], np.diff(first)[messages]
        return np.arange(len(self.link)) + np.repeat(begin - (np.cumsum(count) - count), count)


class Sorting:
    """Sorts the messages of a round; where nothing but sizes has changed, the transfers are those of the round before.

    Args:
        neighbours: The neighbours of each device, in the order of numbers. Links are numbered in this order.
    """

    def __init__(self, neighbours: Sequence[Sequence[int]]) -> None:
        self._neighbours = neighbours
        *self._first, self._links = accumulate(map(len, neighbours), initial=0)
        self._shapes: list[list[tuple[tuple[int, ...], bool]]] | None = None

    def sort(self, messages: Messages) -> tuple[Transfers, Floats]:
        """Return what goes over which link, and the sizes of messages [bit]; one of no bits is no transfer."""
        shapes = [[(receivers, bits > 0) for receivers, bits in own] for own in messages]
        if shapes != self._shapes:
            self._shapes, self._transfers = shapes, self._sorted(shapes)
        sizes = [bits for own in messages for receivers, bits in own if receivers and bits > 0]
        return self._transfers, np.array(sizes, dtype=float)

    def _sorted(self, shapes: Sequence[Sequence[tuple[tuple[int, ...], bool]]]) -> Transfers:
        """Return what goes over which link where ``shapes`` are receivers, and whether messages have bits."""
        links: list[int] = []
        first, senders, main = [0], [], []
        told = np.zeros(self._links, dtype=bool)
        for k, (own, known, begin) in enumerate(zip(shapes, self._neighbours, self._first, strict=True)):
            for number, (receivers, has_bits) in enumerate(own):
                places = [begin + bisect_left(known, n) for n in receivers]
                told[places] = True
                if has_bits and places:
                    links += places
                    first.append(len(links))
                    senders.append(k)
                    main.append(number == 0)
        return Transfers(
            np.array(links, dtype=np.int64),
            np.repeat(np.arange(len(senders)), np.diff(first)),
            first,
            np.array(senders, dtype=np.int64),
            np.array(main, dtype=bool),
            told,
            np.array([len(own) for own in shapes]),
        )
