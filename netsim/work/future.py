"""Results that are not computed yet, and values that many tasks share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

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

    def opened(value: Any) -> Any:
    """Return ``value`` with each future and :class:`Shared` replaced by its value; all tasks must be done."""
    if type(value) is not dict:
        return replaced(value, Future.opened, _value)
    found = {}
    for key, item in value.items():  # inputs of tasks: very many, mostly plain or opened before
        kind = type(item)
        if kind is Future:
            found[key] = item.opened() if item._value is UNOPENED else item._value
        else:
            found[key] = item if kind in _PLAIN else opened(item)
    return found


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
        return {
            key: future(item) if type(item) is Future else replaced(item, future, shared)
            for key, item in value.items()
        }
    if kind is list or isinstance(value, tuple):
        parts = [replaced(part, future, shared) for part in value]
        if kind is tuple or kind is list:
            return kind(parts)
        return kind(*parts) if hasattr(value, "_fields") else kind(parts)
    return value


def _value(shared: Shared) -> Any:
    return shared.value
