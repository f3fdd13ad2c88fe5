"""The executor that runs jobs in worker processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
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

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._folder = tempfile.TemporaryDirectory(prefix="netsim-jobs-")
        self._files: dict[int, tuple[Any, str]] = {}

    def _start(self, job: TrainingJob) -> Future[Any]:
        sent = {name: value for name, value in job.inputs.items() if name not in job.kept}
        files = {name: self._file(job.inputs[name]) for name in sorted(job.kept)}
        return self._pool.submit(_run_packed, pickle.dumps((job.function, sent), protocol=5), files)

    def _file(self, value: Any) -> str:
        """The file that workers read ``value`` from, the first time that they need it."""
        known = self._files.get(id(value))
        if known is None:
            path = f"{self._folder.name}/{len(self._files)}"
            with open(path, "wb") as file:
                pickle.dump(value, file, protocol=5)
            # The value is held as long as its number is: another object must not come to the same address.
            known = self._files[id(value)] = (value, path)
        return known[1]

    def close(self) -> None:
        """Let the workers go, and remove what they read from."""
        super().close()
        self._folder.cleanup()

    def result(self, ticket: int) -> Any:
        """Wait for the job and unpack what it returned."""
        return pickle.loads(super().result(ticket))


_kept: dict[str, Any] = {}
"""What this worker has read, by file."""


def _run_packed(packed: bytes, files: dict[str, str]) -> bytes:
    """Do the work of a job whose inputs are pickled here and in files.

    Pickled by hand, because PyTorch teaches multiprocessing's own pickler to pass each tensor as an open file,
    which takes longer than a small network's training step.
    """
    function, inputs = pickle.loads(packed)
    for name, path in files.items():
        if path not in _kept:
            with open(path, "rb") as file:
                _kept[path] = pickle.load(file)
        inputs[name] = _kept[path]
    return pickle.dumps(run_job(TrainingJob(function, inputs)), protocol=5)


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    one_thread_inside()


def _end_with(parent: int) -> None:
    """A worker does not outlive a parent that was killed."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
