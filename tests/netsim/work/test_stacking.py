"""Which jobs become one batch: split by memory and workers, and stacked only where that was measured to be faster."""

import time

import pytest

from netsim.core.errors import ScenarioError
from netsim.work.batching import OUTGROWN, Stacking
from netsim.work.executors.auto import Auto
from netsim.work.executors.inline import Inline
from netsim.work.executors.threads import Threads
from netsim.work.job import Stack, TrainingJob
from netsim.work.measurement import measure


def slow(x, steps, alone_s, stacked_s):
    time.sleep(steps * alone_s)
    return 2 * x, 1


def stacked_slow(inputs):
    first = inputs[0]
    time.sleep(first["steps"] * first["stacked_s"] * len(inputs))
    return [(2 * each["x"], len(inputs)) for each in inputs]


def shorten(inputs, steps):
    return {**inputs, "steps": steps}


def jobs(count, alone_s=0.0, stacked_s=0.0, row_bytes=0.0, key="slow"):
    """Jobs of ten steps that take so long alone, and so long in company."""
    stack = Stack(key, stacked_slow, shorten, row_bytes, label="slow job")
    inputs = {"steps": 10, "alone_s": alone_s, "stacked_s": stacked_s}
    return [TrainingJob(slow, {"x": x, **inputs}, stack=stack) for x in range(count)]


def lengths(parts):
    return [len(part) for part in parts]


def finished(executor, work):
    tickets = [executor.submit(job) for job in work]
    results = {}
    while len(results) < len(tickets):
        results |= executor.finish([ticket for ticket in tickets if ticket not in results])
    executor.close()
    return [results[ticket] for ticket in tickets]


def test_a_group_is_one_unit_where_memory_is_no_matter():
    assert lengths(Stacking("on").split(jobs(7))) == [7]


def test_each_worker_gets_an_even_part():
    assert lengths(Stacking("on").split(jobs(8), workers=2)) == [4, 4]
    assert sorted(lengths(Stacking("on").split(jobs(8), workers=3))) == [2, 3, 3]
    assert lengths(Stacking("on").split(jobs(2), workers=4)) == [1, 1]


def test_no_part_takes_more_memory_than_allowed():
    """Ten rows of 100 bytes, 350 bytes allowed: three rows at most, so four even parts."""
    parts = Stacking("on", limit_bytes=350).split(jobs(10, row_bytes=100))
    assert len(parts) == 4 and max(lengths(parts)) <= 3
    assert [row for part in parts for row in part] == list(range(10))


def test_a_row_that_exceeds_the_limit_is_a_part_of_its_own():
    assert lengths(Stacking("on", limit_bytes=50).split(jobs(3, row_bytes=100))) == [1, 1, 1]


def test_off_stacks_nothing():
    stacking = Stacking("off")
    assert not stacking.holds_back(jobs(1)[0])
    assert finished(Inline(None, stacking), jobs(3)) == [(0, 1), (2, 1), (4, 1)]


def test_a_job_that_cannot_be_stacked_is_not_held_back():
    assert not Stacking("on").holds_back(TrainingJob(slow, {}))


@pytest.mark.parametrize("make", [Inline, lambda *rest: Threads(Threads.Options(workers=2), *rest)])
def test_auto_stacks_what_is_faster_together(make):
    """1 ms a step alone, a tenth of it in company."""
    stacking = Stacking("auto")
    results = finished(make(None, stacking) if make is Inline else make(stacking), jobs(6, 1e-3, 1e-4))
    assert [value for value, _ in results] == [0, 2, 4, 6, 8, 10]
    assert {together for _, together in results} <= {3, 6}
    (measured,) = stacking.facts()["measured"]
    assert measured["chosen"] == "stacked" and measured["label"] == "slow job" and measured["jobs"] == 6
    assert measured["seconds_per_job"]["stacked"] < measured["seconds_per_job"]["loop"]


def test_auto_prefers_the_loop_where_stacking_is_slower():
    stacking = Stacking("auto")
    assert {together for _, together in finished(Inline(None, stacking), jobs(4, 1e-3, 3e-3))} == {1}
    assert stacking.facts()["measured"][0]["chosen"] == "loop"


@pytest.mark.parametrize("share, chosen", [(1.5, "loop"), (0.96, "loop"), (0.94, "stacked")])
def test_stacking_must_be_clearly_faster(monkeypatch, share, chosen):
    """By a clock that only the two ways move: the loop takes 1 s a job, the stack a share of it."""
    now = [0.0]

    def taking(seconds):
        def run(work):
            now[0] += seconds * len(work)

        return run

    monkeypatch.setattr("netsim.work.measurement.time.perf_counter", lambda: now[0])
    measured = measure({"loop": taking(1.0), "stacked": taking(share)}, jobs(8))
    assert measured.chosen == chosen
    assert measured.seconds_per_job == pytest.approx({"loop": 1.0, "stacked": share})


