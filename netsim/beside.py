"""The learning in a process of its own, beside the clock.

The clock runs ahead of the learning anyway (:mod:`netsim.backlog`). So this process can be split in two by a fork,
which copies nothing: the copy has the learner with all its models, trains, combines and judges; this process keeps the
clock, the radio and the records, and tells the copy after each round who trained, who heard whom and who was cut off.
While the copy does one round, this process simulates the next. The copy is told what would have been called here, in
the same order, and does it with the same code: nothing that is learnt depends on where.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from statistics import mean
from threading import Thread
from typing import Any, NamedTuple

from netsim.backlog import Backlog, Step, Training
from netsim.jobs.executor import Executor
from netsim.jobs.packing import company, copied, pack, unpack
from netsim.jobs.remote import portable
from netsim.jobs.torch_device import intra_op_threads, sees_gpu
from netsim.learning import Learner, Message, Workload
from netsim.observers import Observer
from netsim.records.tables import MetricRow

TRIAL = 2
"""So many rounds are timed as they are, and then as many with one thread inside operators, as the copy would have it.
The first round is not timed: in that one, executors are still finding out.
"""

WORTHWHILE_S = 0.5
"""Splitting a process costs some hundredths of a second, and memory that both write to: it must save more [s]."""

WORTHWHILE_SHARE = 0.1
"""So much of the rest of the run must be saved."""

GRACE_S = 5.0
"""So long an interrupted run waits for what the copy has nearly done [s]."""


def obstacle(learner: Learner, needs_server: bool) -> str:
    """Why this learner's work cannot be done in a forked copy of this process; empty if it can."""
    if sys.platform != "linux":
        return "processes are split on Linux only"
    if needs_server:
        return "it knows no server yet"
    if not (learner.looks_ahead and learner.movable):
        return "the learner's work cannot be done by a copy of it (Learner.movable)"
    if learner.coordinated:
        return "the learner reports to a cluster head, so that the clock waits for what was learnt"
    if sees_gpu():
        return (
            "PyTorch cannot be forked where it sees a GPU (CUDA_VISIBLE_DEVICES= in the environment hides it)"
        )
    return ""


class Answer(NamedTuple):
    """What the copy sends after each round.

    Attributes:
        told: What observers are to be told: names of their hooks, and arguments.
        work_wall_s: Of its executor.
        jobs_done: Of its executor.
        facts: Of its executor.
        error: What it ended with.
        buffers: How many follow, with what was learnt; after the last round.
    """

    told: Sequence[tuple[str, tuple[Any, ...]]]
    work_wall_s: float
    jobs_done: int
    facts: Mapping[str, Any]
    error: Exception | None = None
    buffers: int = 0


