"""Orders to the forked process, as bytes: numbers stand for futures, shared values and stacks."""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

from netsim.work.future import Future, Shared
from netsim.work.job import Stack, cannot_be_sent, name_of
from netsim.work.task import Task

Order = tuple[Any, ...]
"""The name of a method of :class:`netsim.work.forked.service.Service`, and its arguments."""


class Writer:
    """Writes orders as messages.

    What several orders of a message have in common is written once, such as an outbox that twenty neighbours hear.
    Shared values and stacks are written once a run, and as numbers from then on. Made before the fork, so that values
    shared by then need not be written at all.
    """

    def __init__(self) -> None:
        self._shared_before = Shared.count()
        self._written: dict[int, tuple[int, Any]] = {}  # by id; with the values, so that ids stay theirs
        self._begin()

    def write(self, *order: Any) -> None:
        """Add an order to the message.

        Raises:
            ScenarioError: What a learner gave for it cannot be sent; names the task.
        """
        try:
            self._pickler.dump(order)
        except Exception as error:
            what = f"task {name_of(order[3])}" if order[0] == "add" else f"what is given to {order[0]!r}"
            raise cannot_be_sent(what, error) from error

    def message(self) -> bytes:
        """Return the message, and begin another."""
        message = self._file.getvalue()
        self._begin()
        return message

    def _begin(self) -> None:
        self._file = io.BytesIO()
        self._pickler = pickle.Pickler(self._file, pickle.HIGHEST_PROTOCOL)
        own: dict[type, Any] = {Future: _future, Shared: self._shared, Stack: self._once}
        self._pickler.dispatch_table = copyreg.dispatch_table | own

    def _shared(self, shared: Shared) -> Any:
        if shared.number < self._shared_before:
            return Reader.shared_before, (shared.number,)
        return self._once(shared)

    def _once(self, value: Any) -> Any:
        if id(value) in self._written:
            return Reader.again, (self._written[id(value)][0],)
        number = len(self._written)
        self._written[id(value)] = number, value
        return Reader.first, (number, type(value), vars(value))


def _future(future: Future) -> Any:
    return Reader.future, (future.task.number, future.path)


class Reader:
    """Reads messages, in the forked process.

    Args:
        tasks: Tasks by number, kept up to date by whoever carries out the orders.
    """

    def __init__(self, tasks: Mapping[int, Task]) -> None:
        self._tasks = tasks
        self._kept: dict[int, Any] = {}

    def orders(self, message: bytes) -> Iterator[Order]:
        """Yield the orders of a message; what an order refers to must be there when the next one is asked for."""
        file = io.BytesIO(message)
        unpickler = _Unpickler(file, self)
        while file.tell() < len(message):
            yield unpickler.load()

    def future(self, number: int, path: tuple[Any, ...]) -> Future:
        """Return a future of a task's result, or of a field of it."""
        return Future(self._tasks[number], path)

    def shared_before(self, number: int) -> Shared:
        """Return a value that was shared before the fork."""
        return Shared.known[number]

    def first(self, number: int, kind: type, fields: Mapping[str, Any]) -> Any:
        """Make a value, and keep it under its number."""
        return self._kept.setdefault(number, kind(**fields))

    def again(self, number: int) -> Any:
        """Return a value that was kept."""
        return self._kept[number]


class _Unpickler(pickle.Unpickler):
    """Finds the methods of a reader where a message has those of its class."""

    def __init__(self, file: io.BytesIO, reader: Reader) -> None:
        super().__init__(file)
        self._reader = reader

    def find_class(self, module: str, name: str) -> Any:
        kind, _, method = name.partition(".")
        if module == __name__ and kind == Reader.__name__ and method:
            return getattr(self._reader, method)
        return super().find_class(module, name)
