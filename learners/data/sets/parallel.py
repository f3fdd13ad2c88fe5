"""A small thread pool for work that reads files and releases the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKERS = 2


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield ``work(item)`` for each item, in the order of the items, two at a time in parallel."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(work, items)
