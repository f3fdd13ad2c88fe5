"""The executor in whose runs the work is done in a forked process."""

from __future__ import annotations

from netsim.work.executors.inline import Inline


class Forked(Inline):
    """Runs tasks in one forked process, which holds all their results: for many small ones. Linux, CPUs only.

    Orders travel, not models: which tasks there are, and what they need of each other. While that process trains and
    aggregates one round, this one simulates the next. See :mod:`netsim.work.forked`.
    """

    cpu_only = True
    moves = "at once"
