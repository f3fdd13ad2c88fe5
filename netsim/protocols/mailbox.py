"""What has arrived for a device, and what never will."""

from __future__ import annotations

from typing import Any

import simpy

NOTHING = object()
"""The sender has nothing for this receiver in this round."""

LOST = object()
"""The sender tried, and its message will not arrive."""


class Mailbox:
    """Messages by round and sender.

    A sender may be a round ahead, so messages wait here for their round. Senders that have nothing, or whose transfer
    failed, leave word: control signalling is taken to be free and sure.

    Attributes:
        news: Fires, and is replaced, whenever anything changes that somebody may wait for.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.news: simpy.Event = env.event()
        self._rounds: dict[int, dict[int, Any]] = {}
        self._closed = 0

    def put(self, round: int, sender: int, payload: Any) -> None:
        """Something (or :data:`NOTHING`, or :data:`LOST`) from ``sender``; dropped if its round is over here."""
        if round > self._closed:
            self._rounds.setdefault(round, {})[sender] = payload
            self.poke()

    def poke(self) -> None:
        """Something happened elsewhere (a neighbour died): whoever waits looks again."""
        news, self.news = self.news, self.env.event()
        if news.callbacks:
            news.succeed()

    def heard(self, round: int) -> dict[int, Any]:
        """All that is known of ``round`` so far, by sender."""
        return self._rounds.get(round, {})

    def close(self, round: int) -> dict[int, Any]:
        """Take out what arrived in ``round``, by sender in the order of numbers; the round is over here."""
        self._closed = round
        heard = self._rounds.pop(round, {})
        return {s: heard[s] for s in sorted(heard) if heard[s] is not NOTHING and heard[s] is not LOST}
