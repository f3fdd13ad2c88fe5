"""What SimPy's clock does not offer."""

from __future__ import annotations

from heapq import heappush
from typing import Any

import simpy
from simpy.events import NORMAL


def succeed_at(event: simpy.Event, at_s: float, value: Any = None) -> None:
    """Let ``event`` happen, with ``value``, at the simulated time ``at_s`` [s], which is not in the past.

    SimPy schedules by delays only, and ``now + (at_s - now)`` is often not ``at_s`` in floating point; two sides of one
    transfer would then disagree about its end. This does what ``Event.succeed`` and ``Environment.schedule`` do, with
    the time as it is.
    """
    assert not event.triggered and at_s >= event.env.now
    event._ok, event._value = True, value
    heappush(event.env._queue, (at_s, NORMAL, next(event.env._eid), event))
