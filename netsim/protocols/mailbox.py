"""Mailboxes: messages that have arrived for a device, and notes of those that will not arrive."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import simpy

from netsim.core.clock import succeed_at

NOTHING = object()
"""The sender has nothing for this receiver in this round."""

LOST = object()
"""The sender's message was lost and will not arrive."""


Letters = tuple[dict[int, Any], dict[int, float]]
"""Messages of one round: payloads and times of arrival [s], by sender."""


class Late(NamedTuple):
    """A message that arrives after the receiver has ended the round that it belongs to."""

    round: int
    sender: int
    payload: Any


class Post(NamedTuple):
    """The messages that a device received in one round.

    Attributes:
        arrived: Payloads by sender, in the order of numbers.
        in_time: Number of payloads of this round; the others are late ones that were kept.
        silent: Number of senders that had nothing to send.
        late: Number of messages of earlier rounds that arrived, kept or not.
    """

    arrived: dict[int, Any]
    in_time: int
    silent: int
    late: int = 0


class Mailbox:
    """Messages of one receiver, by round and sender.

    A sender may be a round ahead, so messages wait here for their round. The receiver also learns at once that a
    sender has nothing to send or that its transfer failed; such control messages are free and never lost.

    A message may be put in before it arrives, together with its time of arrival. So the mailbox can wake its owner
    once, when the last message arrives, instead of at each message. The owner does not see a message before its time.

    A message that arrives when its round is over is late. It is counted in the round in which it arrives. With
    ``keeps_late`` it is also used in that round, unless a newer one of the same sender has arrived there.
    """

    __slots__ = (
        "_closed",
        "_complete",
        "_keeps_late",
        "_late",
        "_rounds",
        "_waited_round",
        "_waiting_for",
        "env",
    )

    def __init__(self, env: simpy.Environment, keeps_late: bool = False) -> None:
        self.env = env
        self._keeps_late = keeps_late
        self._late: list[Late] = []
        self._rounds: dict[int, Letters] = {}
        self._closed = 0
        self._waiting_for: frozenset[int] = frozenset()
        self._waited_round = 0
        self._complete: simpy.Event = env.event()

    def put(self, round: int, sender: int, payload: Any, at_s: float) -> None:
        """Put in a payload (or :data:`NOTHING`, or :data:`LOST`) of ``sender`` that arrives at ``at_s`` [s]."""
        put_all([self], round, sender, [payload], [at_s])

    def complete(self, round: int, senders: Collection[int]) -> simpy.Event | None:
        """Return an event that happens when all ``senders`` have been heard in ``round``; None if they have been.

        The value of the event is true if all have been heard, and false if the owner must check again.
        """
        payloads, ends_s = self._rounds.get(round) or ({}, {})
        self._waited_round, self._waiting_for = round, frozenset(senders)
        self._complete = self.env.event()
        if payloads.keys() >= self._waiting_for:
            last_s = max(ends_s.values(), default=self.env.now)
            if last_s <= self.env.now:
                self._waited_round = 0
                return None
            self._wake(last_s)
        return self._complete

    def poke(self) -> None:
        """Wake the owner to check again, because something else happened, such as a neighbour's death."""
        if self._waited_round:
            self._wake(self.env.now, False)

    def close(self, round: int) -> Post:
        """End ``round`` for this receiver, and return what has arrived in it."""
        now = self.env.now
        payloads, ends_s = self._rounds.pop(round, ({}, {}))
        self._closed, self._waited_round = round, 0
        arrived, silent = {}, 0
        for sender in sorted(payloads):
            payload = payloads[sender]
            if payload is LOST or ends_s[sender] > now:
                continue
            if payload is NOTHING:
                silent += 1
            else:
                arrived[sender] = payload
        if not self._late:
            return Post(arrived, len(arrived), silent)
        return self._with_late(arrived, silent)

    def _with_late(self, arrived: dict[int, Any], silent: int) -> Post:
        """Return the post of a round with its late messages added; of several of one sender the newest."""
        late, self._late = sorted(self._late, key=lambda one: one.round), []
        kept = {one.sender: one.payload for one in late} if self._keeps_late else {}
        taken = kept | arrived
        return Post({sender: taken[sender] for sender in sorted(taken)}, len(arrived), silent, len(late))

    def _wake(self, at_s: float, complete: bool = True) -> None:
        """Let the owner go on at ``at_s`` [s], and stop waiting for senders."""
        self._waited_round = 0
        succeed_at(self._complete, max(at_s, self.env.now), complete)


def put_all(
    mailboxes: Iterable[Mailbox],
    round: int,
    sender: int,
    payloads: Iterable[Any],
    ends_s: Iterable[float],
) -> None:
    """Put the messages of one sender into the mailboxes of several receivers, as :meth:`Mailbox.put` does.

    Much of a message's simulation time is spent here, on access to memory. So as little as possible of each mailbox is
    read and written.
    """
    for box, payload, at_s in zip(mailboxes, payloads, ends_s, strict=True):
        if round <= box._closed:
            if payload is not NOTHING and payload is not LOST:
                box._late.append(Late(round, sender, payload))
            continue
        letters = box._rounds.get(round)
        if letters is None:
            letters = box._rounds[round] = {}, {}
        sent, due_s = letters
        sent[sender], due_s[sender] = payload, at_s
        if (
            round == box._waited_round
            and len(sent) >= len(box._waiting_for)
            and sent.keys() >= box._waiting_for
        ):
            box._wake(max(due_s.values()))
