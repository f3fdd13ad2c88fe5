"""The graph of tasks: pure functions whose inputs are values, and results of other tasks.

The simulated clock runs ahead of the learning: a round's transfers need to know how large a model is, not what is in
it. So whoever has the clock orders work here and passes on futures of its results. The work is done when somebody must
know an outcome: at the end of a round for its records, when a learner asks for a value, or at the end of the run. By
then the work of a whole round is there, and what does not depend on each other is done together.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from netsim.events import MetricRow, Observer
from netsim.work.executors.executor import Executor
from netsim.work.future import Future, Shared, futures, opened
from netsim.work.job import Inputs, Stack, TrainingJob

AT_ONCE = 64
"""Results are asked of workers for so many jobs at a time."""


class Task:
    """One piece of work.

    Attributes:
        function: What is called with the inputs.
        inputs: Values and futures; let go of when it is done.
        round: The round that it belongs to.
        number: Its place in the order in which tasks were made.
        stack: How it is done together with others like it.
        light: Whether it is done where the graph is, with all others that are ready for the same function.
        sources: The tasks that it waits for; let go of when it is done.
        waiting: How many of them are not done.
        followers: Tasks that wait for it.
        needed: Whether somebody must know its outcome.
        ticket: What the executor knows it by, while it has it.
        rounds: Rounds whose metrics wait for it.
        result: What the function returned.
        done: Whether it has.
        cancelled: Whether nobody will use it.
    """

    __slots__ = (
        "__weakref__", "cancelled", "done", "followers", "function", "inputs", "light", "needed", "number", "result",
        "round", "rounds", "sources", "stack", "ticket", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: Inputs,
        round: int,
        number: int,
        stack: Stack | None,
        light: bool,
    ) -> None:
        self.function = function
        self.inputs = inputs
        self.round = round
        self.number = number
        self.stack = stack
        self.light = light
        self.sources: Collection[Task] = ()
        self.waiting = 0
        self.followers: list[Task] = []
        self.needed = False
        self.ticket: int | None = None
        self.rounds: list[int] = []
        self.result: Any = None
        self.done = False
        self.cancelled = False


class TaskGraph:
    """Takes orders of work, and has an executor do it.

    Args:
        executor: Runs the tasks.
        observer: Is told what was measured in a round when all of it is known.
        max_pending: Tasks of closed rounds that workers may still have in their hands.
    """

    def __init__(self, executor: Executor, observer: Observer, max_pending: int) -> None:
        self.executor = executor
        self.observer = observer
        self.max_pending = max_pending
        self._numbers = itertools.count()
        self._startable: list[Task] = []
        self._light: list[Task] = []
        self._started: dict[int, Task] = {}
        self._undone: Counter[int] = Counter()  # needed tasks, by their round
        self._heavy = 0  # of these, those that an executor does
        self._finished = 0
        self._open: Counter[int] = Counter()  # measurements that are not known yet, by round
        self._metrics: defaultdict[int, list[tuple[int, float, Any]]] = defaultdict(list)
        self._closings: deque[tuple[int, float]] = deque()
        self._trace: list[Task] = []

    # What a learner says.

    def do(
        self, function: Callable[..., Any], inputs: Inputs, round: int, stack: Stack | None = None
    ) -> Future:
        """Order ``function(**inputs)`` and return a future of its result.

        Args:
            function: A module-level function, so that another process can find it by name. It must not change its
                inputs, and nothing but its inputs may matter.
            inputs: Values, futures, and what is shared; futures may lie in dictionaries, lists and tuples.
            round: The round that it belongs to.
            stack: How it is done together with others like it; None if it cannot be.
        """
        return self.add(Task(function, inputs, round, next(self._numbers), stack, light=False))

    def together(
        self, function: Callable[[Sequence[Inputs]], Sequence[Any]], inputs: Inputs, round: int
    ) -> Future:
        """Order light work, such as aggregation, that is done with all others that are ready for the same function.

        Args:
            function: A module-level function from the inputs of several tasks to their results, in their order. A
                result must not depend on who else is there.
            inputs: As for :meth:`do`.
            round: The round that it belongs to.
        """
        return self.add(Task(function, inputs, round, next(self._numbers), None, light=True))

    def value(self, future: Any) -> Any:
        """Return what ``future`` stands for, or an arrangement of futures. The clock waits for it."""
        tasks = [one.task for one in futures(future)]
        self._need(tasks)
        while not all(task.done for task in tasks):
            self._must_advance()
        return opened(future)

    # What a protocol says.

    def begin(self) -> None:
        """Get ready: the first event is about to happen."""

    def trace(self) -> list[Task]:
        """Return a list of the tasks that are made from now on, until it is asked for another."""
        self._trace = []
        return self._trace

    def cancel(self, tasks: Iterable[Task], kept: Any = None) -> None:
        """Drop ``tasks``: the simulated computation, or what was to be made of its result, was cut off.

        Args:
            tasks: All that was ordered.
            kept: What somebody goes on from: a future, or an arrangement of futures. What it waits for is not dropped.
        """
        waited = _awaited(kept)
        for task in tasks:
            if task.done or task.needed or task.cancelled or task in waited:
                continue
            task.cancelled = True
            if task.ticket is not None:
                del self._started[task.ticket]
                self.executor.discard(task.ticket)
                task.ticket = None
            task.inputs, task.sources = {}, ()

    def measure(self, node: int, round: int, time_s: float, metrics: Any) -> None:
        """Keep what was measured until ``round`` is closed.

        Args:
            node: Where; -1 for the network as a whole.
            round: The round that it counts for.
            time_s: Simulated time [s].
            metrics: A sequence of metrics, or a future of one; None for nothing.
        """
        if metrics is None or (not isinstance(metrics, Future) and not metrics):
            return
        self._metrics[round].append((node, time_s, metrics))
        waits = [one.task for one in futures(metrics) if not one.task.done]
        for task in waits:
            task.rounds.append(round)
            self._open[round] += 1
        self._need(waits)

    def close(self, round: int, time_s: float) -> None:
        """End ``round``: everybody has left it. Observers are told when its work is done."""
        self._closings.append((round, time_s))
        if self.executor.works_ahead:
            while self._advance(wait=False):
                pass
            while self._heavy > self.max_pending and self._advance():
                pass
        elif self.executor.works_beside:
            # One round behind: while this process simulates the next round, workers have this one in their hands.
            while self._open[round - 1]:
                self._must_advance()
            self._advance(wait=False)
        else:
            while self._open[round]:
                self._must_advance()
        self._tell()

    def finish(self, states: Any = None) -> Any:
        """Do all that is left, tell what was measured in rounds that nobody closed, and return the last ``states``."""
        left = [one.task for one in futures(states)]
        self._need(left)
        while any(self._undone.values()):
            self._must_advance()
        self._tell()
        for round in sorted(self._metrics):
            self._tell_metrics(round)
        return opened(states)

    def end(self) -> None:
        """Let go of what is held: the run is over, whatever became of it."""
        self.executor.close()

    def facts(self) -> Mapping[str, Any]:
        """Return how tasks were run, and what was measured to decide it."""
        return self.executor.facts()

    # How it is done.

    def add(self, task: Task) -> Future:
        """Add a task and return a future of its result."""
        self._trace.append(task)
        waits = {id(one.task): one.task for one in futures(task.inputs) if not one.task.done}
        task.sources = waits.values()
        task.waiting = len(waits)
        for other in task.sources:
            other.followers.append(task)
        if not waits:
            self._ready(task)
            if self.executor.works_ahead and not task.light:
                self._start()
        return Future(task)

    def _ready(self, task: Task) -> None:
        if not task.cancelled:
            (self._light if task.light else self._startable).append(task)

    def _need(self, tasks: Iterable[Task]) -> None:
        """Mark ``tasks`` and all that they wait for."""
        left = [task for task in tasks if not task.done and not task.needed]
        while left:
            task = left.pop()
            if task.done or task.needed:
                continue
            task.needed = True
            self._undone[task.round] += 1
            self._heavy += not task.light
            left += [other for other in task.sources if not other.done and not other.needed]

    def _advance(self, wait: bool = True) -> bool:
        """Start what can start, take in what is done, do what is light; return whether that was any."""
        before = self._finished
        self._start()
        results = self.executor.finish(self._wanted(), wait) if self._started else {}
        self._finish([(self._started.pop(ticket), result) for ticket, result in results.items()])
        while self._light:
            self._do_light()
        return self._finished > before

    def _must_advance(self) -> None:
        if not self._advance():
            raise RuntimeError("the work that is left waits for work that nobody has ordered")

    def _wanted(self) -> list[int]:
        """Return tickets whose results can be taken in; without workers only those of the earliest round."""
        needed = [(ticket, task) for ticket, task in self._started.items() if task.needed]
        if self.executor.works_ahead:
            return [ticket for ticket, _ in needed[:AT_ONCE]]
        earliest = min((task.round for _, task in needed), default=0)
        return [ticket for ticket, task in needed if task.round == earliest]

    def _start(self) -> None:
        startable, self._startable = self._startable, []
        for task in startable:
            if task.cancelled:
                continue
            kept = frozenset(name for name, value in task.inputs.items() if type(value) is Shared)
            job = TrainingJob(task.function, opened(task.inputs), kept, task.stack)
            task.ticket = self.executor.submit(job)
            self._started[task.ticket] = task

    def _do_light(self) -> None:
        ready, self._light = self._light, []
        groups: dict[Callable[..., Any], list[Task]] = {}
        for task in sorted(ready, key=attrgetter("round", "number")):
            if not task.cancelled:
                groups.setdefault(task.function, []).append(task)
        for function, group in groups.items():
            inputs = [opened(task.inputs) for task in group]
            results = self.executor.inside.run(
                "combining", "combining", partial(function, inputs), len(group)
            )
            self._finish(list(zip(group, results, strict=True)))

    def _finish(self, done: Sequence[tuple[Task, Any]]) -> None:
        """Take in results, all of them before any follower looks for what it still waits for."""
        for task, result in done:
            task.result, task.done, task.inputs, task.sources, task.ticket = result, True, {}, (), None
            if task.needed:
                self._undone[task.round] -= 1
                self._heavy -= not task.light
            for round in task.rounds:
                self._open[round] -= 1
        self._finished += len(done)
        for task, _ in done:
            followers, task.followers = task.followers, []
            for follower in followers:
                follower.waiting -= 1
                if follower.waiting == 0:
                    self._ready(follower)

    def _tell(self) -> None:
        while self._closings and not self._open[self._closings[0][0]]:
            round, time_s = self._closings.popleft()
            self._tell_metrics(round)
            del self._open[round]
            self.observer.on_round_closed(round, time_s)

    def _tell_metrics(self, round: int) -> None:
        """Tell in the order of simulated time, whatever the order in which the work was done."""
        rows = [
            MetricRow(round, node, time_s, name, modality, value)
            for node, time_s, metrics in self._metrics.pop(round, [])
            for name, value, modality in opened(metrics)
        ]
        self.observer.on_metrics(sorted(rows, key=attrgetter("time_s", "device")))


def _awaited(value: Any) -> set[Task]:
    """Return the tasks that are to be done before ``value`` is known."""
    found: set[Task] = set()
    left = [one.task for one in futures(value)]
    while left:
        task = left.pop()
        if not task.done and task not in found:
            found.add(task)
            left += [one.task for one in futures(task.inputs)]
    return found
