"""The executor that runs jobs on worker threads, each with one thread inside its operators."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar

from pydantic import Field

from netsim.jobs.executor import Executor
from netsim.jobs.job import TrainingJob
from netsim.options import Options


class ThreadsOptions(Options):
    """Block ``jobs.executor`` with name ``threads``."""

    workers: int | None = Field(None, gt=0, description="worker threads; null: one per core")


class Threads(Executor):
    """Runs jobs on worker threads of one intra-op thread each, as soon as they are submitted.

    PyTorch releases the interpreter lock inside its operators, so several small trainings keep several cores busy where
    one training with several threads would not. Nothing is copied, and results are those of ``inline`` with
    ``jobs.threads: 1``, bit for bit. ``work_wall_s`` is the time in which at least one job was running.
    """

    Options: ClassVar[type[Options]] = ThreadsOptions

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        workers = (options.workers if options else None) or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(workers, "job", initializer=_one_thread_inside)
        self._futures: dict[int, Future[Any]] = {}
        self._next = 0
        self._lock = threading.Lock()
        self._running = 0
        self._busy_since_s = 0.0

    def submit(self, job: TrainingJob) -> int:
        """Start ``job`` as soon as a worker is free."""
        self._next += 1
        self._futures[self._next] = self._pool.submit(self._run, job)
        return self._next

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

    def _run(self, job: TrainingJob) -> Any:
        with self._lock:
            if self._running == 0:
                self._busy_since_s = time.perf_counter()
            self._running += 1
        try:
            return job.function(**job.inputs)
        finally:
            with self._lock:
                self._running -= 1
                self.jobs_done += 1
                if self._running == 0:
                    self.work_wall_s += time.perf_counter() - self._busy_since_s


def _one_thread_inside() -> None:
    import torch  # the number of threads is a setting of each thread

    torch.set_num_threads(1)
