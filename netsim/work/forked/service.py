"""The life of the forked process: it does what the clock's process says, and answers."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, MutableMapping, Sequence
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any

from netsim.events import MetricRow, Observer
from netsim.work.executors.remote import portable
from netsim.work.forked.orders import by_reference
from netsim.work.forked.process import Answer
from netsim.work.future import Shared
from netsim.work.graph import Task, TaskGraph
from netsim.work.job import Stack
from netsim.work.packing import company, pack


class Service:
    """Does on a task graph what was said in the clock's process.

    Its methods are those of :class:`netsim.work.graph.TaskGraph`, with numbers for tasks: only what is small travels.

    Args:
        graph: The graph, as it was when the process was split.
        tasks: Its tasks, by number.
    """

    def __init__(self, graph: TaskGraph, tasks: MutableMapping[int, Task]) -> None:
        self._graph = graph
        self._tasks: dict[int, Task] = dict(tasks)
        self._stacks: list[Stack] = []
        self._shared: list[Shared] = []
        self._value: list[memoryview] = []

    def serve(self, connection: Connection) -> None:
        """Hear and answer, until the clock's process ends this one or goes away, or until there is an error."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the clock's to handle
        executor = self._graph.executor
        executor.inside.limit()
        executor.forked()
        self._graph.observer = notes = _Notes()
        heard: SimpleQueue[bytes] = SimpleQueue()
        Thread(target=_listen, args=(connection, heard), daemon=True).start()
        error: Exception | None = None
        while error is None:
            self._value = []
            try:
                for name, *given in pickle.loads(heard.get()):
                    getattr(self, name)(*given)
            except Exception as raised:
                error = portable(raised)
            done = executor.work_wall_s, executor.jobs_done, executor.facts()
            connection.send_bytes(pickle.dumps(Answer(notes.taken(), *done, error, len(self._value))))
            for buffer in self._value:
                connection.send_bytes(buffer)

    def add(
        self,
        number: int,
        function: Callable[..., Any],
        inputs: Any,
        round: int,
        stack: int | None,
        light: bool,
    ) -> None:
        """Add a task; ``stack`` is the number of what was said by :meth:`stack`."""
        how = self._stacks[stack] if stack is not None else None
        task = Task(function, by_reference(inputs, self._tasks), round, number, how, light)
        self._tasks[number] = task
        self._graph.add(task)

    def stack(self, stack: Stack) -> None:
        """Keep ``stack`` under the next number."""
        self._stacks.append(stack)

    def share(self, number: int, value: Any) -> None:
        """Keep what has been shared since the process was split."""
        shared = Shared(value, number)
        self._shared.append(shared)

    def forget(self, numbers: Sequence[int]) -> None:
        """Let go of tasks that nobody has a future of any more."""
        for number in numbers:
            self._tasks.pop(number, None)

    def cancel(self, numbers: Sequence[int], kept: Any) -> None:
        """Cancel tasks, but not those that ``kept`` waits for."""
        tasks = [self._tasks[number] for number in numbers if number in self._tasks]
        self._graph.cancel(tasks, by_reference(kept, self._tasks))

    def measure(self, node: int, round: int, time_s: float, metrics: Any) -> None:
        """Keep what was measured."""
        self._graph.measure(node, round, time_s, by_reference(metrics, self._tasks))

    def value(self, asked: Any) -> None:
        """Send what is ``asked`` for with the next answer."""
        self._send(self._graph.value(by_reference(asked, self._tasks)))

    def close(self, round: int, time_s: float) -> None:
        """End a round."""
        self._graph.close(round, time_s)

    def finish(self, states: Any) -> None:
        """Do all that is left, and send the last states with the next answer."""
        self._send(self._graph.finish(by_reference(states, self._tasks)))

    def _send(self, value: Any) -> None:
        with company(sys.maxsize):
            self._value = pack(value)


def _listen(connection: Connection, heard: SimpleQueue[bytes]) -> None:
    """Listen always, so that nobody who speaks has to wait: two who wait for each other would wait for ever."""
    try:
        while True:
            heard.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)  # the clock's process has ended


class _Notes(Observer):
    """What observers are to be told, somewhere else."""

    def __init__(self) -> None:
        self._told: list[tuple[str, tuple[Any, ...]]] = []

    def on_metrics(self, rows: Sequence[MetricRow]) -> None:
        self._told.append(("on_metrics", (rows,)))

    def on_round_closed(self, round: int, time_s: float) -> None:
        self._told.append(("on_round_closed", (round, time_s)))

    def taken(self) -> list[tuple[str, tuple[Any, ...]]]:
        told, self._told = self._told, []
        return told
