"""Base class of executors with a pool of workers."""

from __future__ import annotations

import os
import threading
import time
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, ClassVar

from pydantic import Field

from netsim.core.interrupts import come
from netsim.core.options import MOST_AT_ONCE, Options
from netsim.work.batching import Stacking, Unit
from netsim.work.executor import Executor
from netsim.work.job import TrainingJob


class PooledOptions(Options):
    """Block ``jobs.executor`` of an executor with workers."""

    workers: int | None = Field(None, gt=0, le=MOST_AT_ONCE, description="workers; null: one per core")

    @property
    def count(self) -> int:
        """Return the number of workers."""
        return self.workers or os.cpu_count() or 1


class Pooled(Executor):
    """Gives each job to a pool of workers as soon as it is submitted, so that several cores are busy.

    Jobs that may be stacked are held until a result is asked for, and then given out in units. Every worker computes
    with one thread inside operators. So results of single jobs are those of ``inline`` with ``jobs.threads: 1``, bit
    for bit. ``work_wall_s`` is the time in which the workers had at least one unit.
    """

    Options: ClassVar[type[Options]] = PooledOptions
    cpu_only = True

    @property
    def works_ahead(self) -> bool:
        """Return whether jobs start before their results are asked for.

        They do not where all jobs are stacked. Else it would depend on real time which jobs share a stack.
        """
        return self.stacking.mode != "on"

    def __init__(self, options: Any = None, stacking: Stacking | None = None, workers: int = 0) -> None:
        super().__init__(options, stacking)
        self.workers = workers or (options or PooledOptions()).count
        self._pool = ThreadPoolExecutor(self.workers, "job", initializer=self._enter)
        self._held: dict[int, TrainingJob] = {}
        self._units: dict[int, tuple[Future[list[Any]], int]] = {}
        self._tickets = 0
        self._lock = threading.Lock()
        self._out = 0
        self._out_since_s = 0.0

    @abstractmethod
    def _run(self, unit: Unit) -> list[Any]:
        """Run ``unit``, wait for its results and return them; called on one of ``workers`` threads."""

    def _enter(self) -> None:
        """Prepare a thread; called on each of the threads before its first unit."""

    def _start(self, unit: Unit) -> Future[list[Any]]:
        """Give ``unit`` to the workers and return a future of its results, in order."""
        return self._pool.submit(self._run, unit)

    def submit(self, job: TrainingJob) -> int:
        """Give ``job`` to the pool, or hold it until it can be stacked with others; return its ticket."""
        self._tickets += 1
        if self.stacking.holds_back(job):
            self._held[self._tickets] = job
        else:
            self._hand_out([self._tickets], [job])
        return self._tickets

    def finish(self, tickets: Collection[int], wait: bool = True) -> dict[int, Any]:
        """Give out the jobs that were held, and return results; wait for one if ``wait`` and none is there."""
        if any(ticket in self._held for ticket in tickets):
            self._release()
        if not (wait or self.works_ahead):
            return {}  # else it would depend on real time what is done together next
        futures = {self._units[ticket][0] for ticket in tickets if ticket in self._units}
        if wait and futures and not (self.works_ahead and any(future.done() for future in futures)):
            _wait(futures, FIRST_COMPLETED if self.works_ahead else ALL_COMPLETED)
        done: dict[int, Any] = {}
        for ticket in tickets:
            future, place = self._units.get(ticket, (None, 0))
            if future is None or not future.done():
                continue
            if done and future.exception() is not None:
                break  # return the results before the error; it is raised at the next call
            del self._units[ticket]
            done[ticket] = future.result()[place]
        return done

    def close(self) -> None:
        """Drop the jobs that wait, and end the workers; an interrupt does not wait for those in the middle of a job."""
        self._pool.shutdown(wait=not come(), cancel_futures=True)

    def discard(self, ticket: int) -> None:
        """Drop the job; it is not run if it is held, or if it is a unit alone that no worker has begun."""
        self._held.pop(ticket, None)
        future, _ = self._units.pop(ticket, (None, 0))
        if future is not None and not any(other is future for other, _ in self._units.values()):
            future.cancel()

    def early(self) -> Mapping[int, Any]:
        """Wait for all that was given out, and return it, where it depends on what else is done together."""
        if self.works_ahead:
            return {}
        return {
            ticket: future.result()[place]
            for ticket, (future, place) in self._units.items()
            if future.exception() is None  # an error comes again
        }

    def accept(self, result: Any) -> int:
        """Keep ``result`` until it is asked for; return its ticket."""
        self._tickets += 1
        done: Future[list[Any]] = Future()
        done.set_result([result])
        self._units[self._tickets] = done, 0
        return self._tickets

    def _release(self) -> None:
        """Make units of all jobs that are held, and give them to the workers."""
        tickets = sorted(self._held, key=lambda ticket: self._held[ticket].number)
        jobs = [self._held[ticket] for ticket in tickets]
        self._held.clear()
        for unit in self.stacking.units(jobs, self.workers, self._run_units):
            self._hand_out([tickets[place] for place in unit], [jobs[place] for place in unit])

    def _hand_out(self, tickets: Sequence[int], unit: Unit) -> None:
        with self._lock:
            if self._out == 0:
                self._out_since_s = time.perf_counter()
            self._out += 1
        future = self._start(unit)
        for place, ticket in enumerate(tickets):
            self._units[ticket] = (future, place)
        count = len(unit)
        future.add_done_callback(lambda done: self._back(done, count))

    def _run_units(self, units: Sequence[Unit]) -> None:
        for future in [self._start(unit) for unit in units]:
            future.result()

    def _back(self, future: Future[list[Any]], jobs: int) -> None:
        with self._lock:
            self._out -= 1
            self.jobs_done += 0 if future.cancelled() else jobs
            if self._out == 0:
                self.work_wall_s += time.perf_counter() - self._out_since_s


def _wait(futures: Collection[Future[Any]], until: str) -> None:
    wait(futures, return_when=until)
