"""The task graph: pure functions whose inputs are values or results of other tasks.

The simulated clock runs ahead of the learning: to simulate a transfer, the size of a model must be known, not its
weights. So protocols and learners order tasks here and pass on futures of their results. Tasks are done when a result
is needed: for the records at the end of a round, when a learner asks for a value, or at the end of the run. By then all
tasks of a round have been ordered, and those that do not depend on each other can be done together.
"""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from numbers import Real
from operator import attrgetter, itemgetter
from typing import Any

from netsim.core.errors import ScenarioError
from netsim.core.own_code import code_of_ones_own
from netsim.events import AnswerRow, MetricRow, Observer
from netsim.learner import Kept
from netsim.work.answers import text_of
from netsim.work.executor import Executor
from netsim.work.future import Future, Shared, awaited, futures, opened
from netsim.work.heap import keep_freed_memory
from netsim.work.job import Inputs, Stack, TrainingJob, check_function, name_of
from netsim.work.keys import Key, Keys, Question
from netsim.work.models import Keeper
from netsim.work.past import Past
from netsim.work.snapshots import Snapshot, Snapshots
from netsim.work.task import NOTHING, Living, Task, any_left

AT_ONCE = 64
"""Number of jobs whose results are asked of workers at a time."""


class TaskGraph:
    """Accepts tasks and has an executor do them.

    Args:
        executor: Runs the tasks.
        observer: Receives the metrics of a round when all of them are known.
        max_pending: Number of tasks of closed rounds that workers may still be busy with.

    Attributes:
        portable: Whether functions of tasks must be such that another process finds them by name.
        waits: Whether observers have a round's metrics before the clock goes on after its close.
        keys: Names tasks, where snapshots are written.
        question: What the learner is being asked; None while it is asked nothing.
        snapshots: Writes snapshots now and then; None for none.
        keeper: Writes models; None for none.
        past: What is known of the run up to a snapshot; None from there on.
    """

    portable = False
    waits = False
    question: Question | None = None
    snapshots: Snapshots | None = None
    keeper: Keeper | None = None
    past: Past | None = None

    def __init__(self, executor: Executor, observer: Observer, max_pending: int) -> None:
        self.executor = executor
        self.observer = observer
        self.max_pending = max_pending
        self._numbers = itertools.count()
        self._startable: list[Task] = []
        self._late: deque[Task] = deque()
        self._light: list[Task] = []
        self._started: dict[int, Task] = {}
        self._needed = 0  # needed tasks that are not done
        self._heavy = 0  # those of them that an executor does
        self._finished = 0
        self._metrics: defaultdict[int, list[tuple[float, int, Any]]] = defaultdict(list)
        self._awaited: defaultdict[int, list[Task]] = defaultdict(list)  # by the metrics of a round
        self._closings: deque[tuple[int, float]] = deque()
        self._kept: defaultdict[int, dict[int, Kept]] = defaultdict(dict)  # by round and node
        self._living = Living()
        self.keys = Keys()
        self._closed = self._told = self._told_metrics = self._answers = 0  # how many so far
        self._trace: list[Task] = []
        self._checked: set[Callable[..., Any]] = set()  # functions of tasks
        self._early: dict[Key, Any] = {}  # results that the executor had in the run that goes on

    # For learners.

    def do(
        self,
        function: Callable[..., Any],
        inputs: Inputs,
        round: int,
        stack: Stack | None = None,
        late: bool = False,
    ) -> Future:
        """Order ``function(**inputs)`` and return a future of its result.

        Args:
            function: A module-level function, so that another process can find it by name. It must not change its
                inputs, and its result may depend on nothing else.
            inputs: Values, futures and shared values; futures may lie in nested dictionaries, lists and tuples.
            round: The round that the task belongs to.
            stack: How the task is done in one batch with others of its kind; None if it cannot be.
            late: Whether only metrics wait for the result. Workers do such a task when there is nothing else to do.

        Raises:
            ScenarioError: Another process could not find the function, or the inputs have no names.
        """
        return self._order(function, inputs, round, stack, light=False, late=late)

    def together(
        self, function: Callable[[Sequence[Inputs]], Sequence[Any]], inputs: Inputs, round: int
    ) -> Future:
        """Order a light task, such as an aggregation, and return a future of its result.

        Light tasks of the same function that are ready at the same time are done in one call.

        Args:
            function: A module-level function from the inputs of several tasks to their results, in the same order. A
                task's result must not depend on the other tasks of the call.
            inputs: As for :meth:`do`.
            round: The round that the task belongs to.

        Raises:
            ScenarioError: As for :meth:`do`.
        """
        return self._order(function, inputs, round, None, light=True)

    def value(self, future: Any) -> Any:
        """Return the value of ``future`` (or of a nesting of futures); the simulation waits until it is computed."""
        asked = futures(future)
        rows = self.past.answer(asked) if self.past is not None else []
        if not rows:
            tasks = awaited(future)
            self._need(tasks)
            while any_left(tasks):
                self._must_advance()
            rows = [AnswerRow(one.task.round, text_of(one.opened())) for one in asked]
            if not all(row.value for row in rows):
                self.snapshots = None  # nobody could give such a value again
        self._answers += len(rows)
        self.observer.on_answers(rows)
        return opened(future)

    # For protocols.

    def begin(self) -> None:
        """Prepare for the run; called just before its first event."""
        keep_freed_memory()

    def trace(self) -> list[Task]:
        """Return a list to which all tasks made from now on are added, until the next call."""
        self._trace = []
        return self._trace

    def cancel(self, tasks: Iterable[Task], kept: Any = None) -> None:
        """Cancel ``tasks``, because the simulated computation was cut off or its result will not be used.

        A task whose result is already there or needed is left as it is.

        Args:
            tasks: The tasks that were ordered.
            kept: A value that is still used; it may contain futures. Tasks that these wait for are not cancelled.
        """
        waited = _all_awaited(kept)
        for task in tasks:
            if task.done or task.needed or task.cancelled or task in waited:
                continue
            task.cancelled = True
            if task.ticket is not None:
                del self._started[task.ticket]
                self.executor.discard(task.ticket)
                task.ticket = None
            task.inputs, task.sources = NOTHING, []
            if task.key is not None:
                self._early.pop(task.key, None)

    def measure(self, node: int, round: int, time_s: float, metrics: Any) -> None:
        """Keep metrics until ``round`` is closed; observers receive them then.

        Args:
            node: Number of the node; -1 for the network as a whole.
            round: The round that the metrics count for.
            time_s: Simulated time of the measurement [s].
            metrics: A sequence of metrics, or a future of one; None for no metrics.
        """
        if type(metrics) is not Future and not metrics:
            return
        self._metrics[round].append((time_s, node, metrics))
        tasks = awaited(metrics)
        self._awaited[round] += tasks
        self._need(tasks)

    def keep(self, node: int, round: int, kept: Kept) -> None:
        """Keep the model of ``node`` until ``round`` is closed; then it is written."""
        self._kept[round][node] = kept
        tasks = awaited(kept.parts)
        self._awaited[round] += tasks
        self._need(tasks)

    def close(self, round: int, time_s: float) -> None:
        """Close ``round`` at ``time_s`` [s]: no node is in it any more. Observers are told when its tasks are done."""
        self._closings.append((round, time_s))
        if self.past is not None:
            pass  # all that was done by then is done, and the rest may not be done in other company
        elif self.waits:
            while self._closings:
                while any_left(self._awaited[self._closings[0][0]]):
                    self._must_advance()
                self._tell()
        elif self.executor.works_ahead:
            while self._advance(wait=False):
                pass
            while self._heavy > self.max_pending and self._advance():
                pass
        elif self.executor.works_elsewhere:
            # One round behind: while this process simulates the next round, workers do the tasks of this one.
            while any_left(self._awaited.get(round - 1, [])):
                self._must_advance()
            self._advance(wait=False)
        else:
            while any_left(self._awaited[round]):
                self._must_advance()
        self._tell()
        self._closed += 1
        if self.past is not None:
            if self._closed == self.past.closed:
                self.past.check_over()
                self._early, self.past = self.past.early, None
        elif self.snapshots is not None and self.snapshots.due(round):
            self._take_snapshot(self.snapshots)

    def finish(self, states: Any = None, last: int | None = None) -> Any:
        """Do all tasks that are left and return the values of the last ``states``.

        Metrics of rounds that were never closed are given to observers, too, but not those of rounds after ``last``.
        """
        self._need(awaited(states))
        while self._needed:
            self._must_advance()
        self._tell()
        for round in sorted(self._metrics):
            if last is None or round <= last:
                self._tell_metrics(round)
        return opened(states)

    def end(self) -> None:
        """Close the executor; called at the end of a run, also after an error."""
        self.executor.close()

    def facts(self) -> Mapping[str, Any]:
        """Return how tasks were run and the measurements behind that choice, for the run's record."""
        return self.executor.facts()

    # How tasks are done.

    def _order(
        self,
        function: Callable[..., Any],
        inputs: Inputs,
        round: int,
        stack: Stack | None,
        light: bool,
        late: bool = False,
    ) -> Future:
        self._check(function, inputs)
        key = None
        if self.snapshots is not None or self.past is not None:
            key = self.keys.next(self.question)
        return self.add(Task(function, inputs, round, next(self._numbers), stack, light, late, key))

    def _check(self, function: Callable[..., Any], inputs: Inputs) -> None:
        if self.portable and function not in self._checked:
            check_function(function)
            self._checked.add(function)
        if type(inputs) is not dict and not isinstance(inputs, Mapping):
            raise ScenarioError(
                f"learner: inputs of task {name_of(function)} must be a mapping by name (got {type(inputs).__name__})"
            )

    def add(self, task: Task) -> Future:
        """Add a task and return a future of its result."""
        self._trace.append(task)
        if self.watches:
            self._living.add(task)
        if self.past is not None and self.past.settles(task):
            return Future(task)
        task.sources = awaited(task.inputs)
        self._wait(task)
        return Future(task)

    def _wait(self, task: Task) -> None:
        """Have ``task`` follow the last of its sources that is not done: mostly no other is left then."""
        if any_left(task.sources):
            task.sources[-1].followers.append(task)
            return
        self._ready(task)
        if self.executor.works_ahead and not task.light and not task.cancelled:
            self._start()

    def _ready(self, task: Task) -> None:
        if not task.cancelled:
            (self._light if task.light else self._startable).append(task)

    def _need(self, tasks: Iterable[Task]) -> None:
        """Mark ``tasks``, which are not done, and all tasks that they wait for as needed."""
        left = [task for task in tasks if not task.needed]
        while left:
            task = left.pop()
            if task.needed:
                continue
            task.needed = True
            self._needed += 1
            self._heavy += not task.light
            left += [other for other in task.sources if not other.needed and not other.done]

    def _advance(self, wait: bool = True) -> bool:
        """Start tasks that are ready, take in finished ones, do light ones; return whether any was finished."""
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
        """Return the tickets of needed tasks to ask results of; without workers only those of the earliest round.

        Their order is that in which they were ordered, whenever they could be started: it is the same in a run that
        goes on.
        """
        needed = [(ticket, task) for ticket, task in self._started.items() if task.needed]
        if self.executor.works_ahead:
            return [ticket for ticket, _ in needed[:AT_ONCE]]
        earliest = min((task.round for _, task in needed), default=0)
        needed.sort(key=lambda one: one[1].number)
        return [ticket for ticket, task in needed if task.round == earliest]

    def _start(self) -> None:
        startable, self._startable = self._startable, []
        for task in startable:
            if task.late and self.executor.works_ahead:
                self._late.append(task)
            else:
                self._submit(task)
        while self._late and self._has_idle_workers():
            self._submit(self._late.popleft())

    def _has_idle_workers(self) -> bool:
        """Return whether a late task takes nobody's place, or else there would be nothing to wait for."""
        workers, started = self.executor.workers, self._started
        return not workers or len(started) < workers or not any(task.needed for task in started.values())

    def _submit(self, task: Task) -> None:
        if task.cancelled:
            return
        if task.key is not None and task.key in self._early:
            task.ticket = self.executor.accept(self._early.pop(task.key))
            self._started[task.ticket] = task
            return
        kept = frozenset([name for name, value in task.inputs.items() if type(value) is Shared])
        job = TrainingJob(task.function, opened(task.inputs), kept, task.stack, task.round, task.number)
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
            with code_of_ones_own(f"learner: task {name_of(function)}, round {group[0].round}"):
                results = self.executor.inside.run(
                    "combining", "combining", partial(function, inputs), len(group)
                )
            if not isinstance(results, Sequence) or len(results) != len(group):
                raise ScenarioError(
                    f"learner: task {name_of(function)}, ordered with together, must return a list with one result for "
                    f"each of its {len(group)} inputs (got {_in_short(results)})"
                )
            self._finish(list(zip(group, results, strict=True)))

    def _finish(self, done: Sequence[tuple[Task, Any]]) -> None:
        """Store the results of all ``done`` tasks, and only then release their followers."""
        for task, result in done:
            task.result, task.done, task.inputs, task.ticket = result, True, NOTHING, None
            if task.needed:
                self._needed -= 1
                self._heavy -= not task.light
        self._finished += len(done)
        for task, _ in done:
            if task.followers:
                followers, task.followers = task.followers, []
                for follower in followers:
                    self._wait(follower)

    @property
    def watches(self) -> bool:
        """Return whether it must be known which tasks are still in use."""
        return self.snapshots is not None

    def _take_snapshot(self, snapshots: Snapshots) -> None:
        """Write a snapshot, and have observers make it valid when they have written all up to there."""
        results, pending = {}, []
        for task in self._living:
            if task.key is None or task.cancelled:
                continue
            if task.done:
                results[task.key] = task.result
            else:
                pending.append(task.key)
        early = dict(self._early)
        for ticket, result in self.executor.early().items():
            if (key := self._started[ticket].key) is not None:
                early[key] = result
        counts = self._closed, self._told, self._told_metrics, self._answers
        try:
            if not self.keys.in_order:
                raise ScenarioError("the protocol goes back to earlier rounds of a node")
            written = snapshots.write(Snapshot(*counts, self.keys.marks, pending, results, early))
        except ScenarioError as error:
            self.snapshots = None
            self.observer.on_snapshot(None, 0.0, str(error))
        else:
            if written is not None:
                self.observer.on_snapshot(*written)

    def _tell(self) -> None:
        while self._closings and not any_left(self._awaited[self._closings[0][0]]):
            round, time_s = self._closings.popleft()
            self._tell_metrics(round)
            self._told += 1
            del self._awaited[round]
            self.observer.on_round_closed(round, time_s)

    def _tell_metrics(self, round: int) -> None:
        """Give observers the metrics of a round in the order of simulated time, in whatever order tasks were done."""
        measured = sorted(self._metrics.pop(round, ()), key=itemgetter(0, 1))
        rows = self.past.told(round) if self.past is not None else None
        known = rows is not None
        if rows is None:
            rows = [
                MetricRow(round, node, time_s, name, modality, value)
                for time_s, node, metrics in measured
                for name, value, modality in _metrics_in(opened(metrics), node, round)
            ]
        self._told_metrics += len(rows)
        self.observer.on_metrics(rows)
        kept = self._kept.pop(round, {})
        if self.keeper is not None:
            self.keeper.close(round, rows, {} if known else opened(kept))


def _metrics_in(found: Any, node: int, round: int) -> Sequence[tuple[str, float, str]]:
    """Return the metrics, if that is what a learner has given.

    Raises:
        ScenarioError: It is not.
    """
    if isinstance(found, (list, tuple)) and all(map(_is_metric, found)):
        return found
    raise ScenarioError(
        f"learner: metrics of node {node}, round {round}, must be a list of Metric(name, number, modality) (got "
        f"{_in_short(found)})"
    )


def _is_metric(found: Any) -> bool:
    if not isinstance(found, tuple) or len(found) != 3:
        return False
    name, value, modality = found
    if type(value) is float and type(name) is type(modality) is str:  # nearly all are: very many
        return True
    return isinstance(value, Real) and isinstance(name, str) and isinstance(modality, str)


def _in_short(value: Any) -> str:
    """Write what a learner has given for an error of one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _all_awaited(value: Any) -> set[Task]:
    """Return all tasks that must be done before ``value`` is known, also those that its tasks wait for."""
    found: set[Task] = set()
    left = awaited(value)
    while left:
        task = left.pop()
        if task not in found:
            found.add(task)
            left += awaited(task.inputs)
    return found
