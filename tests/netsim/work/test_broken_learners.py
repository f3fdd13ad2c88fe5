"""A learner of a user's own that breaks its contract ends a run with one line that says whose answer, and when."""

from __future__ import annotations

import sys
import threading
from typing import ClassVar

import pytest

from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.learner import Cost, Learner, Message, Metric, Report, Step
from netsim.work import forking
from netsim.work.executors.remote import Receiver, Sender, results
from netsim.work.job import TrainingJob


def add(value, n):
    return value + n


def fail(value, n, device):
    raise KeyError("no such luck")


def leave(value, n):
    sys.exit(3)


def lock(value, n):
    return threading.Lock()


def add_all(inputs):
    return [one["value"] + sum(one["arrived"].values()) for one in inputs]


def too_few(inputs):
    return []


def error_of(value):
    return [Metric("error", float(value))]


def undeclared(value):
    return [Metric("mistake", float(value))]


def no_metrics(value):
    return 3.0


class Broken(Learner):
    """Answers in the wrong way where ``where`` says."""

    class Options(Options):
        """Where, and what it answers there."""

        where: str = ""

    METRICS: ClassVar = {"error": "the state"}
    SUITS = frozenset({"decentralized", "server"})

    WRONG: ClassVar = {
        "first": None,
        "cost": Cost({}, {"all": float("nan")}),
        "train": None,
        "aggregate": None,
        "report": None,
        "decide": None,
    }

    def __init__(self, setup):
        super().__init__(setup)
        self.where = setup.options.where
        self.coordinated = self.where in ("report", "decide")
        if self.where == "init":
            raise ValueError("no such luck")

    def owners(self):
        return {
            "owners, no mapping": [0, 1],
            "owners, by device": {0: {"image"}},
            "owners, a stranger": {"image": frozenset({0, 7})},
        }.get(self.where, {"image": frozenset({0, 1, 2})})

    def _answer(self, method, right):
        return self.WRONG[method] if self.where == method else right

    def first(self, work, node):
        return self._answer("first", Step(0.0, 0.0))

    def cost(self, node, round, peers, budget, plan):
        if self.where == "cost raises" and (node, round) == (1, 2):
            raise ValueError("no such luck")
        return self._answer("cost", Cost({}, {"all": 1e8}))

    def messages(self, node, round, receivers, together=False):
        one = Message(tuple(receivers), 1e5)
        return {
            "a stranger": [Message((99,), 1e5)],
            "twice": [one, one],
            "negative": [Message(tuple(receivers), -1.0)],
            "no list": one,
            "no download": [] if node == self.setup.server else [one],
        }.get(self.where, [one])

    def train(self, work, node, round, state, cost):
        function = {
            "lambda": lambda value, n: value + n,
            "method": self.cost,
            "task raises": fail,
            "task exits": leave,
        }.get(self.where, add)
        inputs = {"value": state, "n": threading.Lock() if self.where == "lock" else 1}
        inputs |= {"task raises": {"device": node}, "unknown input": {"m": 1}}.get(self.where, {})
        done = work.do(function, inputs, round)
        if self.where == "field":
            done = done["weights"]
        return self._answer("train", Step(done, done))

    def aggregate(self, work, node, round, state, arrived):
        function = too_few if self.where == "too few" else add_all
        done = work.together(function, {"value": state, "arrived": dict(arrived)}, round)
        return self._answer("aggregate", Step(done, done))

    def evaluate(self, work, node, round, state):
        function = {"undeclared": undeclared, "no metrics": no_metrics}.get(self.where, error_of)
        return work.do(function, {"value": state}, round)

    def report(self, work, device, round, state, budget):
        return self._answer("report", Report(1e3))

    def decide(self, work, head, round, reports):
        return self._answer("decide", ({k: Report(1e3) for k in reports}, ()))


