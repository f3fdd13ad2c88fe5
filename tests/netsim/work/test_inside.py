"""Threads inside operators: timed on the real work, done once; one thread unless many are clearly faster."""

from __future__ import annotations

import functools

import pytest
import torch
from threadpoolctl import threadpool_info

from netsim.work.batching import Stacking
from netsim.work.executors.auto import Auto
from netsim.work.executors.inline import Inline
from netsim.work.job import TrainingJob
from netsim.work.operator_threads import ORDER, Inside


class Open(Inside):
    """One or four threads, on a clock that nothing else moves."""

    numbers = (1, 4)

    def __init__(self):
        super().__init__()
        self.now, self.clock = 1, 0.0

    def _set(self, *number):
        self.now = number[0]


@pytest.fixture
def inside(monkeypatch):
    made = Open()
    monkeypatch.setattr("netsim.work.operator_threads.time.perf_counter", lambda: made.clock)
    return made


def play(inside, seconds, times, kind="step", sizes=(1.0,)):
    """Do work that takes ``seconds`` by threads, times a size; devices take turns. What each time was done with."""
    used = []

    def work():
        used.append(inside.now)
        inside.clock += seconds[inside.now] * sizes[(len(used) - 1) % len(sizes)]
        return len(used)

    assert [inside.run(kind, kind, work) for _ in range(times)] == list(range(1, times + 1))  # each done once
    assert inside.now == 1  # in between
    return used


@pytest.mark.parametrize(
    ("one_s", "four_s", "threads"),
    [(0.1, 0.05, 4), (0.1, 0.094, 4), (0.1, 0.096, 1), (0.1, 0.2, 1), (0.1, 2.0, 1), (0.9, 0.1, 4)],
)
def test_the_better_number_is_found_and_kept(inside, one_s, four_s, threads):
    assert inside.best_for("step") is None
    assert set(play(inside, {1: one_s, 4: four_s}, 30)[15:]) == {threads} == {inside.best_for("step")}
    (row,) = inside.facts()["measured"]
    assert (row["label"], row["chosen"]) == ("step", threads)
    assert row["seconds"] == pytest.approx({"1": one_s, "4": four_s})


@pytest.mark.parametrize("four_s", [0.4, 4.0])
def test_where_many_threads_stall_they_are_tried_once(inside, four_s):
    assert play(inside, {1: 0.01, 4: four_s}, 10).count(4) == 1
    (row,) = inside.facts()["measured"]
    assert row["chosen"] == 1
    assert row["seconds"] == pytest.approx({"1": 0.01, "4": four_s})


def test_what_is_hopeless_is_given_up_soon(inside):
    """Once each to warm up, twice each to see: threads that stall, twenty times slower, are met three times."""
    assert play(inside, {1: 0.01, 4: 0.2}, 40).count(4) == 3


@pytest.mark.parametrize(("four_s", "threads"), [(1.3, 4), (2.5, 1)])
def test_slow_work_is_decided_after_two_times_with_each(inside, four_s, threads):
    """A server's work of seconds comes once a round: twelve times would be the whole run."""
    assert play(inside, {1: 2.0, 4: four_s}, 12) == [1, 4, 1, 4, *[threads] * 8]


@pytest.mark.parametrize("devices", [1, 2, 3, 4, 6])
def test_a_device_with_more_data_does_not_turn_the_choice(inside, devices):
    """The first device's work is ten times the others': a job takes 1.0 s there with one thread and 0.8 s with four."""
    sizes = (10.0, *(1.0,) * (devices - 1))
    play(inside, {1: 0.1, 4: 0.08}, 40, sizes=sizes)
    assert inside.facts()["measured"][0]["chosen"] == 4
    for numbers in (ORDER[start::devices] for start in range(devices)):
        assert abs(2 * sum(numbers) - len(numbers)) <= 1


def test_every_kind_of_work_is_tried_by_itself(inside):
    play(inside, {1: 0.1, 4: 0.01}, 20, "train")
    play(inside, {1: 0.01, 4: 0.1}, 20, "evaluate")
    assert [(row["label"], row["chosen"]) for row in inside.facts()["measured"]] == [
        ("train", 4),
        ("evaluate", 1),
    ]


def test_a_stack_counts_by_the_job(inside):
    """Ten jobs in 1 s are 0.1 s each, as single ones are."""
    play(inside, {1: 0.1, 4: 0.2}, 8)

    def work():
        inside.clock += 1.0

    for _ in range(20):
        inside.run("stack", "stack", work, parts=10)
    assert inside.facts()["measured"][-1]["seconds"]["1"] == pytest.approx(0.1)


@pytest.mark.parametrize("make", [Inline, lambda: Auto(None, Stacking("auto"))])
def test_jobs_without_a_stack_are_measured_by_function(inside, make):
    executor = make()
    executor.inside = inside

    def step(x):
        inside.clock += {1: 0.01, 4: 0.5}[inside.now]
        return 2 * x

    for x in range(10):  # a new partial each time is still the same kind
        ticket = executor.submit(TrainingJob(functools.partial(step, x=x), {}))
        assert executor.finish([ticket])[ticket] == 2 * x
    (row,) = executor.facts()["threads"]["measured"]
    assert row["label"].endswith("step") and row["chosen"] == 1


def in_force():
    return {
        torch.get_num_threads(),
        *(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"),
    }


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    Inside(3).limit(False)
    yield
    Inside(before).limit(False)


def test_torch_and_blas_have_what_was_chosen_and_in_the_end_what_they_had(three_threads):
    measured = Inside()
    assert measured.numbers == (1, 3)
    with measured.during_a_run():
        assert in_force() == {1}
        assert measured.fixed(-1, in_force) == {3}
        assert in_force() == {1}
        measured.limit()
        assert measured.fixed(-1, in_force) == {1} and measured.run("a", "a", in_force) == {1}
    assert in_force() == {3}


def test_stated_threads_are_neither_measured_nor_changed(three_threads):
    stated = Inside(2)
    with stated.during_a_run():
        assert {frozenset(stated.run("a", "a", in_force)) for _ in range(20)} == {frozenset({2})}
    assert stated.facts() == {"stated": 2, "measured": []}
    assert in_force() == {3}


def test_on_a_gpu_nothing_is_touched(three_threads):
    left = Inside(None, open=False)
    with left.during_a_run():
        assert left.run("a", "a", in_force) == {3}
