"""The course of a run: all that decides what is learnt in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from netsim.core.errors import ScenarioError
from netsim.events import Observer, RoundRow
from netsim.work.future import Future


class Course(Observer):
    """Notes what is asked of a learner, by node and round, and stops where it differs from the run before.

    A learner's answers follow from the questions. So where these are the same, the same tasks are ordered with the same
    inputs, and the same is learnt, at whatever time.

    Args:
        devices: Number of devices; the server's number is the next one.
        rounds: Rounds of the run.
        before: The course that this one has to follow; None for the first.

    Attributes:
        difference: Where it left that course, in words; empty if it has not.
    """

    def __init__(self, devices: int, rounds: int, before: Course | None = None) -> None:
        self.difference = ""
        self._devices = devices
        self._rounds = rounds
        self._before = before
        self._noted: defaultdict[tuple[str, int, int], list[tuple[Any, Any]]] = defaultdict(list)
        self._ended = [0] * devices

    def note(self, what: str, node: int, round: int, told: Hashable = None, inputs: Any = None) -> None:
        """Note that ``what`` happened to ``node`` in ``round``.

        Args:
            what: One of :data:`WORDS`.
            node: A device, or the server.
            round: Its round.
            told: What a person is told of it.
            inputs: All that must be the same besides.

        Raises:
            ScenarioError: It did not happen in the run before, or otherwise.
        """
        noted = self._noted[what, node, round]
        noted.append((told, hash(described(inputs))))
        if self._before is not None:
            before = self._before._noted.get((what, node, round), ())
            was = before[len(noted) - 1] if len(noted) <= len(before) else None
            if was != noted[-1]:
                self._differ(what, node, round, was, noted[-1])

    def end(self) -> None:
        """Look whether all has happened that had happened in the run before.

        Raises:
            ScenarioError: It has not.
        """
        for (what, node, round), before in self._before._noted.items() if self._before else ():
            if len(before) > (number := len(self._noted[what, node, round])):
                self._differ(what, node, round, before[number], None)

    def on_round_end(self, row: RoundRow, iterations: Mapping[str, int]) -> None:
        """Note how the round has ended."""
        self._ended[row.device] += 1
        self.note("outcome", row.device, row.round, row.outcome)

    def on_death(self, device: int, time_s: float) -> None:
        """Note it, if there were rounds to come."""
        round = self._ended[device] + 1
        if round <= self._rounds:
            self.note("death", device, round)

    def _differ(self, what: str, node: int, round: int, was: Any, now: Any) -> None:
        who = "the server" if node == self._devices else f"device {node}"
        old, new = _in_words(what, was), _in_words(what, now)
        if old == new:
            new = "does so otherwise"
        self.difference = self.difference or f"round {round}, {who}: {old} in the run, and now {new}"
        raise ScenarioError(self.difference)


def described(value: Any) -> Hashable:
    """Return what tells ``value`` from others: numbers, texts, the origins of futures; of other objects their kind."""
    kind = type(value)
    if kind is Future:
        return value.task.result, value.path  # in a replay, this says who ordered it
    if isinstance(value, Mapping):
        return tuple((key, described(one)) for key, one in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(described, value))
    if isinstance(value, int | float | str) and value == value:
        return value
    return kind.__qualname__


def _in_words(what: str, noted: tuple[Any, Any] | None) -> str:
    words, without = WORDS[what]
    return without if noted is None else words(noted[0])


def _listed(numbers: Any) -> str:
    return ", ".join(map(str, numbers)) or "nobody"


def _iterations(told: Any) -> str:
    return ", ".join(f"{count} of {modality}" for modality, count in told) or "none stated"


def _always(words: str) -> Callable[[Any], str]:
    return lambda told: words


WORDS: Mapping[str, tuple[Callable[[Any], str], str]] = {
    "cost": (lambda told: f"computes (iterations: {_iterations(told)})", "does not compute"),
    "train": (_always("trains"), "does not train"),
    "aggregate": (
        lambda told: f"combines what {_listed(told[0])} sent" + (" with what it trained" if told[1] else ""),
        "does not combine",
    ),
    "evaluate": (_always("is evaluated"), "is not evaluated"),
    "acknowledged": (
        lambda told: f"knows that its message is with {_listed(k for k, arrived in told if arrived)}",
        "hears nothing of its messages",
    ),
    "decide": (lambda told: f"decides on reports of {_listed(told)}", "does not decide"),
    "task": (lambda told: f"orders {told}", "orders no more work"),
    "measure": (_always("measures"), "measures no more"),
    "outcome": (lambda told: f"ends it as {told!r}", "does not end it"),
    "death": (_always("runs out of battery"), "lives"),
}
"""What can happen to a node in a round, in words, and that it does not."""
