"""The executor that runs jobs in worker processes."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import queue
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from netsim.core.errors import ScenarioError
from netsim.core.interrupts import held
from netsim.core.modules import look_in, looked_in
from netsim.core.scratch import delete_scratch
from netsim.work.batching import Stacking, Unit
from netsim.work.executors.pooled import Pooled
from netsim.work.executors.remote import Receiver, Sender, results
from netsim.work.executors.shared_memory import Block, Parcel, Reader, new_folder
from netsim.work.forking import can_fork_now, started
from netsim.work.heap import keep_freed_memory
from netsim.work.operator_threads import one_thread

ATTEMPTS = 3
"""Number of times that a unit is tried whose worker dies; then the run ends with an error."""


class Processes(Pooled):
    """Runs jobs in worker processes of this machine; states travel through shared memory. For small networks on CPUs.

    Workers are forked where that can be (Linux, no GPU), else each starts a Python of its own, which takes seconds. If
    one is killed, it is replaced by one that does, and its jobs are done again. This changes no result, because jobs
    depend on their inputs alone.
    """

    def __init__(self, options: Any = None, stacking: Stacking | None = None) -> None:
        super().__init__(options, stacking)
        self._folder = new_folder()
        self._free = weakref.finalize(self, delete_scratch, self._folder)
        self._places = itertools.count()
        self._sender: Sender[Parcel] = Sender(self._put)
        self._workers = [_Worker(Path(self._folder, str(number))) for number in range(self.workers)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._begun = False

    @property
    def works_elsewhere(self) -> bool:
        """Return true: jobs run in other processes."""
        return True

    def _start(self, unit: Unit) -> Future[list[Any]]:
        if not self._begun and can_fork_now():
            # All of them now, on this thread: no job keeps a lock yet that a forked process would wait for.
            with held():  # an interrupt must find something to end
                for worker in self._workers:
                    worker.start("fork")
        self._begun = True
        return super()._start(unit)

    def _run(self, unit: Unit) -> list[Any]:
        buffers, places = self._sender.pack(unit)
        worker = self._idle.get()  # there are as many threads as workers, so one is free
        try:
            return results(worker.ask(buffers, places))
        finally:
            self._idle.put(worker)

    def _put(self, buffers: Sequence[memoryview]) -> Parcel:
        return Block(f"{self._folder}/kept-{next(self._places)}").write(buffers)

    def close(self) -> None:
        """End the workers, even in the middle of their jobs, and free the shared memory."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.close()
        super().close()
        self._free()


class _Worker:
    """The simulator's side of one worker process, which is started at the latest when it is needed, and if it has died.

    Args:
        path: Path that the names of its blocks' files begin with.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._block = Block(f"{path}-in")
        self._process: Any = None
        self._connection: Any = None
        self._closed = False
        self._lock = threading.Lock()

    def ask(self, buffers: Sequence[memoryview], places: Mapping[int, Parcel]) -> list[Any]:
        """Have the worker run a packed unit and return its answer, which lies in shared memory until the next call.

        Raises:
            ScenarioError: The process died in each attempt, or there is not enough shared memory.
        """
        parcel = self._block.write(buffers)
        for _ in range(ATTEMPTS):
            self._be_alive()
            try:
                self._connection.send((parcel, places))
                answer = self._connection.recv()
            except (EOFError, OSError):
                self._process.kill()  # it is dead or dying; make sure that it is dead
                self._process.join()
                continue
            if isinstance(answer, Exception):
                raise answer
            return self._reader.read(answer)
        raise ScenarioError(
            f"jobs.executor: the worker process died in each of {ATTEMPTS} attempts at the same job "
            f"(exit code {self._process.exitcode}; -9 often means that memory ran out: use fewer jobs.executor.workers)"
        )

    def close(self) -> None:
        """Kill the process."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()
                self._process.join()

    def _be_alive(self) -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor was closed")
            if self._process is not None and self._process.is_alive():
                return
            self.start("spawn")

    def start(self, method: Literal["fork", "spawn"]) -> None:
        """Start the process by ``method``; see :func:`netsim.work.forking.started`."""
        for left in self._path.parent.glob(f"{self._path.name}-out-*"):
            left.unlink()
        self._reader = Reader()  # the next process's blocks may have the names of the last one's
        self._connection, theirs = multiprocessing.Pipe()
        self._process = started(method, _serve, theirs, str(self._path), os.getpid(), looked_in())
        theirs.close()  # so that the pipe ends when the process ends


def _serve(connection: Connection, path: str, parent: int, folders: Sequence[str]) -> None:
    """Run units in a worker process until the pipe ends."""
    look_in(folders)
    folder = os.path.dirname(path)
    threading.Thread(target=_end_with, args=(parent, folder), daemon=True).start()
    one_thread()
    keep_freed_memory()
    reader, block = Reader(), Block(f"{path}-out")
    receiver: Receiver[Parcel] = Receiver(lambda place: Reader().read(place))
    while True:
        try:
            parcel, places = connection.recv()
        except (EOFError, OSError):
            return _clean_up(folder)
        answer = receiver.do(reader.read(parcel), places)
        try:
            connection.send(block.write(answer))
        except ScenarioError as error:
            connection.send(error)


def _end_with(parent: int, folder: str) -> None:
    """End this worker when its parent was killed, even in the middle of a job."""
    while os.getppid() == parent:
        time.sleep(1.0)
    _clean_up(folder)
    os._exit(1)


def _clean_up(folder: str) -> None:
    """Free the shared memory of a parent that was killed."""
    delete_scratch(folder, patience_s=3.0)  # the other workers look once a second whether it lives
