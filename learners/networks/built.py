"""A cache of networks, and of what is known about them, in each thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TypeVar

from learners.networks.randomness import DrawingFrom

T = TypeVar("T")
_shelf = threading.local()


def built(key: Hashable, build: Callable[[], T]) -> T:
    """Return the object that this thread keeps under ``key``; build it on the first call.

    Building a network draws initial weights and takes longer than many a training step. These weights are never used,
    since a caller loads a state first. The object stays as the last caller left it. The weights have a random stream of
    their own, so that building does not change other random numbers.
    """
    shelf: dict[Hashable, T] = _shelf.__dict__.setdefault("built", {})
    if key not in shelf:
        with DrawingFrom(0):
            shelf[key] = build()
    return shelf[key]
