"""A backlog that can go on in another process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from netsim.core.errors import ScenarioError
from netsim.events import Observer
from netsim.former.backlog import Backlog, Step, Training
from netsim.former.beside.copy import Copy, Said
from netsim.former.beside.deposit import Claim, Deposit
from netsim.former.beside.service import Service
from netsim.former.beside.trial import Trial
from netsim.former.learning import Learner, Message, Workload
from netsim.learner import Metric
from netsim.work.executors.executor import Executor

GRACE_S = 5.0
"""So long an interrupted run waits for what the copy has nearly done [s]."""


class BacklogBeside(Backlog):
    """Goes on in a copy of this process, at once or when that pays, as the executor says; this side tells it what to.

    Both sides count steps and payloads alike, so numbers stand for them: ``Step.place``, and a claim's.

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
        self._obstacle: Mapping[str, str] = {}
        # Where the work is done: what somebody may speak of again, by place, and payloads.
        self._steps: dict[int, Step] = {}
        self._deposit = Deposit()
        # Where it is not: what is said to the copy, and was answered.
        self._said: list[Said] = []
        self._behind: deque[int] = deque()  # trainings in each message that is not answered
        self._workloads: dict[int, Workload] = {}
        self._facts: Mapping[str, Any] = {}

    def begin(self) -> None:
        """Split now, if that is what the executor is for."""
        if self.executor.moves == "at once":
            self._split(after=0)

    def train(
        self,
        device: int,
        round: int,
        workload: Workload,
        *,
        after: Step | None = None,
        closes: int | None = None,
        judged: bool = False,
    ) -> Training:
        """See :meth:`Backlog.train`."""
        if self._copy is None:
            step = super().train(device, round, workload, after=after, closes=closes, judged=judged)
            self._steps[step.place] = step
            return step
        known = self._workloads.get(device) is workload
        self._workloads[device] = workload
        place = after.place if after is not None else None
        self._said.append(("train", device, round, None if known else workload, place, closes, judged))
        return Training(device, round, workload, next(self._places), closes)

    def adopt(self, step: Training, round: int) -> None:
        """See :meth:`Backlog.adopt`."""
        if self._copy is None:
            return super().adopt(step, round)
        self._said.append(("adopt", step.place, round))

    def trained(self, step: Training, time_s: float) -> None:
        """See :meth:`Backlog.trained`."""
        if self._copy is None:
            return super().trained(step, time_s)
        self._said.append(("trained", step.place, time_s))

    def cancel(self, step: Training) -> None:
        """See :meth:`Backlog.cancel`."""
        if self._copy is None:
            return super().cancel(step)
        self._said.append(("cancel", step.place))

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[Message]:
        """See :meth:`Backlog.messages`. The copy asks its own learner: payloads stay where the models are."""
        messages = super().messages(device, round, neighbours)
        if self._copy is not None:
            self._said.append(("messages", device, round, neighbours))
        return [message._replace(payload=self._deposit.claim(message.payload)) for message in messages]

    def acknowledged(self, device: int, round: int, delivered: Mapping[int, bool]) -> None:
        """See :meth:`Backlog.acknowledged`. Both learners know."""
        super().acknowledged(device, round, delivered)
        if self._copy is not None:
            self._said.append(("acknowledged", device, round, delivered))

    def combine(
        self,
        device: int,
        round: int,
        time_s: float,
        arrived: Mapping[int, Any],
        *,
        after: Iterable[Step] | None = None,
        judged: bool = True,
    ) -> Step:
        """See :meth:`Backlog.combine`.

        Raises:
            ScenarioError: A payload has gone round :meth:`messages`, so that the copy does not know it.
        """
        if not all(isinstance(claim, Claim) for claim in arrived.values()):
            self._stay()
        if self._copy is None:
            payloads = {k: self._payload(claim) for k, claim in arrived.items()}
            return self.combine_here(device, round, time_s, payloads, after, judged)
        numbers = tuple([claim.number for claim in arrived.values()])
        places = tuple([step.place for step in after]) if after is not None else None
        self._said.append(("combine", device, round, time_s, tuple(arrived), numbers, places, judged))
        return Step(device, round, time_s, next(self._places))

    def combine_here(
        self,
        device: int,
        round: int,
        time_s: float,
        arrived: Mapping[int, Any],
        after: Iterable[Step] | None,
        judged: bool,
    ) -> Step:
        """See :meth:`Backlog.combine`, with the payloads themselves."""
        step = super().combine(device, round, time_s, arrived, after=after, judged=judged)
        self._steps[step.place] = step
        return step

    def measure(self, device: int, round: int, time_s: float, metrics: Iterable[Metric]) -> None:
        """See :meth:`Backlog.measure`."""
        if self._copy is None:
            return super().measure(device, round, time_s, metrics)
        self._said.append(("measure", device, round, time_s, tuple(metrics)))

    def settle(self, step: Step) -> None:
        """See :meth:`Backlog.settle`. The clock waits for the copy."""
        if self._copy is None:
            return super().settle(step)
        self._hand_over(("settle", step.place))
        while self._behind:
            self._take()

    def close(self, round: int, time_s: float) -> None:
        """See :meth:`Backlog.close`. If the copy is too far behind, the clock waits for it."""
        if self._copy is not None:
            self._hand_over(("close", round, time_s))
            self.learner.forget(round)
            return
        begin_s = time.perf_counter()
        super().close(round, time_s)
        self._deposit.given_back()
        for place in [place for place, step in self._steps.items() if not _matters(step)]:
            del self._steps[place]
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
            "beside": {"after_round": self._moved_after, **self._trial.facts(), **self._obstacle},
        }

    @property
    def _may_move(self) -> bool:
        return self.executor.moves == "if it pays" and self.executor.in_one_process and not self._obstacle

    def _stay(self) -> None:
        """The protocol has combined a payload that :meth:`messages` did not give.

        Raises:
            ScenarioError: It is too late to stay.
        """
        reason = "the protocol combines payloads that it does not have from Backlog.messages"
        if self._copy is not None:
            raise ScenarioError(
                f"jobs.executor: the learning cannot have a process of its own: {reason}; use inline or threads"
            )
        self._obstacle = {"obstacle": reason}

    def _payload(self, claim: Any) -> Any:
        return self._deposit[claim.number] if isinstance(claim, Claim) else claim

    def _split(self, after: int) -> None:
        """From now on there are two; to the copy this is a backlog like any other."""
        self._moved_after = after
        self._copy = Copy(Service(self, self._steps, self._deposit).serve)

    def _hand_over(self, last: Said) -> None:
        """All that was said goes to the copy."""
        assert self._copy is not None
        said, self._said = [*self._said, ("forget", self._deposit.given_back()), last], []
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


def _matters(step: Step) -> bool:
    """Whether somebody may still wait for ``step``, or its metrics for a round."""
    return not step.done or (isinstance(step, Training) and bool(step.metrics))
