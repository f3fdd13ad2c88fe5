"""What has arrived for a device, and what never will."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import simpy

from netsim.clock import succeed_at

NOTHING = object()
"""The sender has nothing for this receiver in this round."""

LOST = object()
"""The sender tried, and its message will not arrive."""


Letters = dict[int, tuple[float, Any]]
"""What is known of one round: by sender, when it arrives [s], and the payload."""


class Mailbox:
    """Messages by round and sender.

    A sender may be a round ahead, so messages wait here for their round. Senders that have nothing, or whose transfer
    failed, leave word: control signalling is taken to be free and sure.

    A message may be put in before it arrives, with the time at which it will: a promise. It lets the mailbox wake
    its owner once, when the last message is there, instead of at each. Nobody sees a promise before its time.
    """

    __slots__ = ("_closed", "_complete", "_rounds", "_waited_round", "_waiting_for", "env")

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self._rounds: dict[int, Letters] = {}
        self._closed = 0
        self._waiting_for: Collection[int] = ()
        self._waited_round = 0
        self._complete: simpy.Event = env.event()

    def put(self, round: int, sender: int, payload: Any, at_s: float) -> None:
        """Something (or :data:`NOTHING`, or :data:`LOST`) from ``sender``, that arrives at ``at_s`` [s].

        It is dropped if its round is over here.
        """
        put_all([self], round, sender, [payload], [at_s])

    def complete(self, round: int, senders: Collection[int]) -> simpy.Event | None:
        """An event that happens as soon as all ``senders`` are heard in ``round``; None if they are by now.

        Its value is true then; false if it happens because whoever waits must look again.
        """
        letters = self._rounds.get(round) or {}
        self._waited_round, self._waiting_for = round, senders
        self._complete = self.env.event()
        if letters.keys() >= set(senders):
            last_s = _last_s(letters) if letters else self.env.now
            if last_s <= self.env.now:
                self._waited_round = 0
                return None
            self._wake(last_s)
        return self._complete

    def poke(self) -> None:
        """Something happened elsewhere (a neighbour died): whoever waits looks again."""
        if self._waited_round:
            self._wake(self.env.now, False)

    def close(self, round: int) -> tuple[dict[int, Any], int]:
        """Take out what arrived in ``round`` by now; the round is over here.

        Returns:
            What arrived, by sender in the order of numbers, and how many senders left word that they have nothing.
        """
        now, letters = self.env.now, self._rounds.pop(round, None) or {}
        self._closed, self._waited_round = round, 0
        arrived, silent = {}, 0
        for sender in sorted(letters):
            at_s, payload = letters[sender]
            if at_s > now or payload is LOST:
                continue
            if payload is NOTHING:
                silent += 1
            else:
                arrived[sender] = payload
        return arrived, silent

    def _wake(self, at_s: float, complete: bool = True) -> None:
        """Have whoever waits go on at ``at_s``; from then on nobody is waited for."""
        self._waited_round = 0
        succeed_at(self._complete, max(at_s, self.env.now), complete)


def put_all(
    mailboxes: Iterable[Mailbox], round: int, sender: int, payloads: Iterable[Any], ends_s: Iterable[float]
) -> None:
    """:meth:`Mailbox.put` for several receivers of one sender.

    Much of what a message costs is spent here, on memory that is far away: little of each mailbox is touched.
    """
    for box, payload, at_s in zip(mailboxes, payloads, ends_s, strict=True):
        if round <= box._closed:
            continue
        letters = box._rounds.get(round)
        if letters is None:
            letters = box._rounds[round] = {}
        letters[sender] = (at_s, payload)
        if (
            round == box._waited_round
            and len(letters) >= len(box._waiting_for)
            and letters.keys() >= set(box._waiting_for)
        ):
            box._wake(_last_s(letters))


def _last_s(letters: Letters) -> float:
    """When the last of them arrives [s]."""
    return max([at_s for at_s, _ in letters.values()])
