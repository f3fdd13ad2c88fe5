"""What is ordered is done in time, in any order and in any company; what is cancelled is never waited for."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.core.errors import ScenarioError
from netsim.events import Observer
from netsim.learner import Metric
from netsim.work.batching import Stacking
from netsim.work.executor import Executor
from netsim.work.executors.auto import Auto
from netsim.work.executors.inline import Inline
from netsim.work.future import Shared, awaited, opened
from netsim.work.graph import TaskGraph
from netsim.work.job import Stack, TrainingJob
from netsim.work.measurement import Measurement

PRIME = 1_000_003


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


class Elsewhere(Inline):
    """Says that it works while the clock runs on; what it is asked for it has always just done."""

    works_elsewhere = True


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
        return [row[:3] for row in self.all if row[0] != "closed"]

    @property
    def closed(self):
        return [row[1:] for row in self.all if row[0] == "closed"]


class World:
    """A graph with its executor and observer, told what a learner and a protocol would tell.

    Devices learn by arithmetic. ``log`` has what was really done, in order.
    """

    def __init__(self, executor=None, max_pending=0, evaluates=True, stacks=True):
        self.told, self.log = Told(), []
        self.executor = executor or Inline(None, Stacking("on"))
        self.work = TaskGraph(self.executor, self.told, max_pending)
        self.evaluates = evaluates
        self.stack = Stack("training", self.train_together) if stacks else None
        self.state: dict[int, Any] = {}
        self.outbox: dict[tuple[int, int], Any] = {}

    # Functions of tasks.

    def train_one(self, device, round, state):
        self.log.append(("ran", device, round))
        return (31 * state + 7 * device + round) % PRIME

    def train_together(self, inputs):
        self.log.append(("stack", *((one["device"], one["round"]) for one in inputs)))
        return [self.train_one(**one) for one in inputs]

    def combine_all(self, inputs):
        self.log.append(("combine", *((one["device"], one["round"]) for one in inputs)))
        return [self.combined(**one) for one in inputs]

    @staticmethod
    def combined(device, round, own, arrived):
        state = own
        for k, sent in arrived.items():
            state = (13 * state + k * sent) % PRIME
        return {"state": state, "metrics": [Metric("combined", state)]}

    def evaluate_one(self, device, round, state):
        self.log.append(("evaluate", device, round))
        return [Metric("accuracy", state)]

    # What a learner and a protocol do.

    def begin(self, device, round=1):
        """A simulated computation begins; returns the future of its result, and its tasks."""
        made = self.work.trace()
        inputs = {"device": device, "round": round, "state": self.state.get(device, 0)}
        return self.work.do(self.train_one, inputs, round, self.stack), made

    def end(self, device, result, round=1, time_s=1.0):
        """It got to its end."""
        self.state[device] = self.outbox[device, round] = result
        self.work.measure(device, round, time_s, self.work.together(losses, {"x": result}, round))

    def train(self, device, round=1, time_s=1.0):
        result, _ = self.begin(device, round)
        self.end(device, result, round, time_s)
        return result.task

    def combine(self, device, round=1, time_s=2.0, senders=()):
        arrived = {n: self.outbox[n, round] for n in sorted(senders)}
        inputs = {"device": device, "round": round, "own": self.state.get(device, 0), "arrived": arrived}
        done = self.work.together(self.combine_all, inputs, round)
        self.state[device] = done["state"]
        self.work.measure(device, round, time_s, done["metrics"])
        if self.evaluates:
            inputs = {"device": device, "round": round, "state": done["state"]}
            self.work.measure(device, round, time_s, self.work.do(self.evaluate_one, inputs, round))
        return done.task

    def said(self, *what):
        """Entries of the log that begin so."""
        return [entry for entry in self.log if entry[0] in what]


def losses(inputs):
    return [[Metric("loss", one["x"])] for one in inputs]


@pytest.fixture(params=["inline", "workers"])
def world_of(request):
    """Worlds of either kind of executor: one that works when asked, one that works ahead."""

    def make(max_pending=0, **more):
        executor = Workers() if request.param == "workers" else Inline(None, Stacking("on"))
        return World(executor, max_pending, **more)

    return make


# The clock runs ahead.


def test_nothing_is_done_before_the_round_is_closed_and_then_everything_together():
    world = World(evaluates=False)
    for device in (2, 0, 1):
        world.train(device)
    for device in (1, 2, 0):
        world.combine(device, senders={0, 1, 2} - {device})
    assert world.log == []
    world.work.close(1, 3.0)
    assert world.said("stack") == [("stack", (2, 1), (0, 1), (1, 1))]
    assert world.said("combine") == [("combine", (1, 1), (2, 1), (0, 1))]
    assert world.executor.jobs_done == 3


def test_light_tasks_come_by_round_and_then_as_they_were_ordered():
    world = World(evaluates=False)
    for device, round in [(2, 1), (0, 2), (1, 1), (3, 2)]:
        world.combine(device, round)
    world.work.finish()
    assert world.said("combine") == [("combine", (2, 1), (1, 1), (0, 2), (3, 2))]


def test_light_tasks_of_another_function_are_no_company():
    world = World(evaluates=False)
    world.combine(0)
    other = world.work.together(losses, {"x": 5}, 1)
    world.work.measure(1, 1, 0.0, other)
    world.work.close(1, 3.0)
    assert world.told.names == [("loss", 1, 1), ("combined", 1, 0)]


@pytest.mark.parametrize(
    ("ready", "combines"), [({0, 1, 3}, True), ({1, 2, 3}, False), ({0, 2, 3}, False), ({0, 1, 2}, False)]
)
def test_a_task_waits_for_its_inputs_and_for_nothing_else(ready, combines):
    """Device 0 has heard 1 and 3; of the four trainings some are done."""
    world = World(Workers(), max_pending=9)
    for device in range(4):
        world.train(device)
    combining = world.combine(0, senders={1, 3})
    world.executor.ready = ready
    world.work.close(1, 3.0)
    assert combining.done == combines
    assert world.said("combine") == [("combine", (0, 1))] * combines


def late_evaluation(world, device):
    """Order an evaluation that only metrics wait for."""
    inputs = {"device": device, "round": 1, "state": 7}
    found = world.work.do(world.evaluate_one, inputs, 1, late=True)
    world.work.measure(device, 1, 1.0, found)
    return found.task


def test_a_late_task_begins_when_a_worker_has_nothing_else_to_do():
    """Two workers: while two trainings are there it waits, also for one that is ordered after it."""
    world = World(Workers(), max_pending=9, evaluates=False)
    world.executor.workers = 2
    world.train(0)
    world.train(1)
    late = late_evaluation(world, 0)
    world.train(2)
    assert len(world.executor.jobs) == 3 and late.ticket is None
    world.executor.ready = {1}
    world.work.close(1, 3.0)
    assert late.ticket is None, "two trainings are left"
    world.executor.ready = {0, 1}
    world.work.close(2, 4.0)
    assert late.ticket == 3
    world.work.finish()
    assert ("accuracy", 1, 0) in world.told.names


def test_a_late_task_is_done_where_workers_are_busy_with_what_nobody_needs():
    world = World(Workers(), max_pending=9, evaluates=False)
    world.executor.workers = 1
    world.begin(0)
    late = late_evaluation(world, 1)
    world.work.finish()
    assert late.done and ("accuracy", 1, 1) in world.told.names


def test_without_workers_late_tasks_are_no_later():
    world = World(Inline(), evaluates=False)
    late_evaluation(world, 0)
    world.train(1)
    world.work.close(1, 3.0)
    assert world.said("evaluate", "ran") == [("evaluate", 0, 1), ("ran", 1, 1)]


def test_a_device_that_is_a_round_ahead_trains_from_what_it_combined():
    world = World()
    world.train(0)
    world.train(1)
    world.combine(0, senders={1})
    world.train(0, 2)  # its neighbour is still in round 1
    world.combine(1, senders={0})
    world.work.close(1, 3.0)
    assert ("ran", 0, 2) not in world.log and world.said("ran") == [("ran", 0, 1), ("ran", 1, 1)]
    world.combine(0, 2)
    world.work.close(2, 4.0)
    # By hand: both begin from 0; device 0 trains to 1, device 1 to 8; 0 combines 13 * 1 + 1 * 8 and trains from that.
    assert opened(world.outbox[0, 2]) == 31 * 21 + 2


def test_closing_a_round_leaves_later_rounds_alone():
    """The training of a device that is ahead was there first."""
    world = World(Inline())
    world.train(0)
    world.combine(0)
    world.work.value(world.state[0])
    world.train(0, 2)
    world.train(1)
    world.combine(1)
    world.work.close(1, 3.0)
    assert world.told.closed == [(1, 3.0)]
    assert world.said("ran") == [("ran", 0, 1), ("ran", 1, 1)]


def test_a_state_is_evaluated_as_it_was_after_its_round():
    world = World()
    for round in (1, 2, 3):
        world.train(0, round)
        world.combine(0, round)
    world.work.finish()
    values = {(name, round): value for name, round, _, _, value in world.told.all}
    assert all(values["accuracy", round] == values["combined", round] for round in (1, 2, 3))
    assert len({values["accuracy", round] for round in (1, 2, 3)}) == 3


def test_who_works_elsewhere_the_clock_is_waited_for_one_round_later():
    """When a round is closed its trainings are handed out; only those of the round before must be there."""
    world = World(Elsewhere(None, Stacking("on")))
    for round in (1, 2, 3):
        for device in (0, 1):
            world.train(device, round)
        for device in (0, 1):
            world.combine(device, round, senders={1 - device})
        world.work.close(round, 3.0 * round)
        assert {one[1] for entry in world.said("combine") for one in entry[1:]} == set(range(1, round))
        assert world.told.closed == [(r, 3.0 * r) for r in range(1, round)]
    world.work.finish()
    assert world.told.closed == [(1, 3.0), (2, 6.0), (3, 9.0)]


# A value.


def test_asking_for_a_value_waits_for_what_it_depends_on_and_for_nothing_else():
    world = World(Workers())
    for device in range(4):
        world.train(device)
    world.combine(0, senders={1, 3})
    world.executor.ready = {0, 1, 3}
    # Trained from 0 to 7 k + 1; device 0 hears 8 of device 1 and 22 of device 3.
    assert world.work.value(world.state[0]) == 13 * (13 * 1 + 1 * 8) + 3 * 22
    assert world.executor.waited == 0
    assert not world.outbox[2, 1].task.done


def test_asking_leaves_later_rounds_alone_and_asking_again_changes_nothing():
    world = World()
    world.train(0)
    world.combine(0)
    first = world.state[0]
    world.train(0, 2)
    world.combine(0, 2)
    for _ in range(2):
        assert world.work.value(first) == 1
        assert world.said("ran") == [("ran", 0, 1)]
    assert not world.state[0].task.done


def test_values_are_asked_for_in_any_arrangement(world_of):
    world = world_of()
    for device in (0, 1):
        world.train(device)
    asked = {"both": [world.outbox[0, 1], (world.outbox[1, 1], "text")], "number": 3}
    assert world.work.value(asked) == {"both": [1, (8, "text")], "number": 3}


# What observers are told.


def test_metrics_are_told_in_the_order_of_simulated_time_whatever_the_order_of_work():
    world = World(Workers())
    for device, time_s in ((0, 1.5), (1, 1.0), (2, 1.5)):
        world.train(device, time_s=time_s)
    for device, time_s in ((2, 3.0), (1, 2.0), (0, 2.5)):
        world.combine(device, time_s=time_s, senders={0, 1, 2} - {device})
    world.work.close(1, 3.0)
    world.work.finish()
    assert world.said("ran") == [("ran", 2, 1), ("ran", 1, 1), ("ran", 0, 1)]
    assert [
        (name, device, time_s) for name, _, device, time_s in (row[:4] for row in world.told.all[:-1])
    ] == [
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


def test_each_value_is_told_of_the_node_whose_task_gave_it():
    world = World(Workers())
    for device in range(5):
        world.train(device)
    world.work.finish()
    assert {row[2]: row[4] for row in world.told.all} == {device: 7 * device + 1 for device in range(5)}


def test_a_round_is_told_after_those_before_it_even_if_its_work_is_done_first():
    """Of round 1, an evaluation is late; all of round 2 is there."""
    world = World(Workers(), max_pending=9)
    world.executor.ready = {0, 2, 3}  # all but the evaluation after round 1
    for round in (1, 2):
        world.train(0, round, time_s=10.0 * round)
        world.combine(0, round, time_s=10.0 * round + 1)
        world.work.close(round, 10.0 * round + 2)
    assert ("evaluate", 0, 2) in world.log and ("evaluate", 0, 1) not in world.log
    assert world.told.all == []
    world.work.finish()
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
    world.work.close(1, 3.0)
    world.train(0, 2)
    world.work.measure(-1, 2, 9.0, [Metric("head", 5.0)])
    world.work.finish()
    assert world.told.names == [("loss", 1, 0), ("combined", 1, 0), ("loss", 2, 0), ("head", 2, -1)]
    assert world.told.closed == [(1, 3.0)]


def test_nothing_is_told_twice(world_of):
    world = world_of()
    world.train(0)
    world.combine(0)
    world.work.close(1, 3.0)
    world.work.finish()
    world.work.finish()
    assert world.told.names == [("loss", 1, 0), ("combined", 1, 0), ("accuracy", 1, 0)]
    assert world.told.closed == [(1, 3.0)]


@pytest.mark.parametrize("metrics", [None, (), []])
def test_nothing_measured_is_nothing_told(world_of, metrics):
    world = world_of()
    world.work.measure(0, 1, 1.0, metrics)
    world.work.close(1, 3.0)
    world.work.finish()
    assert world.told.all == [("closed", 1, 3.0)]


def test_the_last_states_are_given_in_the_end(world_of):
    world = world_of()
    for device in (0, 1):
        world.train(device)
    assert world.work.finish({**world.state, 2: "never trained"}) == {0: 1, 1: 8, 2: "never trained"}


# What is cut off.


def test_what_is_cancelled_before_it_was_started_is_never_done():
    world = World(evaluates=False)
    _, tasks = world.begin(0)
    world.work.cancel(tasks)
    world.combine(0)
    world.work.close(1, 3.0)
    assert world.said("ran") == [] and world.said("combine") == [("combine", (0, 1))]
    assert world.told.names == [("combined", 1, 0)] and world.told.closed == [(1, 3.0)]


def test_what_is_cancelled_after_it_was_submitted_is_discarded():
    world = World(Workers(), evaluates=False)
    world.train(0)
    _, (cut,) = world.begin(1)
    ticket = cut.ticket
    world.work.cancel([cut])
    assert world.executor.discarded == [ticket] == [1]
    world.combine(1, senders={0})
    world.work.close(1, 3.0)
    world.work.finish()
    assert world.said("ran") == [("ran", 0, 1)]
    assert (
        opened(world.state[1]) == 0
    )  # 13 times its state before, 0, and 0, the number of its sender, times 1
    assert world.told.names == [("loss", 1, 0), ("combined", 1, 1)]


def test_what_was_done_in_company_and_is_cancelled_then_is_thrown_away():
    world = World()
    begun = [world.begin(device) for device in range(3)]
    world.end(0, begun[0][0])
    world.work.value(world.state[0])
    assert world.said("stack") == [("stack", (0, 1), (1, 1), (2, 1))]
    world.work.cancel(begun[2][1])
    world.end(1, begun[1][0])
    for device in range(3):
        world.combine(device, senders={0, 1} - {device})
    world.work.close(1, 3.0)
    assert opened(world.state[2]) == 8  # from 0, by 0 * 1 of device 0 and 1 * 8 of device 1
    assert [name for name in world.told.names if name[0] == "loss"] == [("loss", 1, 0), ("loss", 1, 1)]
    assert world.told.closed == [(1, 3.0)]


def test_what_is_cancelled_while_it_waits_is_never_started(world_of):
    world = world_of(evaluates=False)
    world.train(0)
    world.combine(0)
    _, (waiting,) = world.begin(0, 2)
    assert waiting.sources
    world.work.cancel([waiting])
    world.combine(0, 2)
    world.train(0, 3)
    world.work.close(1, 3.0)
    world.work.close(2, 4.0)
    world.work.finish()
    assert world.said("ran", "combine") == [
        ("ran", 0, 1),
        ("combine", (0, 1)),
        ("combine", (0, 2)),
        ("ran", 0, 3),
    ]
    assert world.told.closed == [(1, 3.0), (2, 4.0)]


def test_what_a_state_depends_on_is_kept_when_the_rest_is_cancelled(world_of):
    """A message was thrown away; the device goes on from what it trained and picked."""
    world = world_of(evaluates=False)
    result, made = world.begin(0)
    picked = world.work.together(losses, {"x": result}, 1)
    other = world.work.together(losses, {"x": 3}, 1)
    world.work.cancel(made, {"state": [picked]})
    assert [task.cancelled for task in (result.task, picked.task, other.task)] == [False, False, True]
    assert world.work.value(picked) == [Metric("loss", 1)]


def test_what_somebody_must_know_is_not_cancelled(world_of):
    """It was measured before; so its round can be closed."""
    world = world_of(evaluates=False)
    task = world.train(0)
    world.work.cancel([task])
    world.work.close(1, 3.0)
    world.work.finish()
    assert world.told.all == [("loss", 1, 0, 1.0, 1), ("closed", 1, 3.0)]


def test_cancelling_twice_or_too_late_changes_nothing(world_of):
    world = world_of(evaluates=False)
    _, tasks = world.begin(0)
    for _ in range(2):
        world.work.cancel(tasks)
    done = world.train(1)
    world.work.finish()
    world.work.cancel([done])
    assert done.result == 8 and not done.cancelled


def test_a_value_of_what_was_cancelled_is_an_error_and_not_a_wait_for_ever(world_of):
    world = world_of()
    result, tasks = world.begin(0)
    world.work.cancel(tasks)
    with pytest.raises(RuntimeError, match="waits for work that nobody has ordered"):
        world.work.value(result)


def test_an_error_in_a_task_ends_the_wait_for_it(world_of):
    world = world_of()
    world.work.do(fails, {"x": 1}, 1)  # nobody must know: it is never asked for
    world.work.close(1, 3.0)
    world.work.measure(0, 2, 1.0, world.work.do(fails, {"x": 2}, 2))
    with pytest.raises((ScenarioError, ZeroDivisionError), match="of 2"):
        world.work.close(2, 4.0)


def fails(x):
    raise ZeroDivisionError(f"of {x}")


# Executors that work ahead.


def test_jobs_are_with_the_workers_as_soon_as_their_inputs_are_there():
    world = World(Workers())
    first, _ = world.begin(0)
    world.state[0] = first
    world.begin(0, 2)
    assert len(world.executor.jobs) == 1


@pytest.mark.parametrize(("max_pending", "waits"), [(9, 0), (3, 0), (2, 1), (1, 2), (0, 3)])
def test_a_round_is_waited_for_only_where_too_much_is_unfinished(max_pending, waits):
    world = World(Workers(), max_pending, evaluates=False)
    for device in range(3):
        world.train(device)
        world.combine(device)
    assert world.executor.waited == 0
    world.work.close(1, 3.0)
    assert world.executor.waited == waits == len(world.said("ran"))
    assert world.told.closed == ([(1, 3.0)] if waits == 3 else [])
    world.work.finish()
    assert world.executor.waited == 3
    assert world.told.closed == [(1, 3.0)]


def test_what_workers_have_done_is_taken_in_without_waiting():
    world = World(Workers(), max_pending=9)
    world.executor.ready = set(range(9))
    for device in range(3):
        world.train(device)
        world.combine(device)
    world.work.close(1, 3.0)
    assert world.executor.waited == 0 and world.told.closed == [(1, 3.0)]


def test_what_nobody_must_know_yet_is_not_waited_for():
    """Two devices compute on while a third has left round 1: with no room for unfinished work, nothing hangs."""
    world = World(Workers(), max_pending=0, evaluates=False)
    late = [world.begin(device, 2) for device in (0, 1)]
    world.train(2)
    world.combine(2)
    world.work.close(1, 3.0)
    assert world.told.closed == [(1, 3.0)] and world.executor.waited == 1
    assert not any(result.task.done for result, _ in late)
    for device, (result, _) in enumerate(late):
        world.end(device, result, 2, 4.0)
    world.work.finish()
    assert all(result.task.done for result, _ in late)


def test_evaluations_in_the_loop_are_done_although_workers_keep_up():
    auto, workers = Auto(), Workers()
    workers.ready = set(range(1000))
    auto._children = {"threads": workers, "loop": Inline()}
    auto._known = {
        "training": Measurement("training", 2, {}, "threads"),
        "evaluation": Measurement("evaluation", 2, {}, "loop"),
    }
    world = World(auto, max_pending=4, evaluates=False)
    evaluation = Stack("evaluation", evaluate_all)
    for round in range(1, 31):
        for device in (0, 1):
            world.train(device, round)
            world.combine(device, round)
            found = world.work.do(evaluate, {"state": world.state[device]}, round, evaluation)
            world.work.measure(device, round, 2.0, found)
        world.work.close(round, 3.0)
    assert len(world.told.closed) > 20


def evaluate(state):
    return [Metric("accuracy", state)]


def evaluate_all(inputs):
    return [evaluate(**one) for one in inputs]


# Inputs.


def test_what_is_shared_is_kept_by_whoever_does_the_job():
    """A job names what it shares with others, and has the value in its place."""
    world, data = World(Workers()), object()
    shared = Shared(data)
    world.work.do(keeps, {"data": shared, "more": [1, shared]}, 1)
    (job,) = world.executor.jobs
    assert job.kept == {"data"}
    assert job.inputs["data"] is data and job.inputs["more"][1] is data


def keeps(data, more):
    return data


def test_futures_are_found_in_dictionaries_lists_and_tuples(world_of):
    world = world_of()
    for device in (0, 1):
        world.train(device)
    one, two = world.outbox[0, 1], world.outbox[1, 1]
    metric = Metric("loss", two, "audio")
    inputs = {"a": one, "b": {"c": [two, (one, metric)]}, "d": 5}
    assert awaited(inputs) == [one.task, two.task, one.task, two.task]
    result = world.work.do(dict, inputs, 1)
    assert world.work.value(result) == {"a": 1, "b": {"c": [8, (1, Metric("loss", 8, "audio"))]}, "d": 5}
    assert isinstance(world.work.value(metric), Metric)


def test_a_field_of_a_result_is_a_key_or_an_attribute(world_of):
    world = world_of()
    result = world.work.do(dict, {"metric": Metric("loss", 2.0), "list": {3: "three"}}, 1)
    assert world.work.value(result["metric"]["value"]) == 2.0
    assert world.work.value(result["list"][3]) == "three"


def test_what_holds_no_future_is_not_copied():
    value = {"a": [1, (2, 3)], "b": {"c": object()}}
    assert opened(value) is value


def test_a_trace_has_the_tasks_that_were_made_since():
    world = World()
    before = world.work.trace()
    first = world.work.do(keeps, {"data": 1, "more": 2}, 1)
    light = world.work.together(losses, {"x": first}, 1)
    after = world.work.trace()
    last = world.work.do(keeps, {"data": first, "more": light}, 2)
    assert before == [first.task, light.task] and after == [last.task]
    assert [len(task.sources) for task in (*before, *after)] == [0, 1, 2]


# What cannot be.


def test_waiting_for_what_nobody_ordered_is_an_error(world_of):
    """A task was cancelled, and what it gives was sent all the same."""
    world = world_of()
    world.train(0)
    result, tasks = world.begin(1)
    world.work.cancel(tasks)
    world.outbox[1, 1] = result
    world.combine(0, senders={1})
    with pytest.raises(RuntimeError, match="waits for work that nobody has ordered"):
        world.work.value(world.state[0])
    with pytest.raises(RuntimeError, match="waits for work that nobody has ordered"):
        world.work.finish()


# All of it.


def play(world: World, seed: int) -> Any:
    """Devices that live a drawn life each: trained or cut off, heard or not, some to their death."""
    draw = random.Random(seed)
    devices, rounds = draw.randint(1, 5), draw.randint(1, 4)
    time_s, here, ended = 0.0, {}, set()
    left = dict.fromkeys(range(1, rounds + 1), devices)
    lives: dict[int, tuple[int, Any]] = {device: (1, None) for device in range(devices)}

    def leave(round):
        left[round] -= 1
        if left[round] == 0 and round in here:
            world.work.close(round, time_s)

    while lives:
        device = draw.choice(sorted(lives))
        round, begun = lives[device]
        time_s += draw.choice((0.0, 0.0, 1.0))
        if begun is None:
            lives[device] = (round, world.begin(device, round))
            continue
        if draw.random() < 0.2:
            world.work.cancel(begun[1])
        else:
            world.end(device, begun[0], round, time_s)
            ended.add((device, round))
        if draw.random() < 0.1:  # it dies
            del lives[device]
            for later in range(round, rounds + 1):
                leave(later)
            continue
        heard = [n for n in range(devices) if n != device and (n, round) in ended and draw.random() < 0.8]
        world.combine(device, round, time_s, heard)
        if draw.random() < 0.1:
            world.work.value(world.state[device])
        here[round] = True
        leave(round)
        lives[device] = (round + 1, None)
        if round == rounds:
            del lives[device]
    return world.work.finish(world.state)


class Eager(TaskGraph):
    """Does each task as it is ordered: nothing could be simpler."""

    def add(self, task):
        future = super().add(task)
        self.value(future)
        return future


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_whoever_works_and_when_the_same_is_learnt_and_told(seed):
    reference = World(Inline())
    reference.work = Eager(reference.executor, reference.told, 0)
    states = play(reference, seed)
    others = [World(Inline(None, Stacking("on"))), World(Inline()), World(stacks=False)]
    others += [World(Workers(), max_pending) for max_pending in (0, 1, 3, 100)]
    others.append(World(Elsewhere(None, Stacking("on"))))
    for world in others:
        assert play(world, seed) == states
        assert world.told.all == reference.told.all


def test_all_batteries_of_a_stub_run_empty_while_sending(simulate):
    _, log = simulate(
        devices={"count": 3, "tx_power_w": 1.0, "battery": {"capacity_j": 1.0}},
        learner={"name": "stub", "flops": 4e9, "bits": 1e7},
    )
    assert {row.outcome for row in log.rounds} == {"died"} and log.closed == []
