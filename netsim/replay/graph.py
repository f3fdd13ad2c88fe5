"""A task graph whose tasks nobody does."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from netsim.events import Observer
from netsim.replay.course import Course, described
from netsim.replay.memory import Learnt
from netsim.replay.results import Results
from netsim.work.executors.inline import Inline
from netsim.work.future import Future, futures, opened
from netsim.work.graph import TaskGraph
from netsim.work.job import name_of
from netsim.work.keys import Question
from netsim.work.task import NOTHING, Task


class Ordered(NamedTuple):
    """A stand-in for the result of a task.

    Attributes:
        question: The question that it was ordered at.
        origin: Stands for this, and for all that it is computed from.
    """

    question: Question
    origin: int


class ReplayGraph(TaskGraph):
    """Notes the tasks that are ordered, and takes what they would give from the records.

    Args:
        observer: Receives the metrics.
        course: Is told of the tasks.
        results: What the tasks gave in the run.

    Attributes:
        answered: Number of values that the clock has waited for.
    """

    answered = 0

    def __init__(self, observer: Observer, course: Course, results: Results) -> None:
        super().__init__(Inline(), observer, 0)
        self._course = course
        self._results = results
        self._ordered: defaultdict[Question, int] = defaultdict(int)

    def add(self, task: Task) -> Future:
        """Note the task and return a future that names its origin."""
        question = _, node, round = self.question or ("protocol", -1, task.round)
        number = self._ordered[question]
        self._ordered[question] += 1
        name = name_of(task.function)
        origin = hash((question, number, name, described(task.inputs)))
        self._course.note("task", node, round, name, origin)
        task.inputs, task.result = NOTHING, Ordered(question, origin)
        self._trace.append(task)
        return Future(task)

    def value(self, future: Any) -> Any:
        """Return the value of ``future`` in the run."""
        rows = []
        for one in futures(future):
            row, value = self._results.answer(described(one))
            one.answer(value)
            rows.append(row)
        self.answered += len(rows)
        self.observer.on_answers(rows)
        return opened(future)

    def measure(self, node: int, round: int, time_s: float, metrics: Any) -> None:
        """Keep the metrics of the run for this measurement; those that need no learning are what they are."""
        learnt = bool(futures(metrics))
        count = None if type(metrics) is Future else len(metrics or ())
        if type(metrics) is Learnt:
            learnt, count = True, metrics.number
        if count == 0 or round > self._course.rounds:
            return
        self._course.note("measure", node, round, inputs=[metrics if learnt else (), count])
        found = self._results.values(node, round, time_s, count)
        super().measure(node, round, time_s, found if learnt else metrics)

    def finish(self, states: Any = None, last: int | None = None) -> None:
        """Give observers what is left; nobody has any state."""
        super().finish(last=last)
