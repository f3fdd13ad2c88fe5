"""A small thread pool for work that reads files and lets go of the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKERS = 2


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``work(item)`` for each item, two at a time, results in the order of the items."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(work, items)
