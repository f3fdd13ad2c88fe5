"""The first process's side of the forked process: starting it, messages and answers."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from netsim.core.errors import ScenarioError
from netsim.core.interrupts import held
from netsim.work.forking import started
from netsim.work.packing import copied, unpack


class Answer(NamedTuple):
    """The forked process's answer to a batch of messages.

    Attributes:
        told: Calls of the observer's hooks to make: names and arguments.
        work_wall_s: Wall-clock time that its executor has spent in jobs [s].
        jobs_done: Number of jobs that its executor has run.
        facts: Facts of its executor, for the run's record; None for those told before.
        error: The error that ended the process; None if there was none.
        buffers: Number of buffers that follow, with a value that was asked for.
    """

    told: Sequence[tuple[str, tuple[Any, ...]]]
    work_wall_s: float
    jobs_done: int
    facts: Mapping[str, Any] | None
    error: Exception | None = None
    buffers: int = 0


class ForkedProcess:
    """A forked process, and the pipe to it.

    Args:
        serve: The function that it runs, given its end of the pipe.
    """

    def __init__(self, serve: Callable[[Connection], None]) -> None:
        here, there = multiprocessing.Pipe()

        def live() -> None:
            here.close()  # else the pipe would stay open when the first process ends
            serve(there)

        self._process = started("fork", live)
        there.close()
        self._connection = here
        self._buffers = 0

    def tell(self, message: bytes) -> bool:
        """Send a message; this never blocks for long, because the forked process always listens.

        Returns:
            Whether it was sent. If not, the forked process has ended, and its last answer may say why.
        """
        try:
            self._connection.send_bytes(message)
        except OSError:
            return False
        return True

    def answers_within(self, limit_s: float | None) -> bool:
        """Wait up to ``limit_s`` [s] for an answer, without limit if None; return whether there is one."""
        return self._connection.poll(limit_s)

    def answer(self) -> Answer:
        """Return the next answer, for which :meth:`answers_within` has waited.

        Raises:
            ScenarioError: The forked process has died.
        """
        try:
            answer: Answer = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise self._death() from None
        self._buffers = answer.buffers
        return answer

    def value(self) -> Any:
        """Return the value that follows the last answer."""
        with held():
            return unpack([copied(self._connection.recv_bytes()) for _ in range(self._buffers)])

    def end(self) -> None:
        """Kill the forked process; messages without an answer are lost."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _death(self) -> ScenarioError:
        self._process.join()
        return ScenarioError(
            f"jobs.executor: the forked process has died (exit code {self._process.exitcode}; -9 often means that "
            "memory ran out); inline needs no second process"
        )
