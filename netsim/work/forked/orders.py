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
    return replaced(value, {Future: _reference, Shared: lambda shared: Known(shared.number)})


def by_reference(value: Any, tasks: Mapping[int, Task]) -> Any:
    """Return ``value`` with each reference replaced by a future of ``tasks`` and each number by its shared value."""
    return replaced(
        value,
        {
            Reference: lambda sent: Future(tasks[sent.number], sent.path),
            Known: lambda sent: Shared.known[sent.number],
        },
    )


def _reference(future: Future) -> Reference:
    return Reference(future.task.number, future.path)