class BacklogBeside(Backlog):
    """A backlog that goes on in another process: at once or when that pays, as the executor says.

    Args:
        rounds: Rounds of the run.
        max_behind: Trainings that the other process may be behind with. They are noted there, and not in memory as
            models, so they may be more than ``max_pending``.
    """

    def __init__(
        self,
        learner: Learner,
        executor: Executor,
        observer: Observer,
        max_pending: int,
        rounds: int,
        max_behind: int,
    ) -> None:
        super().__init__(learner, executor, observer, max_pending)
        self.max_behind = max_behind
        # Payloads by round, sender and receiver, where combining is done.
        self._posted: dict[int, dict[int, dict[int, Any]]] = {}
        self._copy: _Copy | None = None  # of this process; the copy itself has none
        self._said: list[tuple[Any, ...]] = []
        self._behind: deque[int] = deque()  # trainings in each message that is not answered
        self._workloads: dict[int, Workload] = {}  # as the copy knows them
        self._facts: Mapping[str, Any] = {}
        self._trial = _Trial(rounds)
        self._moved_after: int | None = None

    # What a protocol says: noted for the copy, or done here as long as there is none.

    def begin(self) -> None:
        """Split now, if that is what the executor is for."""
        if self.executor.moves == "at once":
            self._split(after=0)

    def train(
        self,
        device: int,
        round: int,
        workload: Workload,
        after: Step | None = None,
        closes: int | None = None,
        judged: bool = False,
    ) -> Training:
        """See :meth:`Backlog.train`."""
        if self._copy is None:
            return super().train(device, round, workload, after, closes, judged)
        assert after is None and closes is None and not judged, "only servers ask for that"
        known = self._workloads.get(device) is workload
        self._workloads[device] = workload
        self._said.append(("train", device, round, None if known else workload))
        return Training(device, round, workload, 0)

    def trained(self, step: Training, time_s: float) -> None:
        """See :meth:`Backlog.trained`."""
        if self._copy is None:
            return super().trained(step, time_s)
        self._said.append(("trained", step.device, time_s))

    def cancel(self, step: Training) -> None:
        """See :meth:`Backlog.cancel`."""
        if self._copy is None:
            return super().cancel(step)
        self._said.append(("cancel", step.device))

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[Message]:
        """See :meth:`Backlog.messages`. The copy asks its own learner: payloads stay where the models are."""
        messages = super().messages(device, round, neighbours)
        if self._copy is None:
            self._posted.setdefault(round, {})[device] = {
                k: message.payload for message in messages for k in message.receivers
            }
        else:
            self._said.append(("messages", device, round, neighbours))
        return messages

    def combine(
        self,
        device: int,
        round: int,
        time_s: float,
        arrived: Mapping[int, Any],
        after: Iterable[Step] | None = None,
        judged: bool = True,
    ) -> Step:
        """See :meth:`Backlog.combine`."""
        if self._copy is None:
            return super().combine(device, round, time_s, arrived, after, judged)
        self._said.append(("combine", device, round, time_s, tuple(arrived)))
        return Step(device, round, time_s)

    def close(self, round: int, time_s: float) -> None:
        """See :meth:`Backlog.close`. If the copy is too far behind, the clock waits for it."""
        if self._copy is not None:
            self._hand_over(("close", round, time_s))
            self.learner.forget(round)
            return
        begin_s = time.perf_counter()
        super().close(round, time_s)
        self._posted.pop(round, None)
        if self._trial.ends_well(round, begin_s, self.executor.moves == "if it pays"):
            self._split(after=round)

    def finish(self) -> None:
        """See :meth:`Backlog.finish`. What the copy has learnt comes home."""
        if self._copy is None:
            return super().finish()
        self._hand_over(("finish",))
        while self._behind:
            self._take()
        with company(sys.maxsize):
            self.learner.take_home(self._copy.learnt())

    def end(self) -> None:
        """See :meth:`Backlog.end`. What the copy has already done is taken in first."""
        try:
            if self._copy is not None:
                with suppress(Exception):  # the run has ended already, and with another error if with one
                    while self._behind and self._copy.answers_within(GRACE_S):
                        self._take()
                self._copy.end()
        finally:
            super().end()

    def facts(self) -> Mapping[str, Any]:
        """How jobs were run, and what was measured to decide where."""
        return {
            **(self._facts or super().facts()),
            "beside": {"after_round": self._moved_after, **self._trial.facts()},
        }

    # How it is done, here.

    def _split(self, after: int) -> None:
        self._moved_after = after
        self._copy = _Copy(self._serve)

    def _hand_over(self, last: tuple[Any, ...]) -> None:
        """All that was said goes to the copy."""
        assert self._copy is not None
        said, self._said = [*self._said, last], []
        self._copy.tell(said)
        self._behind.append(sum(what[0] == "train" for what in said))
        while sum(self._behind) > self.max_behind:
            self._take()

    def _take(self) -> None:
        """Wait for the copy's next answer, and pass it on."""
        assert self._copy is not None
        answer = self._copy.answer()
        self._behind.popleft()
        for hook, given in answer.told:
            getattr(self.observer, hook)(*given)
        self.executor.work_wall_s, self.executor.jobs_done = answer.work_wall_s, answer.jobs_done
        self._facts = answer.facts
        if answer.error is not None:
            self._behind.clear()  # it was the last one
            raise answer.error

    # How it is done, in the copy.

    def _serve(self, connection: Connection) -> None:
        """The copy's life."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the clock's to handle
        intra_op_threads(1)
        self.executor.moved()
        self.observer = notes = _Notes()
        heard: SimpleQueue[bytes] = SimpleQueue()
        Thread(target=_listen, args=(connection, heard), daemon=True).start()
        error: Exception | None = None
        while error is None:
            said = pickle.loads(heard.get())
            learnt: list[memoryview] = []
            try:
                for name, *given in said:
                    self._hear(name, *given)
                if said[-1][0] == "finish":
                    with company(sys.maxsize):
                        learnt = pack(self.learner.learnt())
            except Exception as raised:
                error = portable(raised)
            done = self.executor
            answer = Answer(notes.taken(), done.work_wall_s, done.jobs_done, done.facts(), error, len(learnt))
            connection.send_bytes(pickle.dumps(answer))
            for buffer in learnt:
                connection.send_bytes(buffer)

    def _hear(self, name: str, *given: Any) -> None:
        """Do what was said there."""
        if name in ("train", "trained", "cancel", "combine"):
            getattr(self, f"_hear_{name}")(*given)
        else:
            getattr(self, name)(*given)

    def _hear_train(self, device: int, round: int, workload: Workload | None) -> None:
        if workload is None:
            workload = self._workloads[device]
        self._workloads[device] = workload
        self.train(device, round, workload)

    def _hear_trained(self, device: int, time_s: float) -> None:
        self.trained(self._under_way(device), time_s)

    def _hear_cancel(self, device: int) -> None:
        self.cancel(self._under_way(device))

    def _hear_combine(self, device: int, round: int, time_s: float, senders: Sequence[int]) -> None:
        posted = self._posted.get(round, {})
        self.combine(device, round, time_s, {k: posted[k][device] for k in senders})

    def _under_way(self, device: int) -> Training:
        step = self._last[device]
        assert isinstance(step, Training), "a device trains before it does anything else"
        return step


class _Trial:
    """Some rounds in one process, timed: would two have been faster?

    Args:
        rounds: Rounds of the run.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._clock_s: list[float] = []
        self._learning_s: list[float] = []
        self._since_s = 0.0
        self._threads = 0  # inside operators, before there was one

    def ends_well(self, round: int, begin_s: float, can_move: bool) -> bool:
        """``round`` was closed, which began at ``begin_s``; whether the trial has ended, with a yes."""
        end_s = time.perf_counter()
        if 1 < round <= 1 + 2 * TRIAL:
            self._clock_s.append(begin_s - self._since_s)
            self._learning_s.append(end_s - begin_s)
        self._since_s = end_s
        worthwhile = can_move and self._worthwhile(self._rounds - round)
        if round == 1 + TRIAL and worthwhile:
            self._threads = intra_op_threads(1)
        if round == 1 + 2 * TRIAL and self._threads and not worthwhile:
            intra_op_threads(self._threads)
        return round == 1 + 2 * TRIAL and self._threads > 0 and worthwhile

    def facts(self) -> Mapping[str, Any]:
        """What was measured: mean times of a round."""
        if not self._clock_s:
            return {}
        clock_s, learning_s, alone_s = self._means()
        return {"clock_s": clock_s, "learning_s": learning_s, "learning_with_one_thread_s": alone_s}

    def _means(self) -> tuple[float, float, float | None]:
        """Of the clock; of the learning as it was, and with one thread."""
        usual_s, alone_s = self._learning_s[:TRIAL], self._learning_s[TRIAL:]
        return mean(self._clock_s), mean(usual_s), mean(alone_s) if alone_s and self._threads else None

    def _worthwhile(self, rounds_left: int) -> bool:
        """Whether the longer of both takes clearly less than both together."""
        if not self._clock_s:
            return False
        clock_s, learning_s, alone_s = self._means()
        together_s = clock_s + learning_s
        saved_s = together_s - max(clock_s, learning_s if alone_s is None else alone_s)
        return saved_s > WORTHWHILE_SHARE * together_s and rounds_left * saved_s > WORTHWHILE_S


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


class _Copy:
    """The other process, seen from here."""

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

    def tell(self, said: Sequence[tuple[Any, ...]]) -> None:
        try:
            self._connection.send_bytes(pickle.dumps(said))
        except OSError:
            raise self._death() from None

    def answer(self) -> Answer:
        """Wait for it.

        Raises:
            RuntimeError: The process has died.
        """
        self._connection.poll(None)  # Ctrl-C strikes here, with nothing half read
        try:
            answer: Answer = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise self._death() from None
        self._buffers = answer.buffers
        return answer

    def answers_within(self, limit_s: float) -> bool:
        return self._connection.poll(limit_s)

    def learnt(self) -> Any:
        """What follows the last answer."""
        return unpack([copied(self._connection.recv_bytes()) for _ in range(self._buffers)])

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _death(self) -> RuntimeError:
        self._process.join()
        return RuntimeError(
            f"the process that did the learning has died (exit code {self._process.exitcode}; -9 often means that "
            "memory ran out); jobs.executor: inline needs no second one"
        )
