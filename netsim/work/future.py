"""Results that are not computed yet, and values that many tasks share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

from netsim.core.errors import ScenarioError
from netsim.work.job import name_of

if TYPE_CHECKING:
    from netsim.work.graph import Task


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
                    value = value[field] if isinstance(value, Mapping) else getattr(value, field)
                except (KeyError, AttributeError, TypeError):
                    raise ScenarioError(
                        f"learner: the result of task {name_of(self.task.function)} has no field {field!r}; it is "
                        f"of type {type(value).__name__}"
                    ) from None
            self._value = value
        return self._value


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


def futures(value: Any) -> list[Future]:
    """Return the futures in ``value``, also in nested dictionaries, lists and tuples."""
    found: list[Future] = []
    _collect((value,), found)
    return found


def _collect(values: Iterable[Any], found: list[Future]) -> None:
    for value in values:
        kind = type(value)
        if kind is Future:
            found.append(value)
        elif kind in _PLAIN:
            continue
        elif kind is dict:
            _collect(value.values(), found)
        elif kind is list or isinstance(value, tuple):
            _collect(value, found)


_PLAIN = frozenset({int, float, str, bool, type(None)})
"""Types of values that hold no futures."""


def opened(value: Any) -> Any:
    """Return ``value`` with each future and :class:`Shared` replaced by its value; all tasks must be done."""
    if type(value) is not dict:
        return replaced(value, Future.opened, _value)
    found, changed = {}, False
    for key, item in value.items():  # inputs of tasks: very many, mostly plain or opened before
        kind = type(item)
        if kind is Future:
            found[key] = item.opened() if item._value is UNOPENED else item._value
            changed = True
        elif kind in _PLAIN:
            found[key] = item
        else:
            found[key] = one = opened(item)
            changed = changed or one is not item
    return found if changed else value


def replaced(value: Any, future: Callable[[Future], Any], shared: Callable[[Shared], Any]) -> Any:
    """Return ``value`` with each future f replaced by ``future(f)`` and each shared value s by ``shared(s)``."""
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