def test_a_hopeless_way_is_tried_once_more_and_left(monkeypatch):
    """Warming up (the loop twice), then a turn of 2, 1 and 20 ms a job; the third is not asked again, others are."""
    now, asked = [0.0], []

    def taking(name, seconds):
        def run(work):
            asked.append(name)
            now[0] += seconds * len(work)

        return run

    monkeypatch.setattr("netsim.work.measurement.time.perf_counter", lambda: now[0])
    ways = {
        "loop": taking("loop", 0.002),
        "stacked": taking("stacked", 0.001),
        "threads": taking("threads", 0.02),
    }
    measured = measure(ways, jobs(2))
    assert measured.chosen == "stacked"
    assert {name: asked.count(name) for name in ways} == {"loop": 5, "stacked": 4, "threads": 2}


@pytest.mark.parametrize(
    ("second", "chosen"),
    [([0.9, 1.2] * 3, "threads"), ([0.5, *[0.97] * 5], "threads"), ([0.9] * 6, "processes")],
)
def test_ways_that_lie_close_count_with_the_median_of_six_tries_whatever_starting_took(
    monkeypatch, second, chosen
):
    """The second way takes 7 s to start, which is no part of what it takes from then on."""
    now, tries = [0.0], iter([7.0, *second])
    asked = []

    def threads(work):
        asked.append("threads")
        now[0] += 0.01 * len(work)

    def processes(work):
        asked.append("processes")
        now[0] += 0.01 * next(tries) * len(work)

    monkeypatch.setattr("netsim.work.measurement.time.perf_counter", lambda: now[0])
    measured = measure({"threads": threads, "processes": processes}, jobs(2))
    assert measured.chosen == chosen
    assert asked.count("processes") == 7


def test_once_the_loop_was_chosen_jobs_are_no_longer_held_back():
    stacking = Stacking("auto")
    work = jobs(4, 1e-3, 3e-3)
    assert stacking.holds_back(work[0])
    finished(Inline(None, stacking), work)
    assert not stacking.holds_back(work[0])


def test_a_kind_is_measured_once_unless_its_group_grows_much():
    stacking = Stacking("auto")
    for count in (2, 3, 2, 2 * OUTGROWN):
        finished(Inline(None, stacking), jobs(count, 1e-3, 1e-4))
    finished(Inline(None, stacking), jobs(2, 1e-3, 1e-4, key="another kind"))
    assert [row["jobs"] for row in stacking.facts()["measured"]] == [2, 2 * OUTGROWN, 2]


def test_what_was_measured_is_in_the_executors_facts():
    executor = Inline(None, Stacking("auto"))
    finished(executor, jobs(2, 1e-3, 1e-4))
    assert executor.facts()["stacking"]["mode"] == "auto"
    assert len(executor.facts()["stacking"]["measured"]) == 1


def cannot(inputs):
    raise RuntimeError("no such operator. There is more to read about it")


def reason(inputs):
    assert len(inputs) == 2
    return "it says so"


def odd_jobs(function, obstacle=None, label="odd job"):
    stack = Stack(label, function, shorten, label=label, obstacle=obstacle)
    inputs = {"steps": 1, "alone_s": 0.001, "stacked_s": 0.0}
    return [TrainingJob(slow, {"x": x, **inputs}, stack=stack) for x in range(4)]


@pytest.mark.parametrize("make", [Inline, Auto, lambda _, stacking: Threads(None, stacking, 2)])
def test_a_way_that_fails_is_dropped_and_the_loop_does_the_work(make):
    executor = make(None, Stacking("auto"))
    assert finished(executor, odd_jobs(cannot)) == [(2 * x, 1) for x in range(4)]
    (row,) = executor.facts()["stacking"]["measured"]
    assert row["chosen"] != "stacked" and "stacked" not in row["seconds_per_job"]
    assert row["failed"] == {"stacked": "RuntimeError: no such operator"}


def test_an_error_of_the_loop_is_nobody_elses_fault():
    with pytest.raises(RuntimeError, match="no such operator"):
        measure({"loop": cannot, "stacked": lambda jobs: None}, jobs(2))


@pytest.mark.parametrize("make", [Inline, Auto, lambda _, stacking: Threads(None, stacking, 2)])
def test_what_cannot_be_stacked_never_is_and_is_told(make):
    executor = make(None, Stacking("auto"))
    assert finished(executor, odd_jobs(cannot, reason)) == [(2 * x, 1) for x in range(4)]
    assert executor.facts()["stacking"]["obstacles"] == [{"label": "odd job", "reason": "it says so"}]
    assert all("stacked" not in row["seconds_per_job"] for row in executor.facts()["stacking"]["measured"])


@pytest.mark.parametrize("make", [Inline, Auto, lambda _, stacking: Threads(None, stacking, 2)])
def test_what_cannot_be_stacked_and_should_be_is_one_line(make):
    with pytest.raises(
        ScenarioError, match=r"^jobs\.stacking: odd job cannot be stacked: it says so; use auto"
    ):
        finished(make(None, Stacking("on")), odd_jobs(cannot, reason))
