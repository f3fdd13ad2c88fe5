"""The executor that runs each job in this process when its result is due."""

from __future__ import annotations

import itertools
import time
from typing import Any

from netsim.jobs.executor import Executor
from netsim.jobs.job import TrainingJob


class Inline(Executor):
    """Runs each job in this process, on the CPU or on one CUDA device, when its result is asked for.

    A job that nobody asks for is never run: the work of a device that died costs simulated joules
    and no real second.
    """

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._tickets = itertools.count()
        self._pending: dict[int, TrainingJob] = {}

    def submit(self, job: TrainingJob) -> int:
        """Keep ``job`` until it is asked for."""
        ticket = next(self._tickets)
        self._pending[ticket] = job
        return ticket

    def result(self, ticket: int) -> Any:
        """Run the job now and return what it returns."""
        job = self._pending.pop(ticket)
        begin = time.perf_counter()
        try:
            return job.function(**job.inputs)
        finally:
            self.work_wall_s += time.perf_counter() - begin
            self.jobs_done += 1

    def discard(self, ticket: int) -> None:
        """Forget the job; it is never run."""
        self._pending.pop(ticket, None)
