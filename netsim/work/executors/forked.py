"""The executor that moves all tasks to a forked process."""

from __future__ import annotations

from netsim.work.executors.inline import Inline


class Forked(Inline):
    """Runs tasks in one forked process, which keeps all their results. For many small tasks; Linux, CPUs only.

    Only the graph travels between the processes: the tasks and their dependencies, but no models. While the forked
    process trains and aggregates one round, this one simulates the next. See :mod:`netsim.work.forked`.
    """

    cpu_only = True
    moves = "at once"
