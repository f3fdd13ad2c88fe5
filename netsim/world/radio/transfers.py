"""The messages of a round of all devices, as arrays of transfers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from netsim.core.arrays import Floats, Truths, Whole

Message = tuple[tuple[int, ...], float]
"""A message: receivers, and size [bit]."""

Messages = Sequence[Sequence[Message]]
"""Messages by sender."""


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
        sender: Sender of each link.
        receiver: Receiver of each link; links are in the order of their senders and then of their receivers.
    """

    def __init__(self, sender: Whole, receiver: Whole) -> None:
        self._nodes = int(receiver.max(initial=0)) + 1
        self._codes = sender * self._nodes + receiver
        self._shape: tuple[Any, ...] | None = None

    def sort(self, messages: Messages) -> tuple[Transfers, Floats]:
        """Return what goes over which link, and the sizes of messages [bit]; one of no bits is no transfer."""
        count = list(map(len, messages))
        receivers = [receivers for own in messages for receivers, _ in own]
        size_bits = np.array([bits for own in messages for _, bits in own], dtype=float)
        shape = count, receivers, (size_bits > 0).tobytes()
        if shape != self._shape:
            self._shape = shape
            self._sort(np.array(count, dtype=np.int64), receivers, size_bits > 0)
        return self._transfers, size_bits[self._is_transfer]

    def _sort(self, messages: Whole, receivers: Sequence[tuple[int, ...]], has_bits: Truths) -> None:
        """Sort messages: how many each device has, to whom each is, and whether it has bits."""
        count = np.fromiter(map(len, receivers), dtype=np.int64, count=len(receivers))
        sender = np.repeat(np.arange(len(messages)), messages)
        main = np.arange(len(sender)) == np.repeat(np.cumsum(messages) - messages, messages)
        receiver = np.fromiter(chain.from_iterable(receivers), dtype=np.int64, count=count.sum())
        link = np.searchsorted(self._codes, np.repeat(sender, count) * self._nodes + receiver)
        told = np.zeros(len(self._codes), dtype=bool)
        told[link] = True
        self._is_transfer = has_bits & (count > 0)
        link, count = link[np.repeat(self._is_transfer, count)], count[self._is_transfer]
        self._transfers = Transfers(
            link,
            np.repeat(np.arange(len(count)), count),
            [0, *np.cumsum(count).tolist()],
            sender[self._is_transfer],
            main[self._is_transfer],
            told,
            messages,
        )
