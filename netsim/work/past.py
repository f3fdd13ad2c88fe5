"""The past of a run that goes on: results of its tasks up to a snapshot, and rows that observers were given by then."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

from netsim.core.errors import ScenarioError
from netsim.events import AnswerRow, MetricRow
from netsim.work.answers import value_of
from netsim.work.future import Future
from netsim.work.keys import is_before
from netsim.work.snapshots import Snapshot
from netsim.work.task import NOTHING, Task

GONE = object()
"""The result of a task that nothing needs any more."""


class Past:
    """Settles tasks of a run that is replayed up to a snapshot.

    The clock is simulated anew, so the same tasks are ordered. Those whose results the snapshot has are done; those
    that were pending are ordered; of the others nothing is needed any more.

    Args:
        snapshot: The snapshot.
        metrics: Rows of the table ``metrics``, at least those that observers had been given by then.
        answers: Rows of the table ``answers``, likewise.

    Attributes:
        closed: Number of rounds up to the snapshot.
        metrics: Number of rows of the table ``metrics`` up to it.
        answers: Likewise of the table ``answers``.
        early: Results of tasks that nobody had asked for; they are not done before somebody does.
    """

    def __init__(
        self, snapshot: Snapshot, metrics: Iterable[MetricRow], answers: Sequence[AnswerRow]
    ) -> None:
        self.closed = snapshot.closed
        self.metrics, self.answers = snapshot.metrics, snapshot.answers
        self._told = snapshot.told
        self._marks = snapshot.marks
        self._pending = set(snapshot.pending)
        self._results = dict(snapshot.results)
        self.early = dict(snapshot.early)
        self._metrics: defaultdict[int, list[MetricRow]] = defaultdict(list)
        for row in metrics:
            self._metrics[row.round].append(row)
        self._answers = deque(answers[: snapshot.answers])

    def settles(self, task: Task) -> bool:
        """Return whether ``task`` need not be done; it has its result then, if that is of any use."""
        assert task.key is not None
        if task.key in self._results:
            task.result = self._results.pop(task.key)
        elif task.key in self._pending or not is_before(task.key, self._marks):
            self._pending.discard(task.key)
            return False
        else:
            task.result = GONE
        task.done, task.inputs = True, NOTHING
        return True

    def answer(self, asked: Sequence[Future]) -> list[AnswerRow]:
        """Give futures that the clock waits for their values; return their rows, none after the snapshot."""
        rows = [self._answers.popleft() for _ in asked if self._answers]
        for one, row in zip(asked, rows, strict=bool(rows)):
            one.answer(value_of(row.value))
        return rows

    def told(self, round: int) -> list[MetricRow] | None:
        """Return what observers were given as ``round`` was closed; None if that was after the snapshot."""
        if not self._told:
            return None
        self._told -= 1
        return self._metrics.pop(round, [])

    def check_over(self) -> None:
        """Check, at the snapshot, that all has been ordered that had been ordered in the run.

        Raises:
            ScenarioError: It has not.
        """
        if self._results or self._pending or self._answers or self._told:
            raise ScenarioError(
                "the learner orders other work than it did in the run, so the run cannot go on; run it anew"
            )
