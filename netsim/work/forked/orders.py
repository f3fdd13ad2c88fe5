"""Inputs as they are sent to the forked process: numbers replace futures and shared values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from netsim.work.future import Future, Shared, replaced
from netsim.work.task import Task


class Reference(NamedTuple):
    """A future as it is sent: the number of its task, and the fields to follow from the result."""

    number: int
    path: tuple[Any, ...]


class Known(NamedTuple):
    """A shared value as it is sent: its number."""

    number: int


def by_number(value: Any) -> Any:
    """Return ``value`` with each future replaced by a reference and each shared value by its number."""
    return replaced(
        value, lambda future: Reference(future.task.number, future.path), lambda shared: Known(shared.number)
    )


def by_reference(value: Any, tasks: Mapping[int, Task]) -> Any:
    """Return ``value`` with each reference replaced by a future of ``tasks`` and each number by its shared value."""
    if type(value) is Reference:
        return Future(tasks[value.number], value.path)
    if type(value) is Known:
        return Shared.known[value.number]
    if isinstance(value, dict):
        return {
            key: item if type(item) in _PLAIN else by_reference(item, tasks) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        parts = [by_reference(part, tasks) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


_PLAIN = frozenset({int, float, str, bool, type(None)})
"""Types of values, of which there are very many, that hold nothing to replace."""
