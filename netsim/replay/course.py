"""The course of a run: all that decides what is learnt in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from netsim.core.errors import ScenarioError
from netsim.events import Observer, RoundRow
from netsim.protocols.asked import name_of_node
from netsim.work.future import Future


class Course(Observer):
    """Notes what is asked of a learner, by node and round, and stops where it differs from the run before.

    A learner's answers follow from the questions. So where these are the same, the same tasks are ordered with the same
    inputs, and the same is learnt, at whatever time.

    Args:
        devices: Number of devices; the server's number is the next one.
        rounds: Rounds of the run; what devices began of later ones, before it ended early, decides nothing.
        asynchronous: Whether a server uses what devices send when it is there. Then a device's training decides what is
            learnt only where the server uses it; what is under way at the end decides nothing.
        before: The course that this one has to follow; None for the first.

    Attributes:
        difference: Where it left that course, in words; empty if it has not.
    """

    def __init__(self, devices: int, rounds: int, asynchronous: bool, before: Course | None = None) -> None:
        self.difference = ""
        self._devices = devices
        self.rounds = rounds
        self._asynchronous = asynchronous
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
        if round > self.rounds or (self._asynchronous and node < self._devices and what != "measure"):
            return
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

    @property
    def ends(self) -> list[list[Any]]:
        """Return how rounds and devices have ended, in the order of their names."""
        found = [
            [*key, [told for told, _ in noted]]
            for key, noted in self._noted.items()
            if key[0] in ("outcome", "death")
        ]
        return sorted(found)

    def on_round_end(self, row: RoundRow, iterations: Mapping[str, int]) -> None:
        """Note how the round has ended."""
        self._ended[row.device] += 1
        self.note("outcome", row.device, row.round, row.outcome)

    def on_death(self, device: int, time_s: float) -> None:
        """Note it, if there were rounds to come."""
        round = self._ended[device] + 1
        if round <= self.rounds:
            self.note("death", device, round)

    def _differ(self, what: str, node: int, round: int, was: Any, now: Any) -> None:
        words, without = WORDS[what]
        old, new = (words(one[0], self._named) if one else "not" for one in (was, now))
        new = without if now is None else f"{new} otherwise" if old == new else new
        self.difference = (
            self.difference or f"round {round}, {self._name(node)}: would {new}; in the run it did {old}"
        )
        raise ScenarioError(self.difference)

    def _named(self, nodes: Iterable[int]) -> str:
        """List nodes: the server, or numbers of devices."""
        found = list(nodes)
        if found == [self._devices]:
            return "the server"
        return f"device{'s' if len(found) != 1 else ''} {', '.join(map(str, found)) or 'none'}"

    def _name(self, node: int) -> str:
        return "the network" if node == -1 else name_of_node(node, self._devices)


def described(value: Any) -> Hashable:
    """Return what tells ``value`` from others: numbers, texts, the origin of futures; of other objects their kind."""
    kind = type(value)
    if kind is Future:
        return value.task.result.origin, value.path
    if kind is int or kind is str:
        return value
    if kind is list or isinstance(value, tuple):
        return tuple([described(one) for one in value])
    if kind is dict or isinstance(value, Mapping):
        return tuple([(key, described(one)) for key, one in value.items()])
    return value if isinstance(value, int | float | str) and value == value else kind.__qualname__


def _computes(told: Any) -> str:
    counts = ", ".join(f"{count} of {modality}" for modality, count in told)
    return f"compute{counts and ' iterations: '}{counts}"


def _combines(senders: str, trained: bool) -> str:
    heard = f"what {senders} sent" if senders else "nothing that was sent"
    return f"combine {heard}{' with what it trained' if trained else ''}"


Words = Callable[[Any, Callable[[Iterable[int]], str]], str]
"""From what a person is told, and a function that lists nodes by name."""

WORDS: Mapping[str, tuple[Words, str]] = {
    "cost": (lambda told, _: _computes(told), "not compute"),
    "train": (lambda *_: "train", "not train"),
    "aggregate": (lambda told, named: _combines(told[0] and named(told[0]), told[1]), "not combine"),
    "aggregate_weighed": (
        lambda told, named: f"{_combines(told[0] and named(told[0]), told[1])}, weighed by its age",
        "not combine",
    ),
    "merge": (
        lambda told, _: f"average the models of edge servers {', '.join(map(str, told))}",
        "not average models",
    ),
    "evaluate": (lambda *_: "get evaluated", "not get evaluated"),
    "acknowledged": (
        lambda told, named: f"know that its message is with {named(k for k, arrived in told if arrived)}",
        "hear nothing of its message",
    ),
    "meets": (
        lambda told, named: f"meet {named(told[0][1])}, and these {[len(own) for _, own in told[1:]]} others",
        "meet nobody",
    ),
    "decide": (lambda told, named: f"decide on reports of {named(told)}", "not decide"),
    "task": (lambda told, _: f"order {told}", "order no more work"),
    "measure": (lambda *_: "get measured", "not get measured"),
    "outcome": (lambda told, _: f"end it as {told!r}", "not end it"),
    "death": (lambda *_: "run out of battery", "not run out of battery"),
}
"""What a node can do in a round, in words, and that it does not."""
