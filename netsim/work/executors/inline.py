"""The executor that runs jobs in this process when their results are asked for."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

from netsim.work.batching import Stacking, Unit
from netsim.work.executor import Executor
from netsim.work.job import TrainingJob, run_jobs


class Inline(Executor):
    """Runs jobs in this process, on the CPU or on one CUDA device, when a result is asked for.

    Together with that job it runs all pending jobs that stack with it. A job whose result is not asked for is never run
    alone. So the training of a device that died costs simulated joules but no real time.
    """

    def __init__(self, options: Any = None, stacking: Stacking | None = None) -> None:
        super().__init__(options, stacking)
        self._tickets = itertools.count()
        self._pending: dict[int, TrainingJob] = {}
        self._done: dict[int, Any] = {}

    def submit(self, job: TrainingJob) -> int:
        """Keep ``job`` until its result is asked for; return its ticket."""
        ticket = next(self._tickets)
        self._pending[ticket] = job
        return ticket

    def finish(self, tickets: Collection[int], wait: bool = True) -> dict[int, Any]:
        """Return results; if there are none and ``wait``, first run one of ``tickets`` and what stacks with it."""
        wanted = next((ticket for ticket in tickets if ticket in self._pending), None)
        if wait and wanted is not None and not any(ticket in self._done for ticket in tickets):
            begin = time.perf_counter()
            try:
                self._run(wanted)
            finally:
                self.work_wall_s += time.perf_counter() - begin
        return {ticket: self._done.pop(ticket) for ticket in tickets if ticket in self._done}

    def discard(self, ticket: int) -> None:
        """Drop the job, or its result."""
        self._pending.pop(ticket, None)
        self._done.pop(ticket, None)

    def early(self) -> Mapping[int, Any]:
        """Return the results that nobody has asked for."""
        return dict(self._done)

    def accept(self, result: Any) -> int:
        """Keep ``result`` until it is asked for; return its ticket."""
        ticket = next(self._tickets)
        self._done[ticket] = result
        return ticket

    def _run(self, wanted: int) -> None:
        first = self._pending[wanted]
        group = [wanted]
        if self.stacking.holds_back(first):
            group = [t for t, job in self._pending.items() if job.stack and job.stack.key == first.stack.key]  # type: ignore[union-attr]
            group.sort(key=lambda ticket: self._pending[ticket].number)
        jobs = [self._pending[ticket] for ticket in group]
        for unit in self.stacking.units(jobs, 1, _run_units):
            if len(group) > 1 and len(unit) == 1 and group[unit[0]] != wanted:
                continue  # a job that runs alone waits until it is asked for
            results = self._done_together([jobs[place] for place in unit])
            for place, result in zip(unit, results, strict=True):
                self._done[group[place]] = result
                del self._pending[group[place]]
            self.jobs_done += len(unit)

    def _done_together(self, unit: Unit) -> list[Any]:
        label = unit[0].stack.label if unit[0].stack else unit[0].name
        return self.inside.run(kind_of(unit), label, lambda: run_jobs(unit), len(unit))


def kind_of(unit: Unit) -> Hashable:
    """Return what threads inside operators are measured by: the kind of ``unit``'s jobs, and whether it is a stack."""
    first = unit[0]
    return first.stack.key if first.stack else first.name, len(unit) > 1


def _run_units(units: Sequence[Unit]) -> None:
    for unit in units:
        run_jobs(unit)
