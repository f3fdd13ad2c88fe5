"""What was measured is what is chosen, and told; until then jobs are held; each result belongs to its ticket."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from netsim.core.errors import ScenarioError
from netsim.work.batching import Stacking
from netsim.work.executors.auto import WORTHWHILE_FORKED_S, WORTHWHILE_S, Auto
from netsim.work.executors.inline import Inline
from netsim.work.executors.pooled import PooledOptions
from netsim.work.job import Stack, TrainingJob
from netsim.work.measurement import Measurement
from netsim.work.operator_threads import Inside


def double(x, seen):
    seen.append(1)
    return 2 * x


def doubles(inputs):
    inputs[0]["seen"].append(len(inputs))
    return [2 * each["x"] for each in inputs]


def nap(x, alone_s, together_s):
    time.sleep(alone_s)
    return x


def nap_together(inputs):
    time.sleep(inputs[0]["together_s"] * len(inputs))
    return [each["x"] for each in inputs]


def fail(x):
    raise ValueError("no such luck")


def jobs(count, seen=None, key="double", first=0, steps=1):
    """Jobs of one kind, and a list of how many were done at a time."""
    seen = [] if seen is None else seen
    stack = Stack(key, doubles, label=key, steps=steps)
    return [TrainingJob(double, {"x": x, "seen": seen}, stack=stack) for x in range(first, first + count)]


def results(executor, tickets):
    found = {}
    while missing := [ticket for ticket in tickets if ticket not in found]:
        found |= executor.finish(missing)
    return [found[ticket] for ticket in tickets]


def did(executor, work):
    return results(executor, [executor.submit(job) for job in work])


def chosen(executor):
    return [row["chosen"] for row in executor.facts()["stacking"]["measured"]]


class Tape(Inline):
    """A way of running jobs whose duration is given, by a clock that nothing else moves."""

    def __init__(self, name, clock, seconds_per_job):
        super().__init__()
        self.name, self.clock, self.seconds_per_job = name, clock, seconds_per_job
        self.ran = 0
        self.closed = False

    def _run(self, wanted):
        super()._run(wanted)
        self.ran += 1
        self.clock[0] += self.seconds_per_job

    def close(self):
        self.closed = True


@pytest.fixture
def timed(monkeypatch):
    """Makes an Auto whose ways take the stated seconds a job."""
    clock = [0.0]
    monkeypatch.setattr("netsim.work.measurement.time.perf_counter", lambda: clock[0])

    def make(mode="auto", torch_device="cpu", expected_jobs=0, inside=None, **seconds):
        auto = Auto(PooledOptions(workers=2), Stacking(mode))
        auto.tapes = {}

        def way(name):
            def open_it():
                auto.tapes[name] = Tape(name, clock, seconds.get(name, 9.0))
                return auto.tapes[name]

            return open_it

        auto._make = {name: way(name) for name in auto._make}
        auto.inside = inside or Inside(1)
        auto.prepare(torch_device, expected_jobs)
        return auto

    return make


@pytest.mark.parametrize(
    ("seconds", "way"),
    [
        ({"loop": 1.0, "stacked": 0.5, "threads": 0.7}, "stacked"),
        ({"loop": 1.0, "stacked": 0.7, "threads": 0.5}, "threads"),
        ({"loop": 1.0, "stacked": 2.0, "threads": 3.0}, "loop"),
        ({"loop": 1.0, "stacked": 0.96, "threads": 0.97}, "loop"),  # not clearly faster
        ({"loop": 1.0, "stacked": 0.94, "threads": 0.97}, "stacked"),
    ],
)
def test_the_fastest_way_is_chosen_and_told(timed, seconds, way):
    auto = timed(**seconds)
    assert did(auto, jobs(6)) == [0, 2, 4, 6, 8, 10]
    (row,) = auto.facts()["stacking"]["measured"]
    assert row["chosen"] == way and row["label"] == "double" and row["jobs"] == 6
    assert row["seconds_per_job"] == pytest.approx(seconds)
    assert auto.facts()["stacking"]["mode"] == "auto"
    before = {name: tape.ran for name, tape in auto.tapes.items()}
    assert did(auto, jobs(5)) == [0, 2, 4, 6, 8]
    assert {name: tape.ran - before[name] for name, tape in auto.tapes.items()} == {
        name: 5 if name == way else 0 for name in before
    }
    auto.close()
    assert all(tape.closed for tape in auto.tapes.values())


def measured(executor):
    return [(row["label"], row["jobs"]) for row in executor.facts()["stacking"]["measured"]]


def test_what_one_function_stacks_is_measured_once_and_together(timed):
    auto = timed(loop=1.0, stacked=0.5, threads=2.0)
    did(auto, jobs(4) + jobs(2, key="other"))
    for _ in range(2):
        assert did(auto, jobs(3) + jobs(5, key="another")) == [0, 2, 4, 0, 2, 4, 6, 8]
    assert measured(auto) == [("double, other", 6)]
    naps = [TrainingJob(nap, {"x": x, "alone_s": 0, "together_s": 0}, stack=Stack("nap", nap_together, label="nap"))
            for x in range(3)]  # fmt: skip
    assert did(auto, naps) == [0, 1, 2]
    assert measured(auto) == [("double, other", 6), ("nap", 3)]


def test_jobs_that_are_all_of_different_kinds_share_workers(timed):
    auto = timed(loop=1.0, stacked=0.1, threads=0.5)
    did(auto, [job for key in "abcd" for job in jobs(1, key=key)])
    assert chosen(auto) == ["threads"] and auto.tapes["threads"].ran == 12  # cold, timed and real
    assert "stacked" not in auto.facts()["stacking"]["measured"][0]["seconds_per_job"]


def test_kinds_that_cannot_be_stacked_have_a_way_of_their_own(timed):
    """Their function is that of others that can; a kind of one job joins no stack."""
    auto = timed(loop=1.0, stacked=0.5, threads=0.7)

    def odd(count):
        stack = Stack("odd", doubles, label="odd", obstacle=lambda inputs: "they are odd")
        return [TrainingJob(double, {"x": x, "seen": []}, stack=stack) for x in range(count)]

    for _ in range(2):
        did(auto, jobs(4) + odd(3) + jobs(1, key="rare"))
    assert chosen(auto) == ["stacked", "threads"] and measured(auto) == [("double, rare", 5), ("odd", 3)]
    assert auto.tapes["alone"].ran == 2


@pytest.mark.parametrize(
    ("threads", "inside", "way"),
    [(0.5, 1, "threads"), (0.5, 2, "alone"), (0.5, None, "alone"), (2.0, 1, "alone")],
)
def test_jobs_without_a_stack_go_to_workers_if_one_thread_inside_is_enough(timed, threads, inside, way):
    auto = timed(loop=1.0, stacked=2.0, threads=threads)
    did(auto, jobs(4))
    auto.inside.best_for = {("double", False): inside}.get
    before = {name: tape.ran for name, tape in auto.tapes.items()}
    did(auto, [TrainingJob(double, {"x": x, "seen": []}) for x in range(3)])
    assert auto.tapes[way].ran == before.get(way, 0) + 3


def test_jobs_without_a_stack_go_to_workers_that_are_busy(timed):
    """Beside busy workers it cannot be found out whether threads inside operators are a gain."""
    auto = timed(loop=1.0, stacked=2.0, threads=0.5)
    did(auto, jobs(4))
    before = auto.tapes["threads"].ran
    busy = [auto.submit(job) for job in jobs(4)]
    did(auto, [TrainingJob(double, {"x": x, "seen": []}) for x in range(3)])
    results(auto, busy)
    assert auto.tapes["threads"].ran == before + 7 and "alone" not in auto.tapes


def test_finding_out_takes_a_small_part_of_the_run(timed):
    """Ways that lie close together are tried again, and again: in a long run, not in a short one."""
    for expected, trials in ((10, 1), (10**6, 4)):
        auto = timed(loop=1.0, stacked=0.93, threads=0.92, expected_jobs=expected, processes=9.0)
        did(auto, jobs(4))
        assert auto.tapes["loop"].ran == 4 * (1 + trials)


def test_a_way_that_stalls_is_tried_once(timed):
    auto = timed(loop=1.0, stacked=11.0, threads=0.5)
    did(auto, jobs(4))
    assert chosen(auto) == ["threads"] and auto.tapes["stacked"].ran <= 4


@pytest.mark.parametrize(("forks", "cost_s"), [(False, WORTHWHILE_S), (True, WORTHWHILE_FORKED_S)])
def test_processes_are_tried_only_where_they_could_save_more_than_they_cost(
    timed, monkeypatch, forks, cost_s
):
    """Two workers could take 0.5 s a job, 0.2 s less than threads do. To fork them is cheaper than to start them."""
    monkeypatch.setattr("netsim.work.executors.auto.can_fork_now", lambda: forks)
    times = {"loop": 1.0, "stacked": 2.0, "threads": 0.7, "processes": 0.25}
    short = timed(expected_jobs=round(cost_s / 0.2) - 1, **times)
    did(short, jobs(4))
    assert chosen(short) == ["threads"] and "processes" not in short.tapes
    long = timed(expected_jobs=round(cost_s / 0.2) + 1, **times)
    did(long, jobs(4))
    assert chosen(long) == ["processes"]
    tried = long.facts()["stacking"]["measured"][0]["seconds_per_job"]
    assert tried == pytest.approx(times)


def test_processes_are_not_tried_where_threads_keep_all_cores_busy(timed):
    auto = timed(loop=1.0, stacked=2.0, threads=0.5, processes=0.25, expected_jobs=10**6)
    did(auto, jobs(4))
    assert chosen(auto) == ["threads"] and "processes" not in auto.tapes


def test_a_run_is_as_long_as_its_whole_jobs(timed):
    """Ten jobs that could gain 0.2 s a step gain 2 s with one step each, and 20 s with ten."""
    times = {"loop": 1.0, "stacked": 2.0, "threads": 0.7, "processes": 0.25}
    for steps, way in ((1, "threads"), (10, "processes")):
        auto = timed(expected_jobs=10, **times)
        did(auto, jobs(4, steps=steps))
        assert chosen(auto) == [way]


def test_stacks_are_tried_in_worker_processes_too(timed):
    times = {"loop": 1.0, "stacked": 0.4, "threads": 0.6, "stacked in processes": 0.2}
    auto = timed(expected_jobs=10**6, **times)
    assert not auto.works_elsewhere
    did(auto, jobs(4))
    assert chosen(auto) == ["stacked in processes"] and auto.works_elsewhere and not auto.works_ahead
    assert auto.facts()["stacking"]["measured"][0]["seconds_per_job"] == pytest.approx(times)


class Two(Inside):
    """One or two threads, by which nothing changes but what is recorded."""

    numbers = (1, 2)
    now = 1

    def _set(self, *number):
        self.now = number[0]


def test_all_threads_are_a_way_like_any_other(timed):
    seconds = {"loop": 1.0, "stacked": 0.9, "threads": 0.6}
    for many, way in ((0.5, "stacked with all threads"), (0.7, "threads")):
        auto = timed(
            inside=Two(), **seconds, **{"loop with all threads": 0.8, "stacked with all threads": many}
        )
        did(auto, jobs(4))
        assert chosen(auto) == [way]
        assert len(auto.facts()["stacking"]["measured"][0]["seconds_per_job"]) == 5


@pytest.mark.parametrize(("way", "threads"), [("loop", 1), ("stacked", 1), ("loop with all threads", 2)])
def test_a_way_has_as_many_threads_inside_as_it_says(way, threads):
    auto, inside, seen = Auto(None, Stacking("off")), Two(), []
    auto.inside = inside
    did(auto._child(way), [TrainingJob(lambda: seen.append(inside.now), {})])
    assert seen == [threads] and inside.now == 1


@pytest.mark.parametrize("inside", [Two(), None])
def test_what_workers_do_is_what_is_faster_with_one_thread_inside(timed, inside):
    """Stacks gain by two threads here, and lose with one."""
    times = {"loop": 1.0, "stacked": 1.2, "stacked with all threads": 0.6, "threads": 0.8}
    auto = timed(inside=inside, expected_jobs=10**6, processes=0.5, **times, **{"stacked in processes": 0.55})
    did(auto, jobs(4))
    assert chosen(auto) == ["processes"]
    assert "stacked in processes" not in auto.tapes


def test_stated_threads_are_not_those_of_workers(timed):
    """With the two threads that are stated stacks gain; in workers, with one, they would lose."""

    class Stated(Two):
        @property
        def numbers(self):
            return (1,) if self._limited else (2,)

    class Stacks(Tape):
        def _run(self, wanted):
            self.seconds_per_job = 0.6 if inside.now == 2 else 1.2
            super()._run(wanted)

    inside = Stated()
    inside.now = 2
    auto = timed(inside=inside, expected_jobs=10**6, loop=1.0, threads=0.8, processes=0.5)
    clock = auto._make["loop"]().clock
    auto._make["stacked"] = lambda: Stacks("stacked", clock, 0.6)
    did(auto, jobs(4))
    assert chosen(auto) == ["processes"] and inside.now == 2


def test_workers_that_are_not_faster_are_let_go(timed):
    times = {"loop": 1.0, "stacked": 2.0, "threads": 0.6, "processes": 0.7}
    auto = timed(expected_jobs=10**6, **times)
    did(auto, jobs(4))
    assert chosen(auto) == ["threads"] and auto.tapes["processes"].closed
    assert auto.facts()["stacking"]["measured"][0]["seconds_per_job"] == pytest.approx(times)


@pytest.mark.parametrize(
    ("mode", "way"), [("on", "stacked in processes"), ("off", "processes"), ("auto", "stacked in processes")]
)
def test_what_the_scenario_says_of_stacks_holds_in_processes(timed, mode, way):
    auto = timed(
        mode, expected_jobs=10**6, loop=1.0, stacked=0.8, **{"processes": 0.2, "stacked in processes": 0.1}
    )
    did(auto, jobs(4))
    assert chosen(auto) == [way]


@pytest.mark.parametrize(("stacked", "way"), [(0.5, "stacked"), (2.0, "loop")])
def test_on_a_gpu_there_are_no_threads_and_no_processes(timed, stacked, way):
    auto = timed(torch_device="cuda:0", expected_jobs=10**6, loop=1.0, stacked=stacked)
    did(auto, jobs(4))
    assert chosen(auto) == [way]
    assert set(auto.tapes) == {"loop", "stacked"}
    assert set(auto.facts()["stacking"]["measured"][0]["seconds_per_job"]) == {"loop", "stacked"}


def test_jobs_are_held_until_one_is_asked_for(timed):
    auto = timed(loop=1.0, stacked=0.5, threads=2.0)
    tickets = [auto.submit(job) for job in jobs(4)]
    assert auto.tapes == {} and chosen(auto) == []
    assert auto.finish([]) == {}
    assert auto.tapes == {} and chosen(auto) == []
    assert results(auto, [tickets[3]]) == [6]
    assert auto.facts()["stacking"]["measured"][0]["jobs"] == 4  # with it, all that were there
    assert results(auto, tickets[:3]) == [0, 2, 4]


def test_a_single_job_is_run_alone_and_decides_nothing(timed):
    auto = timed(loop=1.0, stacked=0.5, threads=0.1)
    assert did(auto, jobs(1)) == [0]
    assert set(auto.tapes) == {"alone"} and chosen(auto) == []
    did(auto, jobs(4))
    assert chosen(auto) == ["threads"]


def test_jobs_that_cannot_be_stacked_run_alone():
    seen = []
    auto = Auto(None, Stacking("on"))
    auto.prepare("cpu", 10)
    assert did(auto, [TrainingJob(double, {"x": x, "seen": seen}) for x in range(3)]) == [0, 2, 4]
    assert list(auto._children) == ["alone"] and seen == [1, 1, 1] and chosen(auto) == []


@pytest.mark.parametrize("torch_device", ["cpu", "cuda:0"])
def test_off_never_stacks(torch_device):
    seen = []
    auto = Auto(PooledOptions(workers=2), Stacking("off"))
    auto.prepare(torch_device, 10)
    for _ in range(2):
        assert did(auto, jobs(4, seen)) == [0, 2, 4, 6]
    auto.close()
    assert set(seen) == {1} and "stacked" not in auto._children
    assert auto.facts()["stacking"]["mode"] == "off"


@pytest.mark.parametrize("torch_device", ["cpu", "cuda:0"])
def test_on_always_stacks_where_there_are_several_jobs(torch_device):
    seen = []
    auto = Auto(None, Stacking("on"))
    auto.prepare(torch_device, 10)
    assert did(auto, jobs(4, seen)) == [0, 2, 4, 6] and set(seen) == {4}
    before = len(seen)
    assert did(auto, jobs(3, seen)) == [0, 2, 4] and seen[before:] == [3]
    assert did(auto, jobs(1, seen)) == [0] and seen[before:] == [3, 1]
    assert set(chosen(auto)) <= {"stacked"} and set(auto._children) <= {"stacked", "alone"}
    assert auto.jobs_done == 8


def test_stacks_are_split_as_memory_allows():
    seen = []
    auto = Auto(None, Stacking("on", limit_bytes=250))
    work = [
        TrainingJob(job.function, job.inputs, stack=Stack("big", doubles, row_bytes=100))
        for job in jobs(6, seen)
    ]
    assert did(auto, work) == [0, 2, 4, 6, 8, 10]
    assert set(seen) == {2}


@pytest.mark.parametrize(("alone_s", "together_s", "ways"), [(4e-3, 4e-4, {"stacked"}), (1e-3, 8e-3, None)])
def test_what_a_real_clock_says(alone_s, together_s, ways):
    """Six naps: in a stack a tenth of the time; or in a stack eight times longer."""
    auto = Auto(PooledOptions(workers=2), Stacking("auto"))
    auto.prepare("cpu", 6)
    stack = Stack("nap", nap_together, label="nap")
    inputs = {"alone_s": alone_s, "together_s": together_s}
    assert did(auto, [TrainingJob(nap, {"x": x, **inputs}, stack=stack) for x in range(6)]) == list(range(6))
    auto.close()
    (way,) = chosen(auto)
    assert way in (ways or {"loop", "threads"})
    assert auto.work_wall_s > 0


def test_results_belong_to_their_tickets(timed):
    """Kinds that go different ways, and some with none, asked for in any order."""
    auto = timed(loop=1.0, stacked=0.5, threads=2.0)
    did(auto, jobs(2))
    slow, unknown = jobs(3, first=10), jobs(3, first=20)
    for work, function in ((slow, lambda inputs: doubles(inputs)), (unknown, lambda inputs: doubles(inputs))):
        work[:] = [replace(job, stack=Stack(function, function)) for job in work]
    auto.stacking.obstacle(slow)
    auto._known[auto._family(slow[0].stack)] = Measurement("slow together", 3, {}, "threads")
    work = jobs(3) + slow + unknown
    work += [TrainingJob(double, {"x": x, "seen": []}) for x in range(30, 33)]
    tickets = {auto.submit(job): 2 * job.inputs["x"] for job in work}
    assert len(tickets) == 12
    order = sorted(tickets, key=lambda ticket: (7 * ticket) % 12)
    found = {}
    while len(found) < 12:
        some = [ticket for ticket in order if ticket not in found][:4]
        new = auto.finish(some)
        assert new and set(new) <= set(some)
        found |= new
    assert found == tickets


def test_without_waiting_only_what_is_done_is_given(timed):
    auto = timed(loop=1.0, stacked=0.5, threads=2.0)
    did(auto, jobs(2))
    tickets = [auto.submit(job) for job in jobs(2)]
    assert auto.finish(tickets, wait=False) == {}
    assert results(auto, tickets) == [0, 2]


def test_a_discarded_job_is_neither_measured_nor_run():
    seen, gone = [], []
    auto = Auto(None, Stacking("on"))
    auto.prepare("cuda:0", 10)
    kept = [auto.submit(job) for job in jobs(2, seen)]
    held = auto.submit(jobs(1, gone)[0])
    plain = auto.submit(TrainingJob(double, {"x": 1, "seen": gone}))
    failing = auto.submit(TrainingJob(fail, {"x": 1}))
    for ticket in (held, plain, failing):
        auto.discard(ticket)
    assert results(auto, kept) == [0, 2]
    assert seen == [2] and gone == []


def test_a_job_is_discarded_where_it_was_passed_on_to(timed):
    auto = timed(loop=1.0, stacked=0.5, threads=2.0)
    did(auto, jobs(2))
    first, second = (auto.submit(job) for job in jobs(2))
    auto.discard(first)
    assert len(auto.tapes["stacked"]._pending) == 1
    assert results(auto, [second]) == [2]


def test_an_error_is_raised_where_the_result_is_asked_for():
    auto = Auto(None, Stacking("off"))
    auto.prepare("cuda:0", 10)
    tickets = [
        auto.submit(TrainingJob(fail, {"x": 1})),
        auto.submit(TrainingJob(double, {"x": 1, "seen": []})),
    ]
    assert results(auto, tickets[1:]) == [2]
    with pytest.raises(ScenarioError, match=r"test_auto\.py, line \d+: ValueError: no such luck"):
        auto.finish(tickets[:1])


def test_once_threads_are_chosen_it_works_ahead(timed):
    """Also while no job is pending: the next one is to be handed to a thread at once."""
    auto = timed(loop=1.0, stacked=2.0, threads=0.5)
    assert not auto.works_ahead
    auto._child("threads").workers = 3
    did(auto, jobs(2))
    assert chosen(auto) == ["threads"] and auto.works_ahead and auto.workers == 3


def test_measuring_does_not_count_as_work(timed):
    auto = timed(loop=1.0, stacked=0.5, threads=2.0)
    did(auto, jobs(4))
    assert auto.jobs_done == 4
    assert auto.work_wall_s == pytest.approx(4 * 0.5)


@pytest.mark.parametrize("end", ["discard", "finish"])
def test_a_ticket_that_is_gone_is_no_error(end):
    auto = Auto(None, Stacking("on"))
    ticket = auto.submit(TrainingJob(double, {"x": 1, "seen": []}))
    auto.discard(ticket) if end == "discard" else auto.finish([ticket])
    assert auto.finish([ticket], wait=False) == {}
