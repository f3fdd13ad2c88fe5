"""The executor that runs jobs in worker processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from concurrent.futures import Executor as Pool
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from netsim.jobs.job import TrainingJob
from netsim.jobs.pooled import Pooled, one_thread_inside, run_job


class Processes(Pooled):
    """Runs jobs in worker processes, which take seconds to start; jobs travel as copies. For small networks on CPUs."""

    def _open(self, workers: int) -> Pool:
        # Spawned, not forked: a forked PyTorch inherits thread pools whose threads are gone.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(os.getpid(),))

    def _start(self, job: TrainingJob) -> Future[Any]:
        return self._pool.submit(_run_packed, pickle.dumps(job, protocol=5))

    def result(self, ticket: int) -> Any:
        """Wait for the job and unpack what it returned."""
        return pickle.loads(super().result(ticket))


def _run_packed(packed: bytes) -> bytes:
    """Do the work of a pickled job.

    Pickled here, because PyTorch teaches multiprocessing's own pickler to pass each tensor as an open file, which takes
    longer than a small network's training step.
    """
    return pickle.dumps(run_job(pickle.loads(packed)), protocol=5)


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    one_thread_inside()


def _end_with(parent: int) -> None:
    """A worker does not outlive a parent that was killed."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
