"""What executors with a pool of workers have in common."""

from __future__ import annotations

import os
import threading
import time
from abc import abstractmethod
from concurrent.futures import Executor as Pool
from concurrent.futures import Future
from typing import Any, ClassVar

from pydantic import Field

from netsim.jobs.executor import Executor
from netsim.jobs.job import TrainingJob
from netsim.options import Options


class PooledOptions(Options):
    """Block ``jobs.executor`` of an executor with workers."""

    workers: int | None = Field(None, gt=0, description="workers; null: one per core")


class Pooled(Executor):
    """Hands each job to a pool as soon as it is submitted; several small trainings keep several cores busy.

    Every worker computes with one intra-op thread, so results are those of ``inline`` with ``jobs.threads: 1``,
    bit for bit. ``work_wall_s`` is the time in which at least one job was in the workers' hands.
    """

    Options: ClassVar[type[Options]] = PooledOptions
    cpu_only = True

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._pool = self._open((options.workers if options else None) or os.cpu_count() or 1)
        self._futures: dict[int, Future[Any]] = {}
        self._tickets = 0
        self._lock = threading.Lock()
        self._out = 0
        self._out_since_s = 0.0

    @abstractmethod
    def _open(self, workers: int) -> Pool:
        """The pool."""

    def _start(self, job: TrainingJob) -> Future[Any]:
        return self._pool.submit(run_job, job)

    def submit(self, job: TrainingJob) -> int:
        """Give ``job`` to the pool."""
        with self._lock:
            if self._out == 0:
                self._out_since_s = time.perf_counter()
            self._out += 1
        self._tickets += 1
        future = self._futures[self._tickets] = self._start(job)
        future.add_done_callback(self._back)
        return self._tickets

    def result(self, ticket: int) -> Any:
        """Wait for the job and return what it returned."""
        return self._futures.pop(ticket).result()

    def discard(self, ticket: int) -> None:
        """Forget the job; it is not run if no worker has taken it yet."""
        future = self._futures.pop(ticket, None)
        if future is not None:
            future.cancel()

    def close(self) -> None:
        """Drop what is waiting and let the workers go."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _back(self, future: Future[Any]) -> None:
        with self._lock:
            self._out -= 1
            self.jobs_done += not future.cancelled()
            if self._out == 0:
                self.work_wall_s += time.perf_counter() - self._out_since_s


def run_job(job: TrainingJob) -> Any:
    """Do the work."""
    return job.function(**job.inputs)


def one_thread_inside() -> None:
    """PyTorch's number of threads is a setting of each thread: make it one in this worker."""
    import torch

    torch.set_num_threads(1)
