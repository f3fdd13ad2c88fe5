"""Names of tasks that are the same whenever the same is asked of the learner, whatever else is ordered meanwhile."""

from __future__ import annotations

from collections.abc import Mapping

Question = tuple[str, int, int]
"""What the learner is being asked: its method, of which node, in which round."""

Key = tuple[str, int, int, int]
"""The question that a task was ordered at, and its number among the tasks of that question."""

Marks = Mapping[tuple[str, int], tuple[int, int]]
"""How far each method has been asked of each node: the last round, and the number of tasks ordered in it."""

PROTOCOL: Question = "protocol", -1, 0
"""What is ordered while the learner is asked nothing."""


class Keys:
    """Gives out keys. Each node is asked the same method round by round, so how far that went is two numbers.

    Attributes:
        marks: How far.
        in_order: Whether rounds have never gone back; otherwise the marks do not say what was ordered.
    """

    def __init__(self) -> None:
        self.marks: dict[tuple[str, int], tuple[int, int]] = {}
        self.in_order = True

    def next(self, question: Question | None) -> Key:
        """Return the key of a task that is ordered at ``question``."""
        method, node, round = question or PROTOCOL
        last, count = self.marks.get((method, node), (-1, 0))
        key = method, node, round, count if round == last else 0
        self.note(key)
        return key

    def note(self, key: Key) -> None:
        """Take in that a task with this ``key`` is ordered."""
        method, node, round, number = key
        self.in_order &= round >= self.marks.get((method, node), (-1, 0))[0]
        self.marks[method, node] = round, number + 1


def is_before(key: Key, marks: Marks) -> bool:
    """Return whether the task was ordered before the ``marks`` were taken."""
    method, node, *place = key
    return tuple(place) < marks.get((method, node), (-1, 0))
