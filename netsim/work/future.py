"""Results that are not computed yet, and values that many tasks share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from netsim.core.errors import ScenarioError
from netsim.work.job import name_of
from netsim.work.task import Task

UNOPENED = object()
"""The value of a future that nobody has opened yet."""


class Future:
    """A stand-in for the result of a task, or for one field of it; it can be passed on before the result is known.

    Attributes:
        task: The task.
        path: Fields to follow from the result: keys of mappings, or names of attributes.
    """

    __slots__ = ("_value", "path", "task")

    def __init__(self, task: Task, path: tuple[Any, ...] = ()) -> None:
        self.task = task
        self.path = path
        self._value: Any = UNOPENED

    def __getitem__(self, field: Any) -> Future:
        """Return a future of one field of the result."""
        return Future(self.task, (*self.path, field))

    def opened(self) -> Any:
        """Return the value; the task must be done."""
        if self._value is UNOPENED:
            value = self.task.result
            for field in self.path:
                try:
                    mapped = _is_mapping(type(value))  # type: ignore[arg-type]
                    value = value[field] if mapped else getattr(value, field)
                except (KeyError, AttributeError, TypeError):
                    raise ScenarioError(
                        f"learner: the result of task {name_of(self.task.function)} has no field {field!r}; it is "
                        f"of type {type(value).__name__}"
                    ) from None
            self._value = value
        return self._value

    def answer(self, value: Any) -> None:
        """Take ``value`` for the value, though the task is not done: it was done in another run."""
        self._value = value


class Shared:
    """A value that many tasks use, such as data; a worker in another process receives it once and keeps it.

    Attributes:
        value: The value. It must not change.
        number: Its number in this process and in forked ones.
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
        """Return the number of shared values made so far."""
        return cls._count


PLAIN = frozenset({str, int, float, bool, type(None)})
"""Types of values that hold no futures, by which most inputs of tasks are passed over."""


def awaited(value: Any) -> list[Task]:
    """Return the tasks that must be done before ``value`` is known: those of its futures, in their order.

    Futures may also lie in nested dictionaries, lists and tuples.
    """
    return [future.task for future in futures(value) if not future.task.done]


def futures(value: Any) -> list[Future]:
    """Return the futures in ``value``, also those in nested dictionaries, lists and tuples."""
    found: list[Future] = []
    _collect((value,), found)
    return found


def _collect(values: Iterable[Any], found: list[Future]) -> None:
    for value in values:
        kind = type(value)
        if kind is Future:
            found.append(value)
        elif kind in PLAIN:
            continue
        elif kind is dict:
            _collect(value.values(), found)
        elif kind is list or isinstance(value, tuple):
            _collect(value, found)


def opened(value: Any) -> Any:
    """Return ``value`` with each future and :class:`Shared` replaced by its value; all tasks must be done.

    They may lie in nested dictionaries, lists and tuples. What holds none of them is not copied.
    """
    kind = type(value)
    if kind is Future:
        return value.opened()
    if kind is Shared:
        return value.value
    if kind is not dict and kind is not list and not isinstance(value, tuple):
        return value
    changed: Any = None
    for place, part in value.items() if kind is dict else enumerate(value):
        held = type(part)
        if held in PLAIN:
            continue
        new = part._value if held is Future and part._value is not UNOPENED else opened(part)
        if new is not part:
            if changed is None:
                changed = dict(value) if kind is dict else list(value)
            changed[place] = new
    if changed is None:
        return value
    if kind is dict or kind is list:
        return changed
    return kind(*changed) if hasattr(kind, "_fields") else kind(changed)


@cache
def _is_mapping(kind: type) -> bool:
    return issubclass(kind, Mapping)
