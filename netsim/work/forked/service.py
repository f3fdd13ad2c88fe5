"""The forked process's side: it receives messages, acts on the task graph and answers."""

from __future__ import annotations

import math
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from netsim.events import AnswerRow, MetricRow, Observer
from netsim.learner import Kept
from netsim.work.executors.remote import portable
from netsim.work.forked.orders import Reader
from netsim.work.forked.process import Answer
from netsim.work.graph import TaskGraph
from netsim.work.job import Inputs, Stack, cannot_be_sent
from netsim.work.keys import Key
from netsim.work.packing import company, pack
from netsim.work.task import Task

FACTS_S = 1.0
"""Time after which the first process is told anew how tasks are run, which seldom changes [s]."""


class Service:
    """Calls methods of the task graph on behalf of the first process.

    Its methods are those of :class:`netsim.work.graph.TaskGraph`, with numbers in place of tasks.

    Args:
        graph: The graph as it was at the fork.
        tasks: Its tasks.
    """

    def __init__(self, graph: TaskGraph, tasks: Iterable[Task]) -> None:
        self._graph = graph
        self._tasks = {task.number: task for task in tasks}
        self._value: list[memoryview] = []

    def serve(self, connection: Connection) -> None:
        """Receive messages and answer them until the first process ends or kills this one, or until an error."""
        executor = self._graph.executor
        executor.inside.limit()
        executor.forked()
        self._graph.observer = notes = _Notes()
        heard: SimpleQueue[bytes] = SimpleQueue()
        Thread(target=_listen, args=(connection, heard), daemon=True).start()
        reader = Reader(self._tasks)
        error: Exception | None = None
        facts_due_s = -math.inf
        while error is None:
            self._value = []
            try:
                for name, *given in reader.orders(heard.get()):
                    getattr(self, name)(*given)
            except Exception as raised:
                error = portable(raised)
            facts = None
            if error is not None or self._value or time.monotonic() >= facts_due_s:
                facts, facts_due_s = executor.facts(), time.monotonic() + FACTS_S
            done = executor.work_wall_s, executor.jobs_done, facts
            connection.send_bytes(pickle.dumps(Answer(notes.taken(), *done, error, len(self._value))))
            for buffer in self._value:
                connection.send_bytes(buffer)

    def add(
        self,
        number: int,
        key: Key | None,
        function: Callable[..., Any],
        inputs: Inputs,
        round: int,
        stack: Stack | None,
        light: bool,
    ) -> None:
        """Add a task."""
        task = Task(function, inputs, round, number, stack, light, key=key)
        self._tasks[number] = task
        if key is not None:
            self._graph.keys.note(key)
        self._graph.add(task)

    def forget(self, numbers: Sequence[int]) -> None:
        """Delete tasks of which the first process has no futures any more."""
        for number in numbers:
            self._tasks.pop(number, None)

    def cancel(self, numbers: Sequence[int], kept: Any) -> None:
        """Cancel the tasks with these numbers, except those that ``kept`` waits for."""
        tasks = [self._tasks[number] for number in numbers if number in self._tasks]
        self._graph.cancel(tasks, kept)

    def measure(self, node: int, round: int, time_s: float, metrics: Any) -> None:
        """Keep metrics until ``round`` is closed."""
        self._graph.measure(node, round, time_s, metrics)

    def keep(self, node: int, round: int, kept: Kept) -> None:
        """Keep the model of ``node`` until ``round`` is closed."""
        self._graph.keep(node, round, kept)

    def value(self, asked: Any) -> None:
        """Send the value of ``asked`` with the next answer."""
        self._send(self._graph.value(asked))

    def close(self, round: int, time_s: float) -> None:
        """Close ``round`` at ``time_s`` [s]."""
        self._graph.close(round, time_s)

    def finish(self, states: Any, last: int | None) -> None:
        """Do all tasks that are left, and send the values of ``states`` with the next answer."""
        self._send(self._graph.finish(states, last))

    def _send(self, value: Any) -> None:
        try:
            with company(sys.maxsize):
                self._value = pack(value)
        except Exception as error:
            raise cannot_be_sent("a state or a value that was asked for", error) from error


def _listen(connection: Connection, heard: SimpleQueue[bytes]) -> None:
    """Receive messages on a thread of its own, so that both processes never block each other by sending."""
    try:
        while True:
            heard.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)  # the first process has ended


class _ByColumn:
    """Rows that travel by column, which takes a fraction of the time, and arrive as rows."""

    def __init__(self, rows: Sequence[MetricRow]) -> None:
        self._rows = rows

    def __reduce__(self) -> Any:
        return _rows_of, tuple(zip(*self._rows, strict=True))


def _rows_of(*columns: Sequence[Any]) -> list[MetricRow]:
    return [*map(MetricRow, *columns)] if columns else []


class _Notes(Observer):
    """Collects calls of the observer's hooks, which the first process makes."""

    def __init__(self) -> None:
        self._told: list[tuple[str, tuple[Any, ...]]] = []

    def on_metrics(self, rows: Sequence[MetricRow]) -> None:
        self._told.append(("on_metrics", (_ByColumn(rows),)))

    def on_answers(self, rows: Sequence[AnswerRow]) -> None:
        self._told.append(("on_answers", (rows,)))

    def on_round_closed(self, round: int, time_s: float) -> None:
        self._told.append(("on_round_closed", (round, time_s)))

    def on_snapshot(self, file: Path | None, took_s: float, problem: str = "") -> None:
        self._told.append(("on_snapshot", (file, took_s, problem)))

    def taken(self) -> list[tuple[str, tuple[Any, ...]]]:
        told, self._told = self._told, []
        return told
