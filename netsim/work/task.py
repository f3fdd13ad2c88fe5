"""One node of the task graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any
from weakref import ref

from netsim.work.job import Inputs, Stack
from netsim.work.keys import Key

NOTHING: Inputs = MappingProxyType({})
"""The inputs of a task that needs none any more."""


class Task:
    """One node of the graph: a function, its inputs, and later its result.

    Attributes:
        function: The function to call.
        inputs: Its arguments by name, values and futures; emptied when the task is done.
        round: The round that the task belongs to.
        number: Position in the order in which tasks were made.
        key: Its name in a snapshot; None where none are written.
        stack: How the task is done in one batch with others of its kind; None if it cannot be.
        light: Whether the task is done without the executor, together with all ready tasks of the same function.
        late: Whether other tasks go first, because only metrics wait for it.
        sources: The tasks that this one waits for; empty when it is ready.
        followers: Tasks that wait for this one.
        needed: Whether its result, directly or through other tasks, has been asked for.
        ticket: The executor's number for it while the executor has it, else None.
        result: The return value of the function.
        done: Whether the result is there.
        cancelled: Whether the result will not be used.
    """

    __slots__ = (
        "__weakref__", "cancelled", "done", "followers", "function", "inputs", "key", "late", "light", "needed",
        "number", "result", "round", "sources", "stack", "ticket",
    )  # fmt: skip

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: Inputs,
        round: int,
        number: int,
        stack: Stack | None,
        light: bool,
        late: bool = False,
        key: Key | None = None,
    ) -> None:
        self.function = function
        self.inputs = inputs
        self.round = round
        self.number = number
        self.key = key
        self.stack = stack
        self.light = light
        self.late = late
        self.sources: list[Task] = []
        self.followers: list[Task] = []
        self.needed = False
        self.ticket: int | None = None
        self.result: Any = None
        self.done = False
        self.cancelled = False


def any_left(tasks: list[Task]) -> bool:
    """Return whether any of ``tasks`` is not done; those that are done are dropped from the list's end.

    Mostly the last one that is done is the last one that was ordered, so little is looked at twice.
    """
    while tasks and tasks[-1].done:
        tasks.pop()
    return bool(tasks)


class Living:
    """The tasks that somebody still has, in the order in which they were made."""

    def __init__(self) -> None:
        self._made: list[ref[Task]] = []
        self._most = 1024

    def add(self, task: Task) -> None:
        """Add a task that was just made."""
        self._made.append(ref(task))
        if len(self._made) > self._most:
            self._made = [one for one in self._made if one() is not None]
            self._most = 1024 + 2 * len(self._made)

    def __iter__(self) -> Iterator[Task]:
        """Return those that are still there."""
        return (task for one in self._made if (task := one()) is not None)
