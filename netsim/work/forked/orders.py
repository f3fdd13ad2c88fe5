"""Orders as they travel: numbers stand for futures, and for what both processes have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from netsim.work.future import Future, Shared, replaced
from netsim.work.graph import Task


class Reference(NamedTuple):
    """Stands for a future: the number of its task, and the fields to follow from its result."""

    number: int
    path: tuple[Any, ...]


class Known(NamedTuple):
    """Stands for what is shared: its number."""

    number: int


def by_number(value: Any) -> Any:
    """Return ``value`` with references in place of futures, and numbers in place of what is shared."""
    return replaced(
        value, lambda future: Reference(future.task.number, future.path), lambda shared: Known(shared.number)
    )


def by_reference(value: Any, tasks: Mapping[int, Task]) -> Any:
    """Return ``value`` with futures of ``tasks`` in place of references, and what is shared in place of numbers."""
    if type(value) is Reference:
        return Future(tasks[value.number], value.path)
    if type(value) is Known:
        return Shared.known[value.number]
    if isinstance(value, dict):
        return {key: by_reference(item, tasks) for key, item in value.items()}
    if isinstance(value, list | tuple):
        parts = [by_reference(part, tasks) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
