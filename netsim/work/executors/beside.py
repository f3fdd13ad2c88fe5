"""The executor in whose runs the learning has a process of its own."""

from __future__ import annotations

from netsim.work.executors.inline import Inline


class Beside(Inline):
    """Runs jobs in one process beside the clock's, which holds all models: for many small ones. Linux, CPUs only.

    Not jobs travel but what the clock has decided: who trains, who hears whom. While that process trains and combines
    one round, this one simulates the next. See :mod:`netsim.former.beside`.
    """

    cpu_only = True
    moves = "at once"
