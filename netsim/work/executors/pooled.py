"""What executors with a pool of workers have in common."""

from __future__ import annotations

import os
import threading
import time
from abc import abstractmethod
from collections.abc import Collection, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, ClassVar

from pydantic import Field

from netsim.core.options import Options
from netsim.work.batching import Stacking, Unit
from netsim.work.executors.executor import Executor
from netsim.work.job import TrainingJob


class PooledOptions(Options):
    """Block ``jobs.executor`` of an executor with workers."""

    workers: int | None = Field(None, gt=0, description="workers; null: one per core")


class Pooled(Executor):
    """Hands each job to a pool as soon as it is submitted; several small trainings keep several cores busy.

    Jobs that may be stacked are held until a result is asked for, and then handed out in units. Every worker computes
    with one intra-op thread, so results of single jobs are those of ``inline`` with ``jobs.threads: 1``, bit for bit.
    ``work_wall_s`` is the time in which at least one unit was in the workers' hands.
    """

    Options: ClassVar[type[Options]] = PooledOptions
    cpu_only = True

    @property
    def works_ahead(self) -> bool:
        """Whether jobs start while nobody waits: not where all are stacked, for who is stacked with whom must not be
        a matter of who is done first.
        """
        return self.stacking.mode != "on"

    def __init__(self, options: Any = None, stacking: Stacking | None = None, workers: int = 0) -> None:
        super().__init__(options, stacking)
        self.workers = workers or (options.workers if options else None) or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self.workers, "job", initializer=self._enter)
        self._held: dict[int, TrainingJob] = {}
        self._units: dict[int, tuple[Future[list[Any]], int]] = {}
        self._tickets = 0
        self._lock = threading.Lock()
        self._out = 0
        self._out_since_s = 0.0

    @abstractmethod
    def _run(self, unit: Unit) -> list[Any]:
        """Have ``unit`` done, and wait for its results; called on one of ``workers`` threads."""

    def _enter(self) -> None:
        """Called on each of the threads before its first unit."""

    def _start(self, unit: Unit) -> Future[list[Any]]:
        """Hand ``unit`` to the workers; its results, in order, come with the future."""
        return self._pool.submit(self._run, unit)

    def submit(self, job: TrainingJob) -> int:
        """Give ``job`` to the pool, or hold it for others to stack with."""
        self._tickets += 1
        if self.stacking.holds_back(job):
            self._held[self._tickets] = job
        else:
            self._hand_out([self._tickets], [job])
        return self._tickets

    def finish(self, tickets: Collection[int], wait: bool = True) -> dict[int, Any]:
        """Hand out what was held, and collect what is done; waits if ``wait`` and nothing is."""
        if any(ticket in self._held for ticket in tickets):
            self._release()
        futures = {self._units[ticket][0] for ticket in tickets if ticket in self._units}
        if wait and futures and not (self.works_ahead and any(future.done() for future in futures)):
            _wait(futures, FIRST_COMPLETED if self.works_ahead else ALL_COMPLETED)
        done: dict[int, Any] = {}
        for ticket in tickets:
            future, place = self._units.get(ticket, (None, 0))
            if future is None or not future.done():
                continue
            if done and future.exception() is not None:
                break  # an error must not take the results before it along; it is raised when asked for again
            del self._units[ticket]
            done[ticket] = future.result()[place]
        return done

    def close(self) -> None:
        """Drop what is waiting and let the workers go."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def discard(self, ticket: int) -> None:
        """Forget the job; it is not run if it is still held, or alone and no worker has taken it yet."""
        self._held.pop(ticket, None)
        future, _ = self._units.pop(ticket, (None, 0))
        if future is not None and not any(other is future for other, _ in self._units.values()):
            future.cancel()

    def _release(self) -> None:
        """Make units of all that is held, and hand them out."""
        tickets, jobs = list(self._held), list(self._held.values())
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
