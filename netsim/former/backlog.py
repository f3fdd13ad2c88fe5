"""Real work that the simulation has ordered and does not need yet.

The simulated clock runs ahead of the learning: a round's transfers need to know how large a model is, not what is in
it. So a protocol notes here what each device trains, combines and judges, and goes on; the work is done when somebody
must know its outcome: at the end of a round for its records, before a report to a cluster head, or at once for a
learner that does not look ahead. By then the work of a whole round is there, and what does not depend on each other
is done together.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from netsim.events import MetricRow, Observer
from netsim.former.learning import Inbox, Learner, Message, Workload
from netsim.learner import Metric
from netsim.work.executors.executor import Executor
from netsim.work.job import TrainingJob

AT_ONCE = 256
"""How many results are asked for at once from workers, which give them out a few at a time."""


class Step:
    """One thing to do for one device, after others.

    Attributes:
        device: Whose.
        round: The device's round.
        place: Counts what was ordered, trainings and combinings alike.
        closes: The round that is not closed before it is done, and that its metrics belong to; 0 while nobody knows.
        time_s: Simulated time of its outcome [s]; NaN until that is known.
        waiting: How many steps must be done before it.
        followers: Steps that wait for it.
        done: Whether it is done, or will not be.
        judged: Whether the device's model is judged after it.
    """

    __slots__ = ("closes", "device", "done", "followers", "judged", "place", "round", "time_s", "waiting")

    def __init__(
        self, device: int, round: int, time_s: float, place: int = -1, closes: int | None = None
    ) -> None:
        self.place = place
        self.device = device
        self.round = round
        self.closes = round if closes is None else closes
        self.time_s = time_s
        self.waiting = 0
        self.followers: list[Step] = []
        self.done = self.judged = False

    def after(self, step: Step | None) -> None:
        """Wait for ``step``."""
        if step is not None and not step.done:
            self.waiting += 1
            step.followers.append(self)


class Training(Step):
    """A local update; ``due`` once the simulated computation has ended, ``jobless`` if no real work is behind it.

    ``metrics`` are those that wait until it is known which round they belong to.
    """

    __slots__ = ("cancelled", "due", "jobless", "metrics", "ticket", "workload")

    def __init__(
        self, device: int, round: int, workload: Workload, place: int, closes: int | None = None
    ) -> None:
        super().__init__(device, round, float("nan"), place, closes)
        self.workload = workload
        self.metrics: Sequence[Metric] = ()
        self.due = self.cancelled = self.jobless = False
        self.ticket: int | None = None


class Combining(Step):
    """Taking in what arrived; with ``hears_senders`` it waits for their training of its round, one after the other."""

    __slots__ = ("arrived", "hears_senders")

    def __init__(
        self,
        device: int,
        round: int,
        time_s: float,
        place: int,
        arrived: Mapping[int, Any],
        hears_senders: bool,
    ) -> None:
        super().__init__(device, round, time_s, place)
        self.arrived = arrived
        self.hears_senders = hears_senders


class Judging(Step):
    """Evaluating the model after a round."""

    __slots__ = ()
    due = True


class Backlog:
    """What is still to be done, and what depends on what.

    Each device's steps are a chain: train, combine, train, combine ...; combining also waits for the training of
    those whose messages arrived. Steps that wait for nothing are done in any order and in any company, which changes
    no result.
    """

    def __init__(self, learner: Learner, executor: Executor, observer: Observer, max_pending: int) -> None:
        self.learner = learner
        self.executor = executor
        self.observer = observer
        self.max_pending = max_pending
        self._last: dict[int, Step] = {}
        self._places = itertools.count()
        self._undone: dict[int, dict[int, Training]] = {}  # trainings, by round and device
        self._startable: list[Training] = []
        self._combinable: list[Combining] = []
        self._started: dict[int, Training | Judging] = {}
        self._open: Counter[int] = Counter()
        self._learning: Counter[int] = Counter()  # those of them that later rounds wait for
        self._unfinished = 0  # trainings and judgements, the steps that have jobs
        self._finished = 0
        self._metrics: defaultdict[int, list[MetricRow]] = defaultdict(list)
        self._closings: deque[tuple[int, float]] = deque()

    # What a protocol says.

    def begin(self) -> None:
        """The first event is about to happen."""

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
        """A simulated computation begins that stands for a local update.

        Args:
            device: Whose.
            round: Its round.
            workload: What is computed.
            after: What makes the model that it starts from, where that is somebody else's.
            closes: The round that waits for it; by default its own. 0: none until :meth:`adopt` says so.
            judged: Whether the model is judged after it, rather than after combining.
        """
        step = Training(device, round, workload, next(self._places), closes)
        step.judged = judged
        self._undone.setdefault(round, {})[device] = step
        self._unfinished += 1
        self._append(step)
        step.after(after)
        if step.waiting == 0:
            self._startable.append(step)
            if self.executor.works_ahead or not self.learner.looks_ahead:
                self._start()
        return step

    def adopt(self, step: Training, round: int) -> None:
        """``round`` is the one that uses ``step``: it is not closed before, and has its metrics."""
        if step.done:
            self.measure(step.device, round, step.time_s, step.metrics)
            step.metrics = ()
        else:
            for counts in (self._open, self._learning):
                counts[step.closes] -= 1
                counts[round] += 1
        step.closes = round

    def trained(self, step: Training, time_s: float) -> None:
        """The simulated computation has ended: the result is due."""
        step.due, step.time_s = True, time_s
        if step.jobless:
            self._apply(step, None)
            self._finish([step])
        self._settle_unless_looking_ahead(step)

    def cancel(self, step: Training) -> None:
        """Nobody will use it: the simulated computation, or what was to be made of its result, was cut off."""
        if step.done:
            return
        if step.ticket is not None:
            self._started.pop(step.ticket)
            self.executor.discard(step.ticket)
        elif step in self._startable:
            self._startable.remove(step)
        step.cancelled = True
        if step.waiting == 0:
            self._finish([step])

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[Message]:
        """What ``device`` sends to its ``neighbours``; a decentralized protocol asks here, not the learner.

        Whoever gets a payload passes it on to :meth:`combine` as it is: it may stand for one that is elsewhere.
        """
        return self.learner.messages(device, round, neighbours)

    def acknowledged(self, device: int, round: int, delivered: Mapping[int, bool]) -> None:
        """Tell the learner what ``device`` knows of its messages of ``round``; see :meth:`Learner.acknowledged`."""
        self.learner.acknowledged(device, round, delivered)

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
        """``device`` takes in what arrived: payloads by sender. Then it is judged, if there is anything to judge.

        Args:
            device: Who.
            round: Its round.
            time_s: When [s].
            arrived: Payloads by sender, in the order of numbers.
            after: What made the payloads; by default the senders' training of the same round.
            judged: False where the model is not whole yet: the device's own training follows.
        """
        place = next(self._places)
        step = Combining(device, round, time_s, place, arrived, hears_senders=after is None)
        step.judged = judged
        self._append(step)
        for other in after or ():
            step.after(other)
        if step.waiting == 0:
            self._ready(step)
        self._settle_unless_looking_ahead(step)
        return step

    def measure(self, device: int, round: int, time_s: float, metrics: Iterable[Metric]) -> None:
        """Keep metrics until their round is closed."""
        self._metrics[round] += [
            MetricRow(round, device, time_s, name, modality, value) for name, value, modality in metrics
        ]

    def settle(self, step: Step) -> None:
        """Do what is needed until ``step`` is done."""
        while not step.done:
            self._must_advance()

    def close(self, round: int, time_s: float) -> None:
        """Everybody has left ``round``; it is told to observers when its work is done."""
        self._closings.append((round, time_s))
        if self.executor.works_ahead:
            while self._advance(wait=False):
                pass
            while self._unfinished > self.max_pending and self._advance():
                pass
        elif self.executor.works_beside:
            # One round behind: while this process simulates the next round, workers have this one in their hands.
            while self._learning[round - 1]:
                self._must_advance()
            self._advance(wait=False)
        else:
            while self._open[round]:
                self._must_advance()
        self._tell()

    def finish(self) -> None:
        """Do all that is left, and tell what was measured in rounds that nobody closed."""
        while any(self._open.values()):
            self._must_advance()
        self._tell()
        for round in sorted(self._metrics):
            self._tell_metrics(round)

    def end(self) -> None:
        """The run is over, whatever became of it: let go of what is held."""
        self.executor.close()

    def facts(self) -> Mapping[str, Any]:
        """What belongs in the run's record: how jobs were run, and what was measured to decide it."""
        return self.executor.facts()

    # How it is done.

    def _append(self, step: Step) -> None:
        """The next link of its device's chain."""
        self._open[step.closes] += 1
        self._learning[step.closes] += 1
        step.after(self._last.get(step.device))
        self._last[step.device] = step

    def _settle_unless_looking_ahead(self, step: Step) -> None:
        if not self.learner.looks_ahead:
            self.settle(step)

    def _advance(self, wait: bool = True) -> bool:
        """Start what can start, take in what is done, combine what can be combined; returns whether that was any."""
        before = self._finished
        self._start()
        results = self.executor.finish(self._wanted(), wait) if self._started else {}
        steps = [self._started.pop(ticket) for ticket in results]
        for step, result in zip(steps, results.values(), strict=True):
            if isinstance(step, Training):
                self._apply(step, result)
            else:
                metrics = self.learner.judge(step.device, step.round, result)
                self.measure(step.device, step.round, step.time_s, metrics)
        self._finish(steps)
        self._combine()
        return self._finished > before

    def _must_advance(self) -> None:
        if not self._advance():
            raise RuntimeError("the work that is left waits for work that nobody has ordered")

    def _wanted(self) -> list[int]:
        """Tickets whose results can be taken in; without workers only those of the earliest round, for full groups."""
        due = [(ticket, step) for ticket, step in self._started.items() if step.due]
        if self.executor.works_ahead:
            return [ticket for ticket, _ in due[:AT_ONCE]]
        earliest = min((step.round for _, step in due), default=0)
        return [ticket for ticket, step in due if step.round == earliest]

    def _start(self) -> None:
        startable, self._startable = self._startable, []
        for step in startable:
            job = self.learner.training_job(step.device, step.round, step.workload)
            if job is not None:
                self._submit(step, job)
            elif step.due:
                self._apply(step, None)
                self._finish([step])
            else:
                step.jobless = True

    def _judge(self, device: int, round: int, time_s: float) -> None:
        job = self.learner.evaluation_job(device, round)
        if job is not None:
            step = Judging(device, round, time_s)
            self._open[round] += 1
            self._unfinished += 1
            self._submit(step, job)

    def _submit(self, step: Training | Judging, job: TrainingJob) -> None:
        ticket = self.executor.submit(job)
        self._started[ticket] = step
        if isinstance(step, Training):
            step.ticket = ticket

    def _apply(self, step: Training, result: Any) -> None:
        metrics = self.learner.apply(step.device, step.round, result)
        if step.closes:
            self.measure(step.device, step.closes, step.time_s, metrics)
        else:
            step.metrics = metrics
        if step.judged:
            self._judge(step.device, step.round, step.time_s)

    def _combine(self) -> None:
        ready, self._combinable = self._combinable, []
        if not ready:
            return
        ready.sort(key=lambda step: (step.round, step.device))
        inboxes = [Inbox(step.device, step.round, step.arrived) for step in ready]
        combined = self.executor.inside.run(
            "combining", "combining", lambda: self.learner.combine_all(inboxes), len(inboxes)
        )
        for step, metrics in zip(ready, combined, strict=True):
            self.measure(step.device, step.round, step.time_s, metrics)
            if step.judged:
                self._judge(step.device, step.round, step.time_s)
            step.arrived = {}
        self._finish(ready)

    def _finish(self, steps: Sequence[Step]) -> None:
        """``steps`` are over, all of them before any follower looks whom it still waits for."""
        for step in steps:
            step.done = True
            self._open[step.closes] -= 1
            if not isinstance(step, Judging):
                self._learning[step.closes] -= 1
            if not isinstance(step, Combining):
                self._unfinished -= 1
            if isinstance(step, Training):
                undone = self._undone[step.round]
                del undone[step.device]
                if not undone:
                    del self._undone[step.round]
        self._finished += len(steps)
        for step in steps:
            followers, step.followers = step.followers, []
            for follower in followers:
                follower.waiting -= 1
                if follower.waiting == 0:
                    self._ready(follower)

    def _ready(self, step: Step) -> None:
        if isinstance(step, Combining):
            if step.hears_senders:
                self._wait_for_a_sender(step)
            if step.waiting == 0:
                self._combinable.append(step)
        elif isinstance(step, Training):
            if step.cancelled:
                self._finish([step])
            else:
                self._startable.append(step)

    def _wait_for_a_sender(self, step: Combining) -> None:
        """Of the senders that are not done, wait for the one that was ordered last: mostly no other is left then."""
        undone = self._undone.get(step.round)
        if undone:
            step.after(
                max(filter(None, map(undone.get, step.arrived)), key=attrgetter("place"), default=None)
            )

    def _tell(self) -> None:
        while self._closings and not self._open[self._closings[0][0]]:
            round, time_s = self._closings.popleft()
            self._tell_metrics(round)
            del self._open[round], self._learning[round]
            self.observer.on_round_closed(round, time_s)
            self.learner.forget(round)

    def _tell_metrics(self, round: int) -> None:
        """In the order of simulated time, whatever the order in which the work was done."""
        self.observer.on_metrics(sorted(self._metrics.pop(round, []), key=attrgetter("time_s", "device")))
