"""What is noted is done in time, in the right order, and in whatever company; what is cancelled never."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.events import Observer
from netsim.former.backlog import Backlog
from netsim.former.learning import Learner, Message, Workload
from netsim.learner import Metric
from netsim.work.batching import Measurement, Stacking
from netsim.work.executors.auto import Auto
from netsim.work.executors.executor import Executor
from netsim.work.executors.inline import Inline
from netsim.work.job import Stack, TrainingJob

WORK = Workload({}, {"all": 1.0})
PRIME = 1_000_003


class Book(Learner):
    """Learns by arithmetic, and writes down what it was asked, and which of its jobs ran."""

    def __init__(self, looks_ahead=True, trains=True, evaluates=True):
        super().__init__(None)
        self.looks_ahead, self.trains, self.evaluates = looks_ahead, trains, evaluates
        self.log: list[tuple[Any, ...]] = []
        self.state: dict[int, int] = {}
        self.sent: dict[tuple[int, int], int] = {}

    def said(self, *what):
        """Entries of the log that begin so."""
        return [entry for entry in self.log if entry[0] in what]

    def train(self, device, round, state):
        self.log.append(("ran", device, round))
        return (31 * state + 7 * device + round) % PRIME

    def train_together(self, inputs):
        self.log.append(("stack", *((each["device"], each["round"]) for each in inputs)))
        return [self.train(**each) for each in inputs]

    def workload(self, device, round, budget):
        return WORK

    def training_job(self, device, round, workload):
        self.log.append(("job", device, round))
        if not self.trains:
            return None
        inputs = {"device": device, "round": round, "state": self.state.get(device, 0)}
        return TrainingJob(self.train, inputs, stack=Stack("training", self.train_together))

    def apply(self, device, round, result):
        self.log.append(("apply", device, round))
        self.sent[device, round] = -1 if result is None else result
        return [Metric("loss", self.sent[device, round])]

    def messages(self, device, round, neighbours):
        return [Message(tuple(neighbours), 1.0, (device, round))]

    def combine(self, device, round, arrived):
        own = self.sent.get((device, round), self.state.get(device, 0))
        self.state[device] = (own + 13 * sum(self.sent[payload] for payload in arrived.values())) % PRIME
        return [Metric("combined", self.state[device])]

    def combine_all(self, inboxes):
        self.log.append(("combine", *((inbox.device, inbox.round) for inbox in inboxes)))
        return super().combine_all(inboxes)

    def evaluation_job(self, device, round):
        self.log.append(("evaluate", device, round))
        return TrainingJob(number, {"x": self.state[device]}) if self.evaluates else None

    def judge(self, device, round, result):
        self.log.append(("judge", device, round))
        return [Metric("accuracy", result)]


def number(x):
    return x


def numbers(inputs):
    return [each["x"] for each in inputs]


class Workers(Executor):
    """Done with a job when the test says so; who waits for several gets the last one, so work ends in reverse."""

    works_ahead = True

    def __init__(self):
        super().__init__()
        self.jobs: list[TrainingJob] = []
        self.ready: set[int] = set()
        self.discarded: list[int] = []
        self.waited = 0

    def submit(self, job):
        self.jobs.append(job)
        return len(self.jobs) - 1

    def finish(self, tickets: Collection[int], wait=True):
        done = [ticket for ticket in tickets if ticket in self.ready]
        if tickets and wait and not done:
            self.waited += 1
            done = [list(tickets)[-1]]
        return {ticket: self.jobs[ticket].function(**self.jobs[ticket].inputs) for ticket in done}

    def discard(self, ticket):
        self.discarded.append(ticket)


class Beside(Inline):
    """Says that it works while the clock runs on; what it is asked for it has always just done."""

    works_beside = True


class Told(Observer):
    """Everything that it was told, in order."""

    def __init__(self):
        self.all: list[tuple[Any, ...]] = []

    def on_metrics(self, rows):
        self.all += [(row.name, row.round, row.device, row.time_s, row.value) for row in rows]

    def on_round_closed(self, round, time_s):
        self.all.append(("closed", round, time_s))

    @property
    def names(self):
        return [(name, round, device) for name, round, device, *_ in self.metrics]

    @property
    def metrics(self):
        return [row for row in self.all if row[0] != "closed"]

    @property
    def closed(self):
        return [row[1:] for row in self.all if row[0] == "closed"]


class World:
    """A backlog with its learner, executor and observer, told what a protocol would tell."""

    def __init__(self, executor=None, max_pending=0, cls=Book, **learner: Any):
        self.learner, self.told = cls(**learner), Told()
        self.executor = executor or Inline(None, Stacking("on"))
        self.backlog = Backlog(self.learner, self.executor, self.told, max_pending)

    def train(self, device, round=1, time_s=1.0):
        """A whole simulated computation, from its begin to its end."""
        step = self.backlog.train(device, round, WORK)
        self.backlog.trained(step, time_s)
        return step

    def combine(self, device, round=1, time_s=2.0, senders=()):
        return self.backlog.combine(device, round, time_s, {n: (n, round) for n in senders})


@pytest.fixture(params=["inline", "workers"])
def world_of(request):
    """Worlds of either kind of executor: one that works when asked, one that works ahead."""

    def make(max_pending=0, **learner):
        executor = Workers() if request.param == "workers" else Inline(None, Stacking("on"))
        return World(executor, max_pending, **learner)

    return make


# Looking ahead.


def test_nothing_is_done_before_the_round_is_closed_and_then_everything_together():
    world = World(evaluates=False)
    for device in (2, 0, 1):
        world.train(device)
    for device in (1, 2, 0):
        world.combine(device, senders={0, 1, 2} - {device})
    assert world.learner.log == []
    world.backlog.close(1, 3.0)
    assert world.learner.said("stack") == [("stack", (2, 1), (0, 1), (1, 1))]
    assert world.learner.said("combine") == [("combine", (0, 1), (1, 1), (2, 1))]
    assert world.executor.jobs_done == 3


def test_inboxes_come_by_round_and_then_by_device():
    world = World(evaluates=False)
    noted = [(2, 1), (0, 2), (1, 1), (3, 2)]
    for device, round in noted:
        world.combine(device, round)
    world.backlog.finish()
    (first, *_) = world.learner.said("combine")
    assert first == ("combine", (1, 1), (2, 1), (0, 2), (3, 2))


@pytest.mark.parametrize(
    ("ready", "combines"), [({0, 1, 3}, True), ({1, 2, 3}, False), ({0, 2, 3}, False), ({0, 1, 2}, False)]
)
def test_combining_waits_for_those_who_were_heard_and_for_nobody_else(ready, combines):
    """Device 0 has heard 1 and 3; of the four trainings some are done."""
    world = World(Workers(), max_pending=9)
    for device in range(4):
        world.train(device)
    combining = world.combine(0, senders={1, 3})
    world.executor.ready = ready
    world.backlog.close(1, 3.0)
    assert combining.done == combines
    assert world.learner.said("combine") == [("combine", (0, 1))] * combines


def test_settling_waits_for_nobody_else():
    world = World(Workers())
    for device in range(4):
        world.train(device)
    combining = world.combine(0, senders={1, 3})
    world.executor.ready = {0, 1, 3}
    world.backlog.settle(combining)
    assert world.executor.waited == 0
    assert world.learner.said("apply") == [("apply", 0, 1), ("apply", 1, 1), ("apply", 3, 1)]


def test_a_device_that_is_a_round_ahead_trains_with_what_it_combined():
    world = World()
    world.train(0)
    world.train(1)
    world.combine(0, senders={1})
    world.train(0, 2)  # its neighbour is still in round 1
    world.combine(1, senders={0})
    world.backlog.close(1, 3.0)
    order = world.learner.log
    assert ("job", 0, 2) not in order[: order.index(("combine", (0, 1), (1, 1)))]
    assert ("ran", 0, 2) not in order
    combined = world.learner.state[0]
    world.combine(0, 2)
    world.backlog.close(2, 4.0)
    assert world.learner.sent[0, 2] == (31 * combined + 2) % PRIME


def test_settling_leaves_later_rounds_alone():
    world = World()
    world.train(0)
    first = world.combine(0)
    world.train(0, 2)
    second = world.combine(0, 2)
    world.backlog.settle(first)
    assert first.done and not second.done
    assert world.learner.said("ran") == [("ran", 0, 1)]
    world.backlog.settle(first)  # once more changes nothing
    assert world.learner.said("ran") == [("ran", 0, 1)]


def test_closing_a_round_leaves_later_rounds_alone():
    """The training of a device that is ahead was there first."""
    world = World(Inline())
    world.train(0)
    world.backlog.settle(world.combine(0))
    world.train(0, 2)
    world.train(1)
    world.combine(1)
    world.backlog.close(1, 3.0)
    assert world.told.closed == [(1, 3.0)]
    assert world.learner.said("ran") == [("ran", 0, 1), ("ran", 1, 1)]


def test_a_model_is_judged_as_it_was_after_its_round():
    """The evaluation's inputs are taken before the next round's training changes the model."""
    world = World()
    for round in (1, 2, 3):
        world.train(0, round)
        world.combine(0, round)
    world.backlog.finish()
    values = {(name, round): value for name, round, _, _, value in world.told.metrics}
    for round in (1, 2, 3):
        assert values["accuracy", round] == values["combined", round]
    assert len({values["accuracy", round] for round in (1, 2, 3)}) == 3


@pytest.mark.parametrize("looks_ahead", [True, False])
@pytest.mark.parametrize("trains", [True, False])
def test_a_model_that_its_device_trains_after_combining_is_judged_after_that(world_of, looks_ahead, trains):
    """Device 1 is a server that computes from 2 s to 3 s."""
    world = world_of(looks_ahead=looks_ahead, trains=trains)
    world.train(0)
    world.backlog.combine(1, 1, 2.0, {0: (0, 1)}, judged=False)
    world.backlog.trained(world.backlog.train(1, 1, WORK, judged=True), 3.0)
    world.backlog.close(1, 3.0)
    world.backlog.finish()
    assert world.learner.said("apply", "combine", "evaluate", "judge") == [
        ("apply", 0, 1),
        ("combine", (1, 1)),
        ("apply", 1, 1),
        ("evaluate", 1, 1),
        ("judge", 1, 1),
    ]
    assert [row[:4] for row in world.told.metrics if row[0] == "accuracy"] == [("accuracy", 1, 1, 3.0)]
    assert world.told.closed == [(1, 3.0)]


def test_who_works_beside_the_clock_is_waited_for_one_round_later():
    """When a round is closed its trainings are handed out; only those of the round before must be there."""
    world = World(Beside(None, Stacking("on")))
    for round in (1, 2, 3):
        for device in (0, 1):
            world.train(device, round)
        for device in (0, 1):
            world.combine(device, round, senders={1 - device})
        world.backlog.close(round, 3.0 * round)
        combined = {entry[1] for entry in world.learner.said("combine")}
        assert {done for _, done in combined} == set(range(1, round))
        assert len(world.executor._pending) + len(world.executor._done) >= 2
    world.backlog.finish()
    assert world.told.closed == [(1, 3.0), (2, 6.0), (3, 9.0)]


# What observers are told.


def test_metrics_are_told_in_the_order_of_simulated_time_whatever_the_order_of_work():
    world = World(Workers())
    for device, time_s in ((0, 1.5), (1, 1.0), (2, 1.5)):
        world.train(device, time_s=time_s)
    for device, time_s in ((2, 3.0), (1, 2.0), (0, 2.5)):
        world.combine(device, time_s=time_s, senders={0, 1, 2} - {device})
    world.backlog.close(1, 3.0)
    world.backlog.finish()
    assert world.learner.said("apply") == [("apply", 2, 1), ("apply", 1, 1), ("apply", 0, 1)]
    assert [(name, device, time_s) for name, _, device, time_s, _ in world.told.metrics] == [
        ("loss", 1, 1.0),
        ("loss", 0, 1.5),
        ("loss", 2, 1.5),
        ("combined", 1, 2.0),
        ("accuracy", 1, 2.0),
        ("combined", 0, 2.5),
        ("accuracy", 0, 2.5),
        ("combined", 2, 3.0),
        ("accuracy", 2, 3.0),
    ]
    assert world.told.all[-1] == ("closed", 1, 3.0)


def test_each_value_is_told_of_the_device_whose_job_gave_it():
    world = World(Workers())
    for device in range(5):
        world.train(device)
    world.backlog.finish()
    assert {device: value for _, _, device, _, value in world.told.metrics} == {
        device: 7 * device + 1 for device in range(5)
    }


def test_a_round_is_told_after_those_before_it_even_if_its_work_is_done_first():
    """Of round 1, an evaluation is late; all of round 2 is there."""
    world = World(Workers(), max_pending=9)
    world.executor.ready = {0, 2, 3}  # all but the evaluation after round 1
    for round in (1, 2):
        world.train(0, round, time_s=10.0 * round)
        world.combine(0, round, time_s=10.0 * round + 1)
        world.backlog.close(round, 10.0 * round + 2)
    assert ("judge", 0, 2) in world.learner.log and ("judge", 0, 1) not in world.learner.log
    assert world.told.all == []
    world.backlog.finish()
    assert [row[:2] for row in world.told.all] == [
        ("loss", 1),
        ("combined", 1),
        ("accuracy", 1),
        ("closed", 1),
        ("loss", 2),
        ("combined", 2),
        ("accuracy", 2),
        ("closed", 2),
    ]


def test_metrics_of_a_round_that_nobody_closed_are_told_in_the_end(world_of):
    """All devices died in round 2."""
    world = world_of(evaluates=False)
    world.train(0, 1)
    world.combine(0, 1)
    world.backlog.close(1, 3.0)
    world.train(0, 2)
    world.backlog.measure(-1, 2, 9.0, [Metric("head", 5.0)])
    if world.told.closed:
        assert world.told.names == [("loss", 1, 0), ("combined", 1, 0)]
    world.backlog.finish()
    assert world.told.names == [("loss", 1, 0), ("combined", 1, 0), ("loss", 2, 0), ("head", 2, -1)]
    assert world.told.closed == [(1, 3.0)]


def test_nothing_is_told_twice(world_of):
    world = world_of()
    world.train(0)
    world.combine(0)
    world.backlog.close(1, 3.0)
    world.backlog.finish()
    world.backlog.finish()
    assert world.told.names == [("loss", 1, 0), ("combined", 1, 0), ("accuracy", 1, 0)]
    assert world.told.closed == [(1, 3.0)]


# What is cut off.


def test_what_is_cancelled_before_it_was_started_is_never_asked_for():
    world = World(evaluates=False)
    world.backlog.cancel(world.backlog.train(0, 1, WORK))
    world.combine(0)
    world.backlog.close(1, 3.0)
    assert world.learner.said("job", "ran", "apply") == []
    assert world.learner.said("combine") == [("combine", (0, 1))]
    assert world.told.names == [("combined", 1, 0)] and world.told.closed == [(1, 3.0)]


def test_what_is_cancelled_after_it_was_submitted_is_discarded():
    world = World(Workers(), evaluates=False)
    kept = world.backlog.train(0, 1, WORK)
    step = world.backlog.train(1, 1, WORK)
    world.backlog.cancel(step)
    assert world.executor.discarded == [step.ticket] == [1]
    world.backlog.trained(kept, 1.0)
    world.combine(1, senders={0})
    world.combine(0)
    world.backlog.close(1, 3.0)
    world.backlog.finish()
    assert world.learner.said("apply") == [("apply", 0, 1)]
    assert world.learner.state[1] == 13 * world.learner.sent[0, 1]
    assert world.told.names == [("loss", 1, 0), ("combined", 1, 0), ("combined", 1, 1)]


def test_what_was_done_in_company_and_is_cancelled_then_is_thrown_away():
    world = World()
    steps = [world.backlog.train(device, 1, WORK) for device in range(3)]
    world.backlog.trained(steps[0], 1.0)
    world.backlog.settle(steps[0])
    assert world.learner.said("stack") == [("stack", (0, 1), (1, 1), (2, 1))]
    world.backlog.cancel(steps[2])
    world.backlog.trained(steps[1], 1.0)
    for device in range(3):
        world.combine(device, senders={0, 1} - {device})
    world.backlog.close(1, 3.0)
    assert world.learner.said("apply") == [("apply", 0, 1), ("apply", 1, 1)]
    assert world.learner.state[2] == 13 * (world.learner.sent[0, 1] + world.learner.sent[1, 1])
    assert world.told.closed == [(1, 3.0)]


def test_what_is_cancelled_while_it_waits_lets_the_next_step_pass(world_of):
    world = world_of()
    world.train(0)
    world.combine(0)
    waiting = world.backlog.train(0, 2, WORK)
    assert waiting.waiting
    world.backlog.cancel(waiting)
    assert not waiting.done
    world.combine(0, 2)
    world.train(0, 3)
    world.backlog.close(1, 3.0)
    world.backlog.close(2, 4.0)
    world.backlog.finish()
    assert waiting.done
    assert world.learner.said("job", "apply", "combine") == [
        ("job", 0, 1),
        ("apply", 0, 1),
        ("combine", (0, 1)),
        ("combine", (0, 2)),
        ("job", 0, 3),
        ("apply", 0, 3),
    ]
    assert world.told.closed == [(1, 3.0), (2, 4.0)]


def test_work_without_a_job_is_cancelled_too(world_of):
    world = world_of(trains=False)
    world.backlog.cancel(world.backlog.train(0, 1, WORK))
    world.combine(0)
    world.backlog.close(1, 3.0)
    world.backlog.finish()
    assert world.learner.said("apply") == [] and world.told.closed == [(1, 3.0)]


# Learners that do not look ahead.


def test_a_learner_that_does_not_look_ahead_has_learnt_when_the_computation_ends(world_of):
    world = world_of(looks_ahead=False)
    for device in (0, 1):
        step = world.backlog.train(device, 1, WORK)
        assert ("job", device, 1) in world.learner.log  # its inputs are fixed at the begin
        assert world.learner.said("apply") == [("apply", 0, 1)][:device]
        world.backlog.trained(step, 1.0)
        assert step.done and ("apply", device, 1) in world.learner.log
    assert world.combine(1, senders={0}).done
    assert world.learner.said("combine") == [("combine", (1, 1))]
    assert world.combine(0, senders={1}).done
    assert world.learner.said("combine") == [("combine", (1, 1)), ("combine", (0, 1))]
    assert world.told.all == []
    world.backlog.close(1, 3.0)
    assert world.told.closed == [(1, 3.0)]


def test_a_learner_that_does_not_look_ahead_can_be_cut_off(world_of):
    world = world_of(looks_ahead=False)
    world.train(0)
    world.backlog.cancel(world.backlog.train(1, 1, WORK))
    assert world.combine(1, senders={0}).done
    assert ("apply", 1, 1) not in world.learner.log


def test_jobs_of_a_learner_that_does_not_look_ahead_run_in_company_if_they_are_there():
    world = World(looks_ahead=False)
    steps = [world.backlog.train(device, 1, WORK) for device in range(3)]
    assert world.learner.said("ran") == []
    world.backlog.trained(steps[1], 1.0)
    assert world.learner.said("stack") == [("stack", (0, 1), (1, 1), (2, 1))]
    assert world.learner.said("apply") == [("apply", 1, 1)]


# Learners without jobs.


@pytest.mark.parametrize("looks_ahead", [True, False])
def test_without_jobs_the_steps_are_the_same(world_of, looks_ahead):
    world = world_of(looks_ahead=looks_ahead, trains=False, evaluates=False)
    for round in (1, 2):
        for device in (0, 1):
            world.train(device, round)
        for device in (0, 1):
            world.combine(device, round, senders={1 - device})
        world.backlog.close(round, 3.0 * round)
    world.backlog.finish()
    for device in (0, 1):
        asked = [entry for entry in world.learner.log if entry[1] == device and entry[0] != "combine"]
        assert asked == [(what, device, round) for round in (1, 2) for what in ("job", "apply", "evaluate")]
    assert world.learner.said("judge") == []
    assert world.told.closed == [(1, 3.0), (2, 6.0)]
    assert [name for name, *_ in world.told.names] == ["loss", "loss", "combined", "combined"] * 2


# Executors that work ahead.


def test_jobs_are_with_the_workers_as_soon_as_their_inputs_are_there():
    world = World(Workers())
    world.backlog.train(0, 1, WORK)
    assert len(world.executor.jobs) == 1


@pytest.mark.parametrize(("max_pending", "waits"), [(9, 0), (3, 0), (2, 1), (1, 2), (0, 3)])
def test_a_round_is_waited_for_only_where_too_much_is_unfinished(max_pending, waits):
    world = World(Workers(), max_pending, evaluates=False)
    for device in range(3):
        world.train(device)
    for device in range(3):
        world.combine(device)
    assert world.executor.waited == 0
    world.backlog.close(1, 3.0)
    assert world.executor.waited == waits
    assert len(world.learner.said("apply")) == waits
    assert world.told.closed == ([(1, 3.0)] if waits == 3 else [])
    world.backlog.finish()
    assert world.executor.waited == 3
    assert world.told.closed == [(1, 3.0)]


def test_what_workers_have_done_is_taken_in_without_waiting():
    world = World(Workers(), max_pending=9)
    world.executor.ready = set(range(9))
    for device in range(3):
        world.train(device)
        world.combine(device)
    world.backlog.close(1, 3.0)
    assert world.executor.waited == 0 and world.told.closed == [(1, 3.0)]


def test_what_is_not_due_is_not_waited_for():
    """Two devices compute on while a third has left round 1: with no room for unfinished work, nothing hangs."""
    world = World(Workers(), max_pending=0, evaluates=False)
    late = [world.backlog.train(device, 2, WORK) for device in (0, 1)]
    world.train(2)
    world.combine(2)
    world.backlog.close(1, 3.0)
    assert world.told.closed == [(1, 3.0)] and world.executor.waited == 1
    assert not any(step.done for step in late)
    for step in late:
        world.backlog.trained(step, 4.0)
    world.backlog.finish()
    assert all(step.done for step in late)


# What cannot be.


def test_waiting_for_what_nobody_ordered_is_an_error(world_of):
    world = world_of()
    world.train(0)
    world.backlog.train(1, 1, WORK)  # never ends, never cut off
    combining = world.combine(0, senders={1})
    with pytest.raises(RuntimeError, match="waits for work that nobody has ordered"):
        world.backlog.settle(combining)
    with pytest.raises(RuntimeError, match="waits for work that nobody has ordered"):
        world.backlog.finish()


# All of it.


def play(world: World, seed: int) -> None:
    """Devices that live a drawn life each: trained or cut off, heard or not, some to their death."""
    draw = random.Random(seed)
    devices, rounds = draw.randint(1, 5), draw.randint(1, 4)
    time_s, here, ended = 0.0, {}, set()
    left = {round: devices for round in range(1, rounds + 1)}
    lives = {device: (1, None) for device in range(devices)}

    def leave(round):
        left[round] -= 1
        if left[round] == 0 and round in here:
            world.backlog.close(round, time_s)

    while lives:
        device = draw.choice(sorted(lives))
        round, training = lives[device]
        time_s += draw.choice((0.0, 0.0, 1.0))
        if training is None:
            lives[device] = (round, world.backlog.train(device, round, WORK))
            continue
        if draw.random() < 0.2:
            world.backlog.cancel(training)
        else:
            world.backlog.trained(training, time_s)
            ended.add((device, round))
        if draw.random() < 0.1:  # it dies
            del lives[device]
            for later in range(round, rounds + 1):
                leave(later)
            continue
        heard = [n for n in range(devices) if n != device and (n, round) in ended and draw.random() < 0.8]
        combining = world.combine(device, round, time_s, heard)
        if draw.random() < 0.1:
            world.backlog.settle(combining)
        here[round] = True
        leave(round)
        lives[device] = (round + 1, None)
        if round == rounds:
            del lives[device]
    world.backlog.finish()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_whoever_works_and_when_the_same_is_learnt_and_told(seed):
    reference = World(Inline(), looks_ahead=False)
    play(reference, seed)
    others = [World(Inline(None, Stacking("on"))), World(Inline()), World(Workers(), looks_ahead=False)]
    others += [World(Workers(), max_pending) for max_pending in (0, 1, 3, 100)]
    others.append(World(Beside(None, Stacking("on"))))
    for world in others:
        play(world, seed)
        assert world.learner.state == reference.learner.state
        assert world.told.all == reference.told.all


def test_all_devices_of_a_learner_without_jobs_die_after_training():
    world = World(trains=False)
    for device in range(2):
        world.train(device)
    world.backlog.finish()
    assert world.told.names == [("loss", 1, 0), ("loss", 1, 1)]


def test_all_batteries_of_a_stub_run_empty_while_sending(simulate):
    _, log = simulate(
        devices={"count": 3, "tx_power_w": 1.0, "battery": {"capacity_j": 1.0}},
        learner={"name": "stub", "flops": 4e9, "bits": 1e7},
    )
    assert {row.outcome for row in log.rounds} == {"died"} and log.closed == []


class Some(Book):
    """Has no job for some devices, and judges some models only."""

    def training_job(self, device, round, workload):
        self.trains = device % 2 == 0
        return super().training_job(device, round, workload)

    def evaluation_job(self, device, round):
        self.evaluates = device * round % 3 == 0
        return super().evaluation_job(device, round)


def test_whoever_works_the_same_is_learnt_where_some_devices_have_no_jobs():
    for seed in range(200):
        worlds = [World(Inline(), looks_ahead=False, cls=Some), World(cls=Some)]
        worlds += [World(Workers(), max_pending, cls=Some) for max_pending in (0, 2)]
        for world in worlds:
            play(world, seed)
            assert world.learner.state == worlds[0].learner.state
            assert world.told.all == worlds[0].told.all


class Judged(Book):
    """Its evaluations are a kind of their own."""

    def evaluation_job(self, device, round):
        return TrainingJob(number, {"x": self.state[device]}, stack=Stack("evaluation", numbers))


def test_evaluations_in_the_loop_are_done_although_workers_keep_up():
    auto, workers = Auto(), Workers()
    workers.ready = set(range(1000))
    auto._children = {"threads": workers, "loop": Inline()}
    auto._known = {
        "training": Measurement("training", 2, {}, "threads"),
        "evaluation": Measurement("evaluation", 2, {}, "loop"),
    }
    world = World(auto, max_pending=4, cls=Judged)
    for round in range(1, 31):
        for device in (0, 1):
            world.train(device, round)
            world.combine(device, round)
        world.backlog.close(round, 3.0)
    assert len(world.told.closed) > 20
