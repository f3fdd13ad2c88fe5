"""The forked process, seen from the clock's."""

from __future__ import annotations

import multiprocessing
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from netsim.work.packing import copied, unpack

Said = tuple[Any, ...]
"""One thing to do: the name of a method of :class:`netsim.work.forked.service.Service`, and its arguments."""


class Answer(NamedTuple):
    """What the forked process sends for each message.

    Attributes:
        told: What observers are to be told: names of their hooks, and arguments.
        work_wall_s: Of its executor.
        jobs_done: Of its executor.
        facts: Of its executor.
        error: What it ended with.
        buffers: How many follow, with a value that was asked for.
    """

    told: Sequence[tuple[str, tuple[Any, ...]]]
    work_wall_s: float
    jobs_done: int
    facts: Mapping[str, Any]
    error: Exception | None = None
    buffers: int = 0


class ForkedProcess:
    """A forked copy of this process, and the pipe to it.

    Args:
        serve: What it does, given its end of the pipe.
    """

    def __init__(self, serve: Callable[[Connection], None]) -> None:
        # Forked, not spawned: the models need not travel, and no second PyTorch has to be loaded. The thread pools
        # that a forked PyTorch inherits have no threads; it computes with one, and does not miss them.
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe()

        def live() -> None:
            here.close()  # else the pipe would not end with the clock's process
            serve(there)

        self._process = context.Process(target=live, daemon=True)
        with warnings.catch_warnings():  # later Pythons warn of forks beside threads
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        there.close()
        self._connection = here
        self._buffers = 0

    def tell(self, said: Sequence[Said]) -> None:
        """Have all that done; it is always listening.

        Raises:
            RuntimeError: It has died.
        """
        try:
            self._connection.send_bytes(pickle.dumps(said))
        except OSError:
            raise self._death() from None

    def answers_within(self, limit_s: float | None) -> bool:
        """Whether there is an answer within so many seconds; None: however long that takes."""
        return self._connection.poll(limit_s)

    def answer(self) -> Answer:
        """The next one.

        Raises:
            RuntimeError: It has died.
        """
        self.answers_within(None)  # Ctrl-C strikes here, with nothing half read
        try:
            answer: Answer = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise self._death() from None
        self._buffers = answer.buffers
        return answer

    def value(self) -> Any:
        """Return the value that follows the last answer."""
        return unpack([copied(self._connection.recv_bytes()) for _ in range(self._buffers)])

    def end(self) -> None:
        """Kill it; whatever it was told of is answered, or lost."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _death(self) -> RuntimeError:
        self._process.join()
        return RuntimeError(
            f"the forked process has died (exit code {self._process.exitcode}; -9 often means that "
            "memory ran out); jobs.executor: inline needs no second one"
        )
