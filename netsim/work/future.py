"""A result that is not there yet, and values that many tasks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from netsim.work.graph import Task


class Future:
    """The result of a task, or one field of it. Whoever holds one can pass it on, but not open it.

    Attributes:
        task: The task.
        path: Fields to follow from its result: keys of mappings, or names of attributes.
    """

    __slots__ = ("_value", "path", "task")
    _value: Any  # not there before it is opened

    def __init__(self, task: Task, path: tuple[Any, ...] = ()) -> None:
        self.task = task
        self.path = path

    def __getitem__(self, field: Any) -> Future:
        """Return a future of one field of the result."""
        return Future(self.task, (*self.path, field))

    def opened(self) -> Any:
        """Return the value; its task is done."""
        try:
            return self._value  # many receivers open the same message
        except AttributeError:
            value = self.task.result
            for field in self.path:
                value = value[field] if isinstance(value, Mapping) else getattr(value, field)
            self._value = value
            return value


class Shared:
    """A value that is the very same in many tasks, such as data: a worker elsewhere keeps its copy of it.

    Attributes:
        value: The value. It must not change.
        number: Its number in this process, and in copies of it.
    """

    _count: ClassVar[int] = 0
    known: ClassVar[WeakValueDictionary[int, Shared]] = WeakValueDictionary()

    def __init__(self, value: Any, number: int | None = None) -> None:
        self.value = value
        self.number = Shared._count if number is None else number
        Shared._count = max(Shared._count, self.number + 1)
        self.known[self.number] = self

    @classmethod
    def count(cls) -> int:
        """Return how many there have been."""
        return cls._count


def futures(value: Any) -> list[Future]:
    """Return the futures in ``value``: in dictionaries, lists, tuples and what these hold."""
    found: list[Future] = []
    _collect(value, found)
    return found


def _collect(value: Any, found: list[Future]) -> None:
    kind = type(value)
    if kind is Future:
        found.append(value)
    elif kind is dict:
        for item in value.values():
            if type(item) not in _PLAIN:
                _collect(item, found)
    elif kind is list or isinstance(value, tuple):
        for item in value:
            if type(item) not in _PLAIN:
                _collect(item, found)


_PLAIN = frozenset({int, float, str, bool, type(None)})
"""Types of values that hold no futures."""


def opened(value: Any) -> Any:
    """Return ``value`` with results in place of futures, and values in place of what is shared; all tasks are done."""
    return replaced(value, Future.opened, _value)


def replaced(value: Any, future: Callable[[Future], Any], shared: Callable[[Shared], Any]) -> Any:
    """Return ``value`` with ``future(f)`` in place of each future and ``shared(s)`` of what is shared."""
    kind = type(value)
    if kind is Future:
        return future(value)
    if kind is Shared:
        return shared(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        items = {key: replaced(item, future, shared) for key, item in value.items()}
        return items if any(items[key] is not item for key, item in value.items()) else value
    if kind is list or isinstance(value, tuple):
        parts = [replaced(part, future, shared) for part in value]
        if all(a is b for a, b in zip(parts, value, strict=True)):
            return value
        return kind(*parts) if hasattr(value, "_fields") else kind(parts)
    return value


def _value(shared: Shared) -> Any:
    return shared.value
