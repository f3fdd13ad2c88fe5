"""Additions to SimPy's clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappush
from typing import Any

import simpy
from simpy.events import NORMAL

LAST = NORMAL + 1
"""Priority of what comes after all else in its moment."""

ROUNDINGS = 16
"""A moment is a sum of some terms, each of which adds half a unit in the last place of error, one side of a comparison
as the other; moments that are no further apart than so many units are one."""


def succeed_at(event: simpy.Event, at_s: float, value: Any = None, priority: int = NORMAL) -> None:
    """Let ``event`` happen, with ``value``, at the simulated time ``at_s`` [s], which is not in the past.

    With ``priority`` :data:`LAST` it comes after all else in that moment.

    SimPy schedules by delays only, and ``now + (at_s - now)`` is often not ``at_s`` in floating point; two sides of one
    transfer would then disagree about its end. This does what ``Event.succeed`` and ``Environment.schedule`` do, with
    the time as it is.
    """
    assert not event.triggered and at_s >= event.env.now
    event._ok, event._value = True, value
    _push(event, at_s, priority)


def at_the_end_of_this_moment(env: simpy.Environment, call: Callable[[], None]) -> None:
    """Call ``call`` after all else that happens at the present simulated time."""
    event = env.event()
    event._ok, event._value = True, None
    event.callbacks.append(lambda _: call())
    _push(event, env.now, LAST)


def deadline(env: simpy.Environment, at_s: float, sums: int = 1) -> simpy.Event:
    """Return an event at the simulated time ``at_s`` [s], or now if that is past, after all else in that moment.

    So what ends in the very moment of a deadline is done. The moment is as long as rounding errors are: what is due
    within :data:`ROUNDINGS` units in the last place comes first, and the event happens right after it. On a schedule
    whose n-th deadline follows n rounds, each of which can have begun so much late, there are n such ``sums``.
    """
    event = env.event()
    until_s = at_s + sums * ROUNDINGS * math.ulp(at_s)

    def look(_: simpy.Event) -> None:
        due_s = env.now
        if env.peek() <= until_s:
            due_s = max(
                (time_s for time_s, rank, *_ in env._queue if time_s <= until_s and rank < LAST), default=0
            )
        if due_s > env.now:
            _look_at(due_s)
        else:
            event.succeed()

    def _look_at(time_s: float) -> None:
        glance = env.event()
        glance._ok, glance._value = True, None
        glance.callbacks.append(look)
        _push(glance, time_s, LAST)

    _look_at(max(at_s, env.now))
    return event


def _push(event: simpy.Event, at_s: float, priority: int) -> None:
    entry: Any = (at_s, priority, next(event.env._eid), event)
    heappush(event.env._queue, entry)
