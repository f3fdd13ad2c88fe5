"""A task graph that can go on in a forked process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from netsim.events import Observer
from netsim.work.executors.executor import Executor
from netsim.work.forked.obstacles import obstacle
from netsim.work.forked.orders import by_number
from netsim.work.forked.process import ForkedProcess, Said
from netsim.work.forked.service import Service
from netsim.work.forked.trial import Trial
from netsim.work.future import Future, Shared
from netsim.work.graph import Task, TaskGraph
from netsim.work.job import Stack

GRACE_S = 5.0
"""So long an interrupted run waits for what the forked process has nearly done [s]."""


class Ordered(Task):
    """A task that is done in the forked process. When nobody holds it, its result can be let go of there."""

    __slots__ = ("_forgotten",)

    def __init__(self, number: int, round: int, forgotten: list[int], light: bool) -> None:
        super().__init__(Ordered, {}, round, number, None, light)
        self._forgotten = forgotten

    def __del__(self) -> None:
        self._forgotten.append(self.number)


class ForkableGraph(TaskGraph):
    """Goes on in a forked process, at once or when that pays, as the executor says; this side tells it what to do.

    Args:
        executor: Runs the tasks, here or there.
        observer: Is told here what was measured.
        max_pending: See :class:`TaskGraph`.
        rounds: Rounds of the run.
        max_behind: Tasks that the forked process may be behind with. They are noted there, and not in memory as models,
            so they may be more than ``max_pending``.
    """

    def __init__(
        self, executor: Executor, observer: Observer, max_pending: int, rounds: int, max_behind: int
    ) -> None:
        super().__init__(executor, observer, max_pending)
        self.max_behind = max_behind
        self._trial = Trial(rounds, executor.inside)
        self._process: ForkedProcess | None = None
        self._forked_after: int | None = None
        self._tasks: WeakValueDictionary[int, Task] = WeakValueDictionary()
        # What is said to the forked process, and was answered.
        self._said: list[Said] = []
        self._ordered = 0
        self._behind: deque[int] = deque()  # heavy tasks in each message that is not answered
        self._forgotten: list[int] = []
        self._stacks: dict[int, tuple[int, Stack]] = {}
        self._shared_before = 0
        self._facts: Mapping[str, Any] = {}

    def begin(self) -> None:
        """Split now, if that is what the executor is for."""
        if self.executor.moves == "at once":
            self._split(after=0)

    def add(self, task: Task) -> Future:
        """See :meth:`TaskGraph.add`."""
        if self._process is None:
            self._tasks[task.number] = task
            return super().add(task)
        stack = None
        if task.stack is not None:
            if id(task.stack) not in self._stacks:
                self._stacks[id(task.stack)] = (len(self._stacks), task.stack)
                self._said.append(("stack", task.stack))
            stack = self._stacks[id(task.stack)][0]
        inputs = self._by_number(task.inputs)
        self._said.append(("add", task.number, task.function, inputs, task.round, stack, task.light))
        self._ordered += not task.light
        ordered = Ordered(task.number, task.round, self._forgotten, task.light)
        self._trace.append(ordered)
        return Future(ordered)

    def value(self, future: Any) -> Any:
        """See :meth:`TaskGraph.value`. The clock waits for the forked process."""
        if self._process is None:
            return super().value(future)
        return self._ask(("value", self._by_number(future)))

    def cancel(self, tasks: Iterable[Task], kept: Any = None) -> None:
        """See :meth:`TaskGraph.cancel`."""
        if self._process is None:
            return super().cancel(tasks, kept)
        self._said.append(("cancel", [task.number for task in tasks], self._by_number(kept)))

    def measure(self, node: int, round: int, time_s: float, metrics: Any) -> None:
        """See :meth:`TaskGraph.measure`."""
        if self._process is None:
            return super().measure(node, round, time_s, metrics)
        if isinstance(metrics, Future) or metrics:
            self._said.append(("measure", node, round, time_s, self._by_number(metrics)))

    def close(self, round: int, time_s: float) -> None:
        """See :meth:`TaskGraph.close`. If the forked process is too far behind, the clock waits for it."""
        if self._process is not None:
            self._hand_over(("close", round, time_s))
            while sum(self._behind) > self.max_behind:
                self._take()
            return
        begin_s = time.perf_counter()
        super().close(round, time_s)
        if self._trial.ends_well(round, begin_s, self._may_fork):
            self._split(after=round)

    def finish(self, states: Any = None) -> Any:
        """See :meth:`TaskGraph.finish`."""
        if self._process is None:
            return super().finish(states)
        return self._ask(("finish", self._by_number(states)))

    def end(self) -> None:
        """See :meth:`TaskGraph.end`. What the forked process has already done is taken in first."""
        try:
            if self._process is not None:
                with suppress(Exception):  # the run has ended already, and with another error if with one
                    while self._behind and self._process.answers_within(GRACE_S):
                        self._take()
                self._process.end()
        finally:
            super().end()

    def facts(self) -> Mapping[str, Any]:
        """Return how tasks were run, and what was measured to decide where."""
        return {
            **(self._facts or super().facts()),
            "forked": {"after_round": self._forked_after, **self._trial.facts()},
        }

    @property
    def _may_fork(self) -> bool:
        return self.executor.moves == "if it pays" and self.executor.in_one_process and not obstacle()

    def _split(self, after: int) -> None:
        """Fork: from now on there are two; to the other this is a graph like any other."""
        self._forked_after = after
        self._shared_before = Shared.count()
        self._process = ForkedProcess(Service(self, self._tasks).serve)

    def _by_number(self, value: Any) -> Any:
        """Return ``value`` as it travels; what has been shared since the fork is sent along once."""
        while self._shared_before < Shared.count():
            number, self._shared_before = self._shared_before, self._shared_before + 1
            if number in Shared.known:
                self._said.append(("share", number, Shared.known[number].value))
        return by_number(value)

    def _hand_over(self, last: Said) -> None:
        """Send all that was said."""
        assert self._process is not None
        forgotten, self._forgotten[:] = self._forgotten[:], []
        said, self._said = [*self._said, last, ("forget", forgotten)], []
        self._process.tell(said)
        self._behind.append(self._ordered)
        self._ordered = 0

    def _ask(self, last: Said) -> Any:
        """Send all that was said, and wait for the value that ``last`` asks for."""
        assert self._process is not None
        self._hand_over(last)
        while self._behind:
            self._take()
        return self._process.value()

    def _take(self) -> None:
        """Wait for the next answer, and pass it on."""
        assert self._process is not None
        answer = self._process.answer()
        self._behind.popleft()
        for hook, given in answer.told:
            getattr(self.observer, hook)(*given)
        self.executor.work_wall_s, self.executor.jobs_done = answer.work_wall_s, answer.jobs_done
        self._facts = answer.facts
        if answer.error is not None:
            self._behind.clear()  # it was the last one
            raise answer.error
