"""What a thread has built once and works with again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TypeVar

from learners.training.randomness import DrawingFrom

T = TypeVar("T")
_shelf = threading.local()


def built(key: Hashable, build: Callable[[], T]) -> T:
    """What this thread has under ``key``, or builds now, to work with until it asks for it again.

    Building networks draws initial weights and takes longer than many a training step. These weights are never used,
    since a state is put in first; whatever the last one left is what the next one finds. They are drawn apart, so that
    building moves nobody's random numbers.
    """
    shelf: dict[Hashable, T] = _shelf.__dict__.setdefault("built", {})
    if key not in shelf:
        with DrawingFrom(0):
            shelf[key] = build()
    return shelf[key]
