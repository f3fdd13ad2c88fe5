"""A task graph that can move to a forked process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from netsim.core.interrupts import held, raise_again
from netsim.events import Observer
from netsim.learner import Kept
from netsim.work.executor import Executor
from netsim.work.forked.orders import Writer
from netsim.work.forked.process import ForkedProcess
from netsim.work.forked.service import Service
from netsim.work.forked.trial import LAST, Trial
from netsim.work.forking import obstacle
from netsim.work.future import Future
from netsim.work.graph import TaskGraph
from netsim.work.task import NOTHING, Task

GRACE_S = 3.0
"""Longest time that an interrupted run waits for results of the forked process [s]."""


class Ordered(Task):
    """A task that is done in the forked process; when it is deleted here, its result can be deleted there."""

    __slots__ = ("_forgotten",)

    def __init__(self, number: int, round: int, forgotten: list[int], light: bool) -> None:
        super().__init__(Ordered, NOTHING, round, number, None, light)
        self._forgotten = forgotten

    def __del__(self) -> None:
        self._forgotten.append(self.number)


class ForkableGraph(TaskGraph):
    """Moves to a forked process, at once or when that saves time, as the executor says; this side sends the tasks.

    Args:
        executor: Runs the tasks, in this process or in the forked one.
        observer: Receives the metrics, in this process.
        max_pending: See :class:`TaskGraph`.
        rounds: Rounds of the run.
        max_behind: Number of tasks that the forked process may be behind. It may be larger than ``max_pending``,
            because tasks that wait there hold no models.
    """

    def __init__(
        self, executor: Executor, observer: Observer, max_pending: int, rounds: int, max_behind: int
    ) -> None:
        super().__init__(executor, observer, max_pending)
        self.max_behind = max_behind
        self._rounds, self._since = rounds, 0  # those of the run; those that were replayed
        self._trial = Trial(rounds, executor.inside)
        self._moves = True  # it has moved, or may still move
        self._process: ForkedProcess | None = None
        self._forked_after: int | None = None
        # Messages to the forked process, and its answers.
        self._orders: Writer
        self._ordered = 0
        self._behind: deque[int] = deque()  # heavy tasks in each message without an answer
        self._forgotten: list[int] = []
        self._facts: Mapping[str, Any] = {}

    def begin(self) -> None:
        """Fork now, if the executor says so and the run begins; the past of one that goes on is in this process."""
        super().begin()
        if self.executor.moves == "at once" and self.past is None:
            self._split(after=0)

    def add(self, task: Task) -> Future:
        """Add a task, here or in the forked process, and return a future of its result."""
        if self._process is None:
            return super().add(task)
        order = task.number, task.key, task.function, task.inputs, task.round, task.stack, task.light
        self._orders.write("add", *order)
        self._ordered += not task.light
        ordered = Ordered(task.number, task.round, self._forgotten, task.light)
        self._trace.append(ordered)
        return Future(ordered)

    def value(self, future: Any) -> Any:
        """Return the value of ``future``; the simulation waits until the forked process has computed it."""
        if self._process is None:
            return super().value(future)
        return self._ask("value", future)

    def cancel(self, tasks: Iterable[Task], kept: Any = None) -> None:
        """Cancel ``tasks`` except those that ``kept`` waits for; see :meth:`TaskGraph.cancel`."""
        if self._process is None:
            return super().cancel(tasks, kept)
        self._orders.write("cancel", [task.number for task in tasks], kept)

    def measure(self, node: int, round: int, time_s: float, metrics: Any) -> None:
        """Keep metrics until ``round`` is closed; see :meth:`TaskGraph.measure`."""
        if self._process is None:
            return super().measure(node, round, time_s, metrics)
        if isinstance(metrics, Future) or metrics:
            self._orders.write("measure", node, round, time_s, metrics)

    def keep(self, node: int, round: int, kept: Kept) -> None:
        """Keep the model of ``node`` until ``round`` is closed; see :meth:`TaskGraph.keep`."""
        if self._process is None:
            return super().keep(node, round, kept)
        self._orders.write("keep", node, round, kept)

    def close(self, round: int, time_s: float) -> None:
        """Close ``round``; the simulation waits for the forked process if that is too far behind."""
        if self._process is not None:
            raise_again()  # observers, who are told while signals are held, cannot
            self._hand_over("close", round, time_s)
            while self._behind if self.waits else sum(self._behind) > self.max_behind:
                self._take()
            return
        begin_s, replayed = time.perf_counter(), self.past is not None
        super().close(round, time_s)
        if replayed:
            if self.past is None:
                self._trial, self._since = Trial(self._rounds - round, self.executor.inside), round
                if self.executor.moves == "at once":
                    self._split(after=round)
        elif self._trial.ends_well(round - self._since, begin_s, self._may_fork):
            self._split(after=round)
        elif round - self._since >= LAST:
            self._moves = False

    def finish(self, states: Any = None, last: int | None = None) -> Any:
        """Do all tasks that are left and return the values of ``states``; see :meth:`TaskGraph.finish`."""
        if self._process is None:
            return super().finish(states, last)
        return self._ask("finish", states, last)

    def end(self) -> None:
        """Take in what the forked process has done, end it, and close the executor."""
        try:
            if self._process is not None:
                with suppress(Exception):  # the run has ended already, perhaps with an error of its own
                    until_s = time.monotonic() + GRACE_S
                    while self._behind and self._process.answers_within(max(0.0, until_s - time.monotonic())):
                        self._take()
                self._process.end()
        finally:
            super().end()

    def facts(self) -> Mapping[str, Any]:
        """Return how and where tasks were run and the measurements behind that choice, for the run's record."""
        return {
            **(self._facts or super().facts()),
            "forked": {"after_round": self._forked_after, **self._trial.facts()},
        }

    @property
    def watches(self) -> bool:
        """Return whether it must be known which tasks are still in use; the forked process gets those."""
        return self._moves or super().watches

    @property
    def _may_fork(self) -> bool:
        return self.executor.moves == "if it pays" and self.executor.in_one_process and not obstacle()

    def _split(self, after: int) -> None:
        """Fork after round ``after``; the forked process then does the tasks of this graph."""
        self._forked_after = after
        self._orders = Writer()
        with held():  # an interrupt must find something to end
            self._process = ForkedProcess(Service(self, self._living).serve)

    def _hand_over(self, *last: Any) -> None:
        """Send all orders, with ``last`` after them."""
        assert self._process is not None
        self._orders.write(*last)
        forgotten, self._forgotten[:] = self._forgotten[:], []
        self._orders.write("forget", forgotten)
        heard = self._process.tell(self._orders.message())
        self._behind.append(self._ordered)
        self._ordered = 0
        while not heard:
            self._take()  # ends with an error: the one that ended the process, or that it has died

    def _ask(self, *last: Any) -> Any:
        """Send all orders, and return the value that ``last`` asks for when it is there."""
        assert self._process is not None
        self._hand_over(*last)
        while self._behind:
            self._take()
        return self._process.value()

    def _take(self) -> None:
        """Wait for the next answer, and pass its contents to observer and executor."""
        assert self._process is not None
        self._process.answers_within(None)  # Ctrl-C interrupts here, where no answer is half taken in
        with held():
            answer = self._process.answer()
            self._behind.popleft()
            for hook, given in answer.told:
                getattr(self.observer, hook)(*given)
            self.executor.work_wall_s, self.executor.jobs_done = answer.work_wall_s, answer.jobs_done
            self._facts = answer.facts or self._facts
        if answer.error is not None:
            self._behind.clear()  # no answer follows an error
            raise answer.error
