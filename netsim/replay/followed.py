"""A learner of which it is noted what it is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from netsim.core.budget import Budget
from netsim.learner import Cost, Learner
from netsim.protocols.asked import Asked
from netsim.replay.course import Course
from netsim.replay.graph import ReplayGraph
from netsim.replay.memory import Notes, Remembered, Watched
from netsim.work.future import futures

T = TypeVar("T")


class Followed(Asked):
    """Passes each question on, and notes those that decide what is learnt.

    Args:
        learner: The learner.
        devices: Number of devices.
        work: Is told at which question tasks are ordered.
        course: Is told of the questions.
        same_costs: Whether FLOPs have to be the same, too.
        notes: Is told of all questions and answers; None: nobody is.
    """

    def __init__(
        self,
        learner: Learner,
        devices: int,
        work: ReplayGraph,
        course: Course,
        same_costs: bool,
        notes: Notes | None = None,
    ) -> None:
        super().__init__(learner, devices, work)
        self._replay = work
        self._course = course
        self._same_costs = same_costs
        self._notes = notes

    def answers_alike(self, *questions: str) -> bool:
        """Return that they do not, so that each device's question is noted."""
        return False

    def _ask(self, method: Callable[..., T], node: int, round: int, *given: Any) -> T:
        name = method.__name__
        if told := _told(name, node, round, given):
            self._course.note(name, node, round, *told)
        begin = self._replay.answered
        if self._notes is not None:
            given = tuple(Watched.of(one) if isinstance(one, Budget) else one for one in given)
        answer = super()._ask(method, node, round, *given)
        if self._notes is not None:
            self._notes.note(name, node, round, given, answer, range(begin, self._replay.answered))
        if isinstance(answer, Cost):
            inputs = [getattr(answer, one.name) for one in dataclasses.fields(answer) if one.name != "flops"]
            iterations = tuple(answer.iterations.items())
            self._course.note(
                "cost", node, round, iterations, [inputs, answer.flops if self._same_costs else 0]
            )
        return answer


class Recalled(Asked):
    """Asks a memory in place of a learner."""

    def __init__(self, memory: Remembered, devices: int, work: ReplayGraph) -> None:
        super().__init__(memory, devices, work)
        self._memory = memory

    def answers_alike(self, *questions: str) -> bool:
        """Return that they do not: each device's answer is in the memory."""
        return False

    def _ask(self, method: Callable[..., T], node: int, round: int, *given: Any) -> T:
        answer: T = self._memory.recall(method.__name__, node, round, given, self._work.observer)
        return answer


def _told(method: str, node: int, round: int, given: Sequence[Any]) -> tuple[Any, Any] | None:
    """Return what a person is told of a question, and what it is about; None if it decides nothing by itself."""
    match method, given:
        case "train" | "evaluate", (_, _, _, state, *_):
            return None, state
        case "aggregate", (_, _, _, state, arrived):
            first = next(iter(futures(state)), None)
            trained = first is not None and first.task.result.question == ("train", node, round)
            return (tuple(arrived), trained), [state, arrived]
        case "aggregate_weighed", (*asked, factors):
            told, inputs = _told("aggregate", node, round, asked) or (None, [])
            return told, [*inputs, factors]
        case "merge", (_, _, _, state, arrived, devices):
            return tuple(arrived), [state, arrived, devices]
        case "decide", (_, _, _, reports):
            return tuple(reports), None
        case "meets", (_, _, neighbours):
            return tuple((k, tuple(own)) for k, own in neighbours.items()), None
        case "acknowledged", (_, _, delivered):
            return tuple(delivered.items()), None
    return None
