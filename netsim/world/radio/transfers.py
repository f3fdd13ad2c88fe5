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
        inward: The transfers in the order of their receivers.
        first: First transfer of each message, and the number of transfers at the end.
        sender: Sender of each message, in ascending order.
        main: Whether it is the sender's first message [messages].
        told: Whether a message is sent over each link, maybe one of no bits [links].
        messages: Number of messages of each device, those of no bits and to nobody included.
    """

    link: Whole
    message: Whole
    inward: Whole
    first: Whole
    sender: Whole
    main: Truths
    told: Truths
    messages: Whole

    def in_order_of(self, messages: Whole) -> Whole:
        """Return the places of the transfers in the order of ``messages``."""
        begin, count = self.first[:-1][messages], np.diff(self.first)[messages]
        return np.arange(len(self.link)) + np.repeat(begin - (np.cumsum(count) - count), count)


class Sorting:
    """Sorts the messages of a round; where nothing but sizes has changed, the transfers are those of the round before.

    Args:
        sender: Sender of each link.
        receiver: Receiver of each link; links are in the order of their senders and then of their receivers.
        first: First link of each sender, and the number of links at the end.
    """

    def __init__(self, sender: Whole, receiver: Whole, first: Whole) -> None:
        self._first = first
        self._receiver = receiver
        self._nodes = int(receiver.max(initial=0)) + 1
        self._codes = sender * self._nodes + receiver
        self._shape: tuple[Any, ...] | None = None

    def sort(self, messages: Messages | float) -> tuple[Transfers, Floats]:
        """Return what goes over which link, and the sizes of messages [bit]; one of no bits is no transfer.

        Args:
            messages: By device; or the size [bit] of the one that each sends all its neighbours.
        """
        if isinstance(messages, float):
            return self._sort_alike(messages)
        count = list(map(len, messages))
        receivers = [receivers for own in messages for receivers, _ in own]
        size_bits = np.array([bits for own in messages for _, bits in own], dtype=float)
        shape = count, receivers, (size_bits > 0).tobytes()
        if shape != self._shape:
            self._shape = shape
            self._sort(np.array(count, dtype=np.int64), receivers, size_bits > 0)
        return self._transfers, size_bits[self._is_transfer]

    def _sort_alike(self, size_bits: float) -> tuple[Transfers, Floats]:
        """Do the same where each device sends all its neighbours one message of ``size_bits`` [bit]."""
        shape = (size_bits > 0,)
        if shape != self._shape:
            self._shape = shape
            degree = np.diff(self._first)
            count = degree[degree > 0] if size_bits > 0 else np.arange(0)
            message = np.repeat(np.arange(len(count)), count)
            link = np.arange(len(message))
            self._transfers = Transfers(
                link,
                message,
                self._inward(link),
                np.append(0, np.cumsum(count)),
                np.flatnonzero(degree)[: len(count)],
                np.ones(len(count), dtype=bool),
                np.ones(len(self._codes), dtype=bool),
                np.minimum(degree, 1),
            )
        return self._transfers, np.full(len(self._transfers.sender), size_bits)

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
            self._inward(link),
            np.append(0, np.cumsum(count)),
            sender[self._is_transfer],
            main[self._is_transfer],
            told,
            messages,
        )

    def _inward(self, link: Whole) -> Whole:
        return np.argsort(self._receiver[link], kind="stable")
