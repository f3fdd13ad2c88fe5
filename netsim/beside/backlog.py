"""A backlog that can go on in another process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from netsim.backlog import Backlog, Step, Training
from netsim.beside.copy import Copy, Said
from netsim.beside.service import Service
from netsim.beside.trial import Trial
from netsim.jobs.executor import Executor
from netsim.learning import Learner, Message, Workload
from netsim.observers import Observer

GRACE_S = 5.0
"""So long an interrupted run waits for what the copy has nearly done [s]."""


class BacklogBeside(Backlog):
    """Goes on in a copy of this process, at once or when that pays, as the executor says; this side tells it what to.

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
        self._trial = Trial(rounds, executor.inside)
        self._copy: Copy | None = None
        self._moved_after: int | None = None
        # Where the work is done: what each device trains, and payloads by round, sender and receiver.
        self._under_way: dict[int, Training] = {}
        self._posted: dict[int, dict[int, dict[int, Any]]] = {}
        # Where it is not: what is said to the copy, and was answered.
        self._said: list[Said] = []
        self._behind: deque[int] = deque()  # trainings in each message that is not answered
        self._workloads: dict[int, Workload] = {}
        self._facts: Mapping[str, Any] = {}

    def begin(self) -> None:
        """Split now, if that is what the executor is for."""
        if self.executor.moves == "at once":
            self._split(after=0)

    def train(self, device: int, round: int, workload: Workload, **of_servers: Any) -> Training:
        """See :meth:`Backlog.train`."""
        if self._copy is None:
            step = super().train(device, round, workload, **of_servers)
            self._under_way[device] = step
            return step
        assert not of_servers, "a copy knows no server"
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
            posted = {k: message.payload for message in messages for k in message.receivers}
            self._posted.setdefault(round, {})[device] = posted
        else:
            self._said.append(("messages", device, round, neighbours))
        return messages

    def combine(
        self, device: int, round: int, time_s: float, arrived: Mapping[int, Any], **of_servers: Any
    ) -> Step:
        """See :meth:`Backlog.combine`."""
        if self._copy is None:
            return super().combine(device, round, time_s, arrived, **of_servers)
        assert not of_servers, "a copy knows no server"
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
        if self._trial.ends_well(round, begin_s, self._may_move):
            self._split(after=round)

    def finish(self) -> None:
        """See :meth:`Backlog.finish`. What the copy has learnt comes home."""
        if self._copy is None:
            return super().finish()
        self._hand_over(("finish",))
        while self._behind:
            self._take()
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

    @property
    def _may_move(self) -> bool:
        return self.executor.moves == "if it pays" and self.executor.in_one_process

    def _split(self, after: int) -> None:
        """From now on there are two; to the copy this is a backlog like any other."""
        self._moved_after = after
        self._copy = Copy(Service(self, self._under_way, self._posted).serve)

    def _hand_over(self, last: Said) -> None:
        """All that was said goes to the copy."""
        assert self._copy is not None
        said, self._said = [*self._said, last], []
        self._copy.tell(said)
        self._behind.append(sum(name == "train" for name, *_ in said))
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
