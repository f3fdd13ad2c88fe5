"""The same is learnt and recorded with the learning in a process of its own; nothing that it has done is lost."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import signal
import time
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from rich.console import Console

from netsim.app.progress import JsonLines
from netsim.core.errors import ScenarioError
from netsim.core.interrupts import Interrupted, heard
from netsim.core.options import Options
from netsim.events import Observer, RoundRow
from netsim.learner import Cost, Learner, Message, Metric, Report, Step
from netsim.records.totals import Totals
from netsim.work import forking
from netsim.work.executors.forked import Forked
from netsim.work.forked import graph, process, trial
from netsim.work.forked.graph import ForkableGraph
from netsim.work.future import Shared
from netsim.work.job import Stack

PRIME = 1_000_003
SHARED = "the very same everywhere"


def step(value, device, round, fails, shared):
    assert shared == SHARED
    if (device, round) == (1, fails):
        raise ValueError("no such luck")
    if (device, -round) == (1, fails) and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return (31 * value + 7 * device + round) % PRIME


def steps(jobs):
    return [step(**job) for job in jobs]


def same(value):
    return value


def combined(inputs):
    """Light work: who hears whom matters, and in which order."""
    found = []
    for one in inputs:
        value = one["value"]
        for k, sent in one["arrived"].items():
            value = (13 * value + k * sent) % PRIME
        found.append({"state": value, "metrics": [Metric("combined", value)]})
    return found


def reported(inputs):
    return [[Metric(one["name"], one["value"])] * one["times"] for one in inputs]


class Gossip(Learner):
    """Whole numbers by gossip, so that any order or company that mattered would show."""

    class Options(Options):
        """How to go wrong: in round ``fails`` by an error, in round -``fails`` by dying; and how much to say."""

        fails: int = 0
        talk: int = 1

    METRICS: ClassVar = {"trained": "", "combined": "", "evaluated": ""}
    SUITS = frozenset({"decentralized", "server", "asynchronous", "hierarchical"})

    def __init__(self, setup):
        super().__init__(setup)
        self.shared = Shared(SHARED)
        self.stack = Stack("step", steps)

    def first(self, work, node):
        return Step(1, 1)

    def cost(self, node, round, peers, budget, plan):
        iterations = {f"m{i}": 1 for i in range(self.setup.options.talk)}
        return Cost(iterations, {"all": 1e9 * (1 + (node + round) % 3)})

    def messages(self, node, round, receivers, together=False):
        return [Message((k,), 1e6) for k in receivers]

    def train(self, work, node, round, state, cost):
        options = self.setup.options
        inputs = {
            "value": state,
            "device": node,
            "round": round,
            "fails": options.fails,
            "shared": self.shared,
        }
        trained = work.do(step, inputs, round, self.stack)
        told = {"name": "trained", "value": trained, "times": options.talk}
        return Step(trained, trained, work.together(reported, told, round))

    def aggregate(self, work, node, round, state, arrived):
        done = work.together(combined, {"value": state, "arrived": dict(arrived)}, round)
        return Step(done["state"], done["state"], done["metrics"])

    def merge(self, work, node, round, state, arrived, devices):
        return self.aggregate(work, node, round, state, {**arrived, 1000: sum(map(sum, devices.values()))})

    def evaluate(self, work, node, round, state):
        found = work.do(same, {"value": state}, round)
        return work.together(reported, {"name": "evaluated", "value": found, "times": 1}, round)


class Waiting(Gossip):
    """Asks for what was learnt before it goes on."""

    def cost(self, node, round, peers, budget, plan):
        return Cost({}, {"all": 1e9 * (1 + (plan or 0) % 3)})

    coordinated = True

    def report(self, work, device, round, state, budget):
        return Report(1e3, state)

    def decide(self, work, head, round, reports):
        values = work.value(dict(reports))
        return {k: Report(1e3, value) for k, value in values.items()}, [
            Metric("combined", sum(values.values()))
        ]


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    """Nothing here trains by PyTorch, so its GPUs are not in the way."""
    monkeypatch.setattr(forking, "sees_gpu", lambda: False)


LEARNER = {"name": "test_forked:Gossip"}
WORLDS: dict[str, dict[str, Any]] = {
    "unlimited power": {},
    "batteries run out": {"devices": {"count": 3, "battery": {"capacity_j": 0.7}}},
    "a deadline cuts off": {"protocol": {"name": "decentralized_rounds", "deadline_s": 0.5}},
    "the clock waits": {"jobs": {"max_pending": 0}},
    "the head decides": {"learner": {"name": "test_forked:Waiting"}},
    "a server": {"protocol": {"name": "server_rounds", "participants": 2}},
    "a server that waits for nobody": {"protocol": {"name": "asynchronous_server", "buffer": 2}},
    "much is said": {"learner": {**LEARNER, "talk": 20_000}, "rounds": 3},
}


def copies():
    """Forked processes that have not ended."""
    return [
        one
        for one in multiprocessing.active_children()
        if isinstance(one, multiprocessing.context.ForkProcess)
    ]


def told(log):
    rows = log.rounds, log.transfers, log.metrics, log.deaths, log.closed, log.server, log.edges
    return [[*map(repr, table)] for table in rows]  # what is not a number is like itself


@pytest.mark.parametrize("world", WORLDS)
def test_the_same_is_learnt_and_recorded(simulate, world):
    blocks = {"rounds": 7, "learner": LEARNER, **WORLDS[world]}
    jobs = {"stacking": "on", **blocks.pop("jobs", {})}
    here, log = simulate(**blocks, jobs={**jobs, "executor": "inline"})
    there, same = simulate(**blocks, jobs={**jobs, "executor": "forked"})
    outcomes = {row.outcome for row in log.rounds}
    assert outcomes == {
        "batteries run out": {"finished", "died"},
        "a deadline cuts off": {"finished", "cut_off"},
        "a server": {"finished", "idle"},
    }.get(world, {"finished"})
    assert told(same) == told(log)
    assert there.states == here.states
    assert set(here.states) >= {0, 1, 2}
    assert there.executor.jobs_done == here.executor.jobs_done
    assert there.execution["forked"] == {"after_round": 0}
    assert copies() == []


def test_what_scripts_see_of_a_round_is_what_had_happened_by_its_end(simulate):
    """Whoever does the work, and however far the clock is by now."""
    seen: dict[str, list[dict[str, Any]]] = {}
    for executor in ("inline", "forked"):
        file = io.StringIO()
        totals = Totals(3)
        lines = JsonLines(Console(file=file, soft_wrap=True), totals)
        blocks = {**WORLDS["batteries run out"], "jobs": {"executor": executor}}
        log = run_watched(simulate, totals, lines, rounds=7, learner=LEARNER, **blocks)
        seen[executor] = [json.loads(line) for line in file.getvalue().splitlines()]
        for said in seen[executor]:
            del said["wall_s"]
            ended = [row for row in log.rounds if row.end_s <= said["simulated_s"]]
            spent_j = sum(r.compute_j + r.sending_j + r.receiving_j + r.idle_j for r in ended)
            assert said["mean_energy_j"] == pytest.approx(spent_j / 3)
    assert seen["forked"] == seen["inline"]
    assert [said["dead"] for said in seen["inline"]] == sorted(said["dead"] for said in seen["inline"])
    assert {said["dead"] for said in seen["inline"]} >= {0, 1}


# When auto moves.


def test_auto_moves_after_a_trial_that_went_well(simulate, monkeypatch):
    _, log = simulate(rounds=9, learner=LEARNER, jobs={"executor": "inline"})
    monkeypatch.setattr(trial, "WORTHWHILE_S", -1e9)
    monkeypatch.setattr(trial, "WORTHWHILE_SHARE", -1e9)
    simulation, same = simulate(rounds=9, learner=LEARNER, jobs={"executor": "auto"})
    facts = simulation.execution["forked"]
    assert facts["after_round"] == 5
    assert min(facts["clock_s"], facts["learning_s"], facts["learning_with_one_thread_s"]) > 0
    assert told(same) == told(log)
    assert simulation.execution["stacking"]["measured"], "what was measured before is in the record"


def test_auto_stays_where_little_is_to_be_saved(simulate):
    simulation, _ = simulate(rounds=9, learner=LEARNER, jobs={"executor": "auto"})
    assert simulation.execution["forked"]["after_round"] is None


@pytest.mark.parametrize(
    ("clock_s", "learning_s", "alone_s", "rounds", "well"),
    [
        (1.0, 1.0, 1.0, 100, True),
        (1.0, 1.0, 1.9, 100, False),  # one thread is too slow
        (1.0, 1.0, 1.7, 100, True),
        (1.0, 0.05, 0.05, 1000, False),  # hardly anything could be done meanwhile
        (0.05, 1.0, 1.0, 1000, False),
        (9.0, 9.0, 9.0, 5, False),  # the trial would be all
        (9.0, 9.0, 9.0, 6, True),
        (0.01, 0.01, 0.01, 50, False),  # 0.45 s in all
        (0.01, 0.01, 0.01, 70, True),
    ],
)
def test_a_trial_compares_both_together_with_the_longer_of_both(
    monkeypatch, clock_s, learning_s, alone_s, rounds, well
):
    now, threads = [0.0], [4]

    class Limited:
        def limit(self, on=True):
            threads[0] = 1 if on else 4

    monkeypatch.setattr(trial.time, "perf_counter", lambda: now[0])
    timed, ends, used = trial.Trial(rounds, Limited()), [], []
    for round in range(1, 8):
        now[0] += 77.0 if round == 1 else clock_s
        begin_s = now[0]
        used.append(threads[0])
        now[0] += alone_s if threads[0] == 1 else learning_s
        if timed.ends_well(round, begin_s, True):
            ends.append(round)
    assert ends == [5] * well
    assert used in ([4, 4, 4, 1, 1, 4, 4], [4] * 7) and threads == [4]
    assert not well or 1 in used
    facts = timed.facts()
    assert facts["clock_s"] == pytest.approx(clock_s)
    assert facts["learning_s"] == pytest.approx(learning_s)


def test_no_trial_with_one_thread_where_the_executor_cannot_move(monkeypatch):
    class Limited:
        def limit(self, on=True):
            pytest.fail("asked for")

    monkeypatch.setattr(trial, "WORTHWHILE_S", -1e9)
    timed = trial.Trial(100, Limited())
    assert not any(timed.ends_well(round, 0.0, False) for round in range(1, 20))


# What goes wrong.


def test_an_error_over_there_is_one_here_and_what_came_before_is_told(simulate):
    logs = []

    class Watching(Observer):
        def on_round_closed(self, round, time_s):
            logs.append(round)

    with pytest.raises(ScenarioError, match=r"test_forked\.py, line \d+: ValueError: no such luck") as raised:
        run_watched(simulate, Watching(), learner={**LEARNER, "fails": 3})
    assert "In the worker" in "".join(raised.value.__cause__.__notes__)
    assert logs == [1, 2]
    assert copies() == []


def test_an_error_over_there_is_told_even_if_the_process_has_ended_since():
    work = ForkableGraph(Forked(), Observer(), 9, rounds=9, max_behind=9)
    work.begin()
    try:
        work.measure(
            1, 1, 0.0, work.do(step, {"value": 0, "device": 1, "round": 1, "fails": 1, "shared": SHARED}, 1)
        )
        work.close(1, 1.0)
        work._process._process.join(60)
        with pytest.raises(ScenarioError, match="no such luck"):
            work.close(2, 2.0)
    finally:
        work.end()


def test_a_process_that_is_killed_is_named_with_a_way_out(simulate):
    with pytest.raises(ScenarioError, match=r"jobs\.executor: .*exit code -9.*inline"):
        simulate(rounds=9, learner={**LEARNER, "fails": -3}, jobs={"executor": "forked"})


def test_an_interrupted_run_has_all_that_the_copy_was_told_to_do(simulate, monkeypatch):
    handed_over, closed = [], []
    hand_over = ForkableGraph._hand_over

    def spy(self, name, *given):
        hand_over(self, name, *given)
        if name == "close":
            handed_over.append(given[0])

    class Interrupting(Observer):
        def on_round_end(self, row: RoundRow, iterations):
            if row.round == 6:
                raise KeyboardInterrupt

        def on_round_closed(self, round, time_s):
            closed.append(round)

    monkeypatch.setattr(ForkableGraph, "_hand_over", spy)
    with pytest.raises(KeyboardInterrupt):
        run_watched(simulate, Interrupting(), learner=LEARNER)
    assert len(handed_over) >= 4
    assert closed == handed_over
    assert copies() == []


def test_an_interrupt_in_the_middle_of_the_fork_leaves_no_process(simulate, monkeypatch):
    """It waits until the process can be ended; Python would wait for that one for ever as it exits."""
    kind = multiprocessing.context.ForkProcess
    start = kind.start

    def started(self):
        start(self)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(kind, "start", started)
    with heard(), pytest.raises(Interrupted):
        simulate(rounds=9, learner=LEARNER, jobs={"executor": "forked"})
    assert copies() == []


class Measured(Observer):
    """Keeps what was measured; before it takes in the rows of ``interrupted``, it interrupts the program."""

    def __init__(self, interrupted=None):
        self.rows, self.interrupted = [], interrupted

    def on_metrics(self, rows):
        if any(row.round == self.interrupted for row in rows):
            self.interrupted = None
            os.kill(os.getpid(), signal.SIGINT)
        self.rows += rows


@pytest.mark.parametrize("at", ["an answer is read", "an answer is passed on"])
def test_an_interrupt_loses_no_answer_before_others(simulate, monkeypatch, at):
    """What an interrupted run has recorded is a beginning of what it would have, or it could not go on."""
    whole = Measured()
    run_watched(simulate, whole, learner=LEARNER)
    monkeypatch.setattr(graph, "GRACE_S", 60)
    measured = Measured(4 if at == "an answer is passed on" else None)
    if at == "an answer is read":
        count = iter(range(99))

        def loads(message):
            if next(count) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return pickle.loads(message)

        monkeypatch.setattr(process, "pickle", SimpleNamespace(loads=loads))
    with heard(), pytest.raises(Interrupted):
        run_watched(simulate, measured, learner=LEARNER)
    assert measured.rows
    assert measured.rows == whole.rows[: len(measured.rows)]


def test_an_interrupt_that_python_loses_ends_the_run_all_the_same(simulate):
    """Tasks that are forgotten here are noted by ``__del__``, where Python drops what a signal raises."""

    class Losing:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.001)

    class Dropping(Observer):
        lost: ClassVar = [Losing()]

        def on_round_end(self, row: RoundRow, iterations):
            if row.round == 4:
                self.lost.clear()

    with heard(), pytest.raises(Interrupted):
        run_watched(simulate, Dropping(), learner=LEARNER)
    assert copies() == []


def run_watched(simulate, *observers, rounds=9, jobs=None, **blocks):
    """As ``simulate``, with ``observers`` from the beginning."""
    from netsim.app.simulation import Simulation

    run = Simulation.run

    def watched(self):
        self.watch(*observers)
        run(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Simulation, "run", watched)
        _, log = simulate(rounds=rounds, jobs=jobs or {"executor": "forked"}, **blocks)
    return log


def test_no_split_where_pytorch_sees_a_gpu_or_the_system_is_another(simulate, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(ScenarioError, match="CUDA_VISIBLE_DEVICES"):
        patch.setattr(forking, "sees_gpu", lambda: True)
        simulate(learner=LEARNER, jobs={"executor": "forked"})
    monkeypatch.setattr(forking.sys, "platform", "darwin")
    with pytest.raises(ScenarioError, match="on Linux only"):
        simulate(learner=LEARNER, jobs={"executor": "forked"})
