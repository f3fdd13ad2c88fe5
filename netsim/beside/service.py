"""The life of the copy: it does what the clock's process says, and answers."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any

from netsim.backlog import Backlog, Training
from netsim.beside.copy import Answer
from netsim.jobs.packing import company, pack
from netsim.jobs.remote import portable
from netsim.learning import Workload
from netsim.observers import Observer
from netsim.records.tables import MetricRow

Posted = Mapping[int, Mapping[int, Mapping[int, Any]]]
"""Payloads by round, sender and receiver: those of rounds that are not closed."""


class Service:
    """Does on a backlog, with a learner, what was said in the clock's process.

    Its methods are those of :class:`netsim.backlog.Backlog`, with device numbers for steps and senders for payloads:
    only what is small travels.

    Args:
        backlog: The backlog, as it was when the process was split.
        under_way: What each device trains; the backlog adds to it.
        posted: What was sent; the backlog adds to it.
    """

    def __init__(self, backlog: Backlog, under_way: Mapping[int, Training], posted: Posted) -> None:
        self._backlog = backlog
        self._under_way = under_way
        self._posted = posted
        self._workloads: dict[int, Workload] = {}

    def serve(self, connection: Connection) -> None:
        """Hear and answer, until the clock's process ends this one or goes away, or until there is an error."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the clock's to handle
        executor, learner = self._backlog.executor, self._backlog.learner
        executor.inside.limit()
        executor.moved()
        self._backlog.observer = notes = _Notes()
        heard: SimpleQueue[bytes] = SimpleQueue()
        Thread(target=_listen, args=(connection, heard), daemon=True).start()
        error: Exception | None = None
        while error is None:
            learnt: list[memoryview] = []
            try:
                for name, *given in pickle.loads(heard.get()):
                    getattr(self, name)(*given)
                    if name == "finish":
                        with company(sys.maxsize):
                            learnt = pack(learner.learnt())
            except Exception as raised:
                error = portable(raised)
            done = executor.work_wall_s, executor.jobs_done, executor.facts()
            connection.send_bytes(pickle.dumps(Answer(notes.taken(), *done, error, len(learnt))))
            for buffer in learnt:
                connection.send_bytes(buffer)

    def train(self, device: int, round: int, workload: Workload | None) -> None:
        """None: the workload that the device had before."""
        if workload is not None:
            self._workloads[device] = workload
        self._backlog.train(device, round, self._workloads[device])

    def trained(self, device: int, time_s: float) -> None:
        """What is under way there."""
        self._backlog.trained(self._under_way[device], time_s)

    def cancel(self, device: int) -> None:
        """What is under way there."""
        self._backlog.cancel(self._under_way[device])

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> None:
        """Payloads stay here."""
        self._backlog.messages(device, round, neighbours)

    def combine(self, device: int, round: int, time_s: float, senders: Sequence[int]) -> None:
        """Of what was posted, that of ``senders`` has arrived."""
        posted = self._posted.get(round, {})
        self._backlog.combine(device, round, time_s, {k: posted[k][device] for k in senders})

    def close(self, round: int, time_s: float) -> None:
        """Nothing of ``round`` will arrive any more."""
        self._backlog.close(round, time_s)

    def finish(self) -> None:
        """There are no more rounds."""
        self._backlog.finish()


def _listen(connection: Connection, heard: SimpleQueue[bytes]) -> None:
    """Always, so that nobody who speaks has to wait: two who wait for each other to listen would wait for ever."""
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