CASES = {
    "init": r"learner: .*test_broken_learners\.py, line \d+: ValueError: no such luck",
    "owners, no mapping": r"Broken\.owners must return the devices that own each modality.*got \[0, 1\]",
    "owners, by device": r"Broken\.owners must return the devices that own .*got \{0: \{'image'\}\}",
    "owners, a stranger": r"Broken\.owners must .* of devices 0 to 2 \(got \{'image': frozenset\(\{0, 7\}\)\}\)",
    "first": r"Broken\.first of device 0, round 0: must return a Step \(got None\)",
    "cost": r"Broken\.cost of device \d, round 1: must return a Cost .*nan",
    "cost raises": r"Broken\.cost of device 1, round 2: .*\.py, line \d+: ValueError: no such luck",
    "train": r"Broken\.train of device \d, round 1: must return a Step \(got None\)",
    "aggregate": r"Broken\.aggregate of device \d, round 1: must return a Step",
    "a stranger": r"Broken\.messages of device \d, round 1: .*none for others",
    "twice": r"at most one message for each of the receivers",
    "negative": r"a size that is finite and not negative",
    "no list": r"must return a list of Message",
    "lambda": r"<lambda> cannot be a task, .*module's top level",
    "method": r"Broken\.cost cannot be a task, .*a method",
    "task raises": r"task fail, round 1, device \d: .*\.py, line \d+: KeyError: 'no such luck'",
    "task exits": r"task leave, round 1: .*\.py, line \d+: SystemExit: 3",
    "unknown input": r"task add, round 1: .*, line \d+: TypeError: .*unexpected keyword argument 'm'",
    "field": r"the result of task add has no field 'weights'; it is of type float",
    "too few": r"task too_few, .*one result for each of its \d+ inputs \(got \[\]\)",
    "undeclared": r"metric 'mistake' of node \d, round 1, is not in Broken\.METRICS, which has error",
    "no metrics": r"metrics of node \d, round 1, must be a list of Metric.*got 3\.0",
    "report": r"Broken\.report of device \d, round 1: must return a Report",
    "decide": r"Broken\.decide of device \d, round 1: must return what each device is told",
}


def run(simulate, where, executor, **keys):
    simulate(
        rounds=3,
        learner={"name": "test_broken_learners:Broken", "where": where},
        jobs={"executor": executor},
        **keys,
    )


@pytest.mark.parametrize("executor", ["inline", "forked"])
@pytest.mark.parametrize("where", CASES)
def test_a_broken_contract_is_one_line(where, executor, simulate, monkeypatch):
    monkeypatch.setattr(forking, "sees_gpu", lambda: False)
    with pytest.raises(ScenarioError, match=CASES[where]) as raised:
        run(simulate, where, executor)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_workers_name_the_task_the_round_and_the_device_too(executor, simulate):
    with pytest.raises(ScenarioError, match=CASES["task raises"]):
        run(simulate, "task raises", executor)


def test_a_learner_that_keeps_it_is_not_disturbed(simulate):
    run(simulate, "", "inline")


def test_a_server_that_leaves_somebody_out_is_named(simulate):
    with pytest.raises(
        ScenarioError, match=r"Broken\.messages of the server, round 1: .*message of the server"
    ):
        run(simulate, "no download", "inline", protocol={"name": "server_rounds"})


def test_what_cannot_be_pickled_is_named_with_a_way_out(simulate, monkeypatch):
    monkeypatch.setattr(forking, "sees_gpu", lambda: False)
    with pytest.raises(ScenarioError, match=r"task add cannot be sent to another process .*executor: inline"):
        run(simulate, "lock", "forked")
    with pytest.raises(ScenarioError, match=r"task add cannot be sent to another process .*executor: inline"):
        Sender(lambda buffers: 0).pack([TrainingJob(add, {"value": 1, "n": threading.Lock()})])


def test_a_result_that_cannot_be_pickled_is_named_with_a_way_out():
    packed, places = Sender(lambda buffers: 0).pack([TrainingJob(lock, {"value": 1, "n": 1})])
    with pytest.raises(ScenarioError, match=r"the result of task lock cannot be sent .*executor: inline"):
        results(Receiver(lambda place: []).do(packed, places))
