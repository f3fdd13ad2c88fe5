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
from typing import TYPE_CHECKING, Any

from netsim.events import Observer
from netsim.former.backlog import Step, Training
from netsim.former.beside.copy import Answer
from netsim.former.beside.deposit import Deposit
from netsim.former.learning import Workload
from netsim.learner import Metric
from netsim.records.tables import MetricRow
from netsim.work.executors.remote import portable
from netsim.work.packing import company, pack

if TYPE_CHECKING:
    from netsim.former.beside.backlog import BacklogBeside


class Service:
    """Does on a backlog, with a learner, what was said in the clock's process.

    Its methods are those of :class:`netsim.former.backlog.Backlog`, with places for steps and numbers for
    payloads: only what is small travels.

    Args:
        backlog: The backlog, as it was when the process was split.
        steps: What it was told to do, by place; the backlog adds to it, and takes out what is over.
        deposit: What was sent.
    """

    def __init__(self, backlog: BacklogBeside, steps: Mapping[int, Step], deposit: Deposit) -> None:
        self._backlog = backlog
        self._steps = steps
        self._deposit = deposit
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

    def train(
        self,
        device: int,
        round: int,
        workload: Workload | None,
        after: int | None,
        closes: int | None,
        judged: bool,
    ) -> None:
        """None for the workload: the one that the device had before."""
        if workload is not None:
            self._workloads[device] = workload
        made_by = self._steps.get(after) if after is not None else None
        self._backlog.train(
            device, round, self._workloads[device], after=made_by, closes=closes, judged=judged
        )

    def adopt(self, place: int, round: int) -> None:
        """A step that is over and has no metrics to give needs no round."""
        if place in self._steps:
            self._backlog.adopt(self._training(place), round)

    def trained(self, place: int, time_s: float) -> None:
        """What is under way there."""
        self._backlog.trained(self._training(place), time_s)

    def cancel(self, place: int) -> None:
        """A step that is over is not cancelled any more."""
        if place in self._steps:
            self._backlog.cancel(self._training(place))

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> None:
        """Payloads stay here."""
        for message in self._backlog.learner.messages(device, round, neighbours):
            self._deposit.keep(message.payload)

    def forget(self, numbers: Sequence[int]) -> None:
        """Nobody has these payloads any more."""
        self._deposit.forget(numbers)

    def acknowledged(self, device: int, round: int, delivered: Mapping[int, bool]) -> None:
        """What the device knows of its messages."""
        self._backlog.acknowledged(device, round, delivered)

    def combine(
        self,
        device: int,
        round: int,
        time_s: float,
        senders: Sequence[int],
        numbers: Sequence[int],
        after: Sequence[int] | None,
        judged: bool,
    ) -> None:
        """Of what was sent, these ``numbers`` have arrived."""
        arrived = {k: self._deposit[number] for k, number in zip(senders, numbers, strict=True)}
        made_by = (
            [self._steps[place] for place in after if place in self._steps] if after is not None else None
        )
        self._backlog.combine_here(device, round, time_s, arrived, made_by, judged)

    def measure(self, device: int, round: int, time_s: float, metrics: Sequence[Metric]) -> None:
        """What the clock's process has measured."""
        self._backlog.measure(device, round, time_s, metrics)

    def settle(self, place: int) -> None:
        """The clock waits until that is done."""
        if place in self._steps:
            self._backlog.settle(self._steps[place])

    def close(self, round: int, time_s: float) -> None:
        """Nothing of ``round`` will arrive any more."""
        self._backlog.close(round, time_s)

    def finish(self) -> None:
        """There are no more rounds."""
        self._backlog.finish()

    def _training(self, place: int) -> Training:
        step = self._steps[place]
        assert isinstance(step, Training)
        return step


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
