"""Every shipped learner keeps the contract, and the checker notices who does not."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any, ClassVar

import networkx as nx
import numpy as np
import pytest
from tiny_task import Deal, make_setup

from learners.checks import BrokenPromise, check_learner
from learners.data.dataset import MultimodalDataset
from learners.data.split import Split
from netsim.core.registry import load, names
from netsim.learner import Cost, Learner, Message, Metric, Report, Step, alike
from netsim.work.future import Shared
from netsim.work.job import Stack

PATH = nx.path_graph(3)


DISTILLING = {
    "fedmd": {"public_epochs": 1, "private_epochs": 1, "revisit_epochs": 1},
    "fedzkt": {"distillation_iterations": 2, "server_batch_size": 4, "local_epochs": 1},
    "mhd": {"local_steps": 2, "batch_size": 8},
}
"""Those that learn from one modality, and mostly from public samples."""


class SetAside(Deal):
    """As dealt, and the last rows for everybody."""

    def split(self, data: MultimodalDataset, device_count: int, seed: int) -> Split:
        return Split(self.deal(data, device_count, seed), data.train[-12:], data)


SHIPPED = names("learners")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_learners_keep_their_promises(name: str) -> None:
    options: dict[str, Any] = {}
    partition: Deal = Deal({0: ("audio",), 1: ("audio", "visual")}, rows=16)
    if name in DISTILLING:
        partition, options = SetAside(rows=16), {"modalities": ["visual"], **DISTILLING[name]}
    cls = load("learners", name).made_for({})
    check_learner(cls(make_setup(name, devices=3, partition=partition, **options)), PATH)


# A learner that keeps them, and others that each break one.


def double(x: np.ndarray, device: int) -> np.ndarray:
    return 2.0 * x + device


def double_all(inputs: Any) -> list[np.ndarray]:
    return [double(**one) * (1 + 1e-7) for one in inputs]


def mean_all(inputs: Any) -> list[np.ndarray]:
    return [np.mean([one["own"], *one["arrived"].values()], axis=0) for one in inputs]


def norms(inputs: Any) -> list[list[Metric]]:
    return [[Metric("norm", float(np.linalg.norm(one["x"])))] for one in inputs]


class Honest(Learner):
    """Doubles numbers and takes means, under every protocol."""

    METRICS: ClassVar = {"norm": "size of what a node has"}
    SUITS = frozenset({"decentralized", "server", "asynchronous"})
    stack: Stack | None = Stack("double", double_all)

    def first(self, work: Any, node: int) -> Step:
        return Step(np.ones(3), np.ones(3))

    def cost(self, node: int, round: int, peers: Any, budget: Any, plan: Any) -> Cost:
        return Cost({"numbers": 1}, {"all": 6.0})

    def messages(self, node: int, round: int, receivers: Any, together: bool = False) -> Any:
        return [Message(tuple(receivers), 96.0)]

    def train(self, work: Any, node: int, round: int, state: Any, cost: Cost) -> Step:
        if node == self.setup.server:
            return Step(state, state)
        x = work.do(double, {"x": state, "device": node}, round, self.stack)
        return Step(x, x, work.together(norms, {"x": x}, round))

    def aggregate(self, work: Any, node: int, round: int, state: Any, arrived: Any) -> Step:
        return Step(work.together(mean_all, {"own": state, "arrived": dict(arrived)}, round))

    def evaluate(self, work: Any, node: int, round: int, state: Any) -> Any:
        return work.together(norms, {"x": state}, round)


class Led(Honest):
    """The same with a cluster head."""

    SUITS = frozenset({"decentralized"})
    coordinated = True

    def report(self, work: Any, device: int, round: int, state: Any, budget: Any) -> Report:
        return Report(32.0, float(work.value(state)[0]))

    def decide(self, work: Any, head: int, round: int, reports: Any) -> Any:
        least = min(reports.values())
        return {k: Report(32.0, value - least) for k, value in reports.items()}, [Metric("norm", least)]

    def cost(self, node: int, round: int, peers: Any, budget: Any, plan: Any) -> Cost:
        return Cost({}, {"all": 6.0 + (plan or 0.0)})


def check(base: type[Learner] = Honest, **methods: object) -> None:
    check_learner(type("Offender", (base,), methods)(make_setup("stub", devices=3)), PATH)


def broken(text: str, base: type[Learner] = Honest, **methods: object) -> None:
    """What has these ``methods`` is refused with this ``text``."""
    with pytest.raises(BrokenPromise, match=text) as found:
        check(base, **methods)
    assert "\n" not in str(found.value)


ALONE: dict[str, Any] = {"SUITS": frozenset({"decentralized"})}
SERVER: dict[str, Any] = {"SUITS": frozenset({"server"})}


@pytest.mark.parametrize("base", [Honest, Led])
def test_who_keeps_the_contract_is_told_nothing(base: type[Learner]) -> None:
    check(base)


def test_both_kinds_of_protocols_are_played() -> None:
    seen = set()

    def cost(self: Any, node: int, round: int, peers: Any, budget: Any, plan: Any) -> Cost:
        seen.add((self.setup.server, node, tuple(peers)))
        return Cost()

    check(cost=cost)
    alone = {(None, 0, (1,)), (None, 1, (0, 2)), (None, 2, (1,))}
    assert seen == alone | {(3, k, (3,)) for k in range(3)} | {(3, 3, (0, 1, 2))}


def test_a_family_that_is_none_is_caught() -> None:
    broken(r"SUITS names \['servers'\]; families of protocols are decentralized,", SUITS={"servers"})


# Tasks.


def spoil(x: np.ndarray) -> np.ndarray:
    x += 1.0
    return x


def spoil_all(inputs: Any) -> list[np.ndarray]:
    return [spoil(one["own"]) for one in inputs]


def count_all(inputs: Any) -> list[int]:
    return [len(inputs)] * len(inputs)


def too_few(inputs: Any) -> list[int]:
    return [0]


def off(inputs: Any) -> list[np.ndarray]:
    return [1.01 * double(**one) for one in inputs]


def keep(self: Any, x: Any) -> Any:
    return x


def chance(x: np.ndarray, ticks: Any = itertools.count()) -> float:  # noqa: B008 (that is what is wrong)
    return float(next(ticks))


def trains(function: Any, **more: Any) -> Any:
    """A hook ``train`` that orders ``function``."""

    def train(self: Any, work: Any, node: int, round: int, state: Any, cost: Cost) -> Step:
        x = work.do(function, {"x": state, **more}, round)
        return Step(x, x)

    return train


def combines(function: Any) -> Any:
    """A hook ``aggregate`` that orders ``function`` of many."""

    def aggregate(self: Any, work: Any, node: int, round: int, state: Any, arrived: Any) -> Step:
        return Step(work.together(function, {"own": state, "arrived": dict(arrived)}, round))

    return aggregate


def test_a_task_that_changes_its_inputs_is_caught() -> None:
    broken(r"node 0, round 1: train\(\): spoil\(\) changed its inputs", train=trains(spoil))
    broken(r"node 0, round 1: aggregate\(\): spoil_all\(\) changed", aggregate=combines(spoil_all), **ALONE)


def test_a_task_that_depends_on_more_than_its_inputs_is_caught() -> None:
    broken(r"node 0, round 1: train\(\): chance\(\) gave two results; all that it", train=trains(chance))


def test_a_result_that_depends_on_company_is_caught() -> None:
    broken(r"aggregate\(\): count_all\(\) gives something else in company", aggregate=combines(count_all))
    broken(r"too_few\(\) gave 1 results for 2 tasks", aggregate=combines(too_few), **ALONE)


def test_a_stack_that_gives_more_than_rounding_is_caught() -> None:
    broken(r"train\(\): off\(\) gives something else when it is stacked with oth", stack=Stack("off", off))


def test_a_stack_with_an_obstacle_is_not_tried() -> None:
    check(stack=Stack("off", off, obstacle=lambda inputs: "they differ"))


@pytest.mark.parametrize("function", [lambda x: x, Honest(make_setup("stub")).sample_counts])
def test_a_function_that_no_worker_can_find_is_caught(function: Any) -> None:
    broken(r"node 0, round 1: train\(\): .*\(\) is no module-level function", train=trains(function))


def test_inputs_that_cannot_travel_are_caught() -> None:
    broken(
        r"node 0, round 1: train\(\): inputs of double\(\) cannot be sent to a worker, they do not pickle",
        train=trains(double, device=(0 for _ in ())),
    )


def test_what_is_shared_may_be_anywhere_in_the_inputs() -> None:
    def aggregate(self: Any, work: Any, node: int, round: int, state: Any, arrived: Any) -> Step:
        own = Shared(np.ones(3))
        return Step(work.together(mean_all, {"own": own, "arrived": dict(arrived)}, round))

    check(aggregate=aggregate)


# Numbers.


@pytest.mark.parametrize("size", [-1.0, float("nan"), float("inf"), "8"])
def test_a_size_that_is_no_size_is_caught(size: Any) -> None:
    broken(
        "node 0, round 1: a message's size_bits must be a finite number and at least 0, got",
        messages=lambda self, node, round, receivers, together=False: [Message(tuple(receivers), size)],
    )
    broken(
        "node 0, round 1: FLOPs of 'all' must be a finite number and at least 0, got",
        cost=lambda *_: Cost({}, {"all": size}),
    )


def test_iterations_that_are_no_number_of_times_are_caught() -> None:
    broken("iterations of 'numbers' must be a whole number", cost=lambda *_: Cost({"numbers": -1}))


def test_a_cost_that_is_not_there_yet_is_caught() -> None:
    def cost(self: Any, node: int, round: int, *_: Any) -> Cost:
        return Cost({}, {"all": getattr(self, "kept", 1.0)})

    def train(self: Any, work: Any, node: int, round: int, state: Any, cost: Cost) -> Step:
        step = Honest.train(self, work, node, round, state, cost)
        self.kept = step.state
        return step

    broken("node 1, round 1: FLOPs of 'all' must be .* got a Future; numbers", cost=cost, train=train)


def test_a_cost_that_looks_into_what_is_not_there_yet_is_caught() -> None:
    def cost(self: Any, node: int, round: int, *_: Any) -> Cost:
        kept = self.__dict__.get(("kept", node, round - 1))
        found = kept.task.result if kept is not None else None
        return Cost({}, {"all": 1.0 if found is None else float(found[0])})

    def train(self: Any, work: Any, node: int, round: int, state: Any, cost: Cost) -> Step:
        step = Honest.train(self, work, node, round, state, cost)
        self.__dict__["kept", node, round] = step.state
        return step

    broken(
        "its work done at their end: state is kept, different cost: node 0, round 2", cost=cost, train=train
    )


@pytest.mark.parametrize(
    ("receivers", "text"),
    [
        (lambda n: (), "a message to nobody"),
        (lambda n: (7,), r"a message to \[7\], who are not among the receivers"),
        (lambda n: (n[0], n[0]), "more than one message to one receiver"),
    ],
)
def test_messages_to_the_wrong_nodes_are_caught(receivers: Any, text: str) -> None:
    broken(
        f"node 0, round 1: {text}",
        messages=lambda self, node, round, there, together=False: [Message(receivers(there), 8.0)],
    )


def test_a_client_that_sends_the_server_nothing_is_caught() -> None:
    def messages(self: Any, node: int, round: int, receivers: Any, together: bool = False) -> Any:
        return Honest.messages(self, node, round, receivers) if node == self.setup.server else []

    broken("node 0, round 1: must send the server one message", messages=messages, **SERVER)


def test_two_messages_in_one_transmission_are_caught() -> None:
    broken(
        "the server, round 1: more than one message where all hear one transmission",
        messages=lambda self, node, round, receivers, together=False: [Message((k,), 8.0) for k in receivers],
        **SERVER,
    )


def test_a_report_that_has_no_size_is_caught() -> None:
    broken("node 0, round 1: a report's size_bits", Led, report=lambda *_: Report(-1.0, 0.0))


# Metrics, and what hooks return.


def test_a_metric_that_nobody_explained_is_caught() -> None:
    broken("node 0, round 1: metric 'magic' is not explained", evaluate=lambda *_: [Metric("magic", 1.0)])


def test_metrics_that_are_none_are_caught() -> None:
    broken("node 0, round 1: metrics of evaluation must be a list of Metric", evaluate=lambda *_: [1.0])


def test_a_hook_that_returns_no_step_is_caught() -> None:
    broken(r"node 0, round 1: train\(\) must return a Step, got tuple", train=lambda *_: (1, 2))


# State and chance.


def test_a_seed_that_is_not_the_only_source_of_chance_is_caught() -> None:
    ticks = itertools.count()
    broken(
        "same seed, different cost: node 0, round 1", cost=lambda *_: Cost({}, {"chance": float(next(ticks))})
    )


def test_a_result_that_depends_on_who_came_first_is_caught() -> None:
    def first(self: Any, work: Any, node: int) -> Step:
        self.count = getattr(self, "count", 0) + 1
        return Step(np.full(3, float(self.count)), np.ones(3))

    broken("visited in another order, different first state: node 0, round 0", first=first)


def test_state_that_a_learner_keeps_is_caught() -> None:
    """Of nodes in one run it would do; two runs of one learner get into each other's way."""

    def train(self: Any, work: Any, node: int, round: int, state: Any, cost: Cost) -> Step:
        step = Honest.train(self, work, node, round, state, cost)
        self.__dict__[f"trained {node}"] = step.state
        return step

    def aggregate(self: Any, work: Any, node: int, round: int, state: Any, arrived: Any) -> Step:
        return Honest.aggregate(self, work, node, round, self.__dict__[f"trained {node}"], arrived)

    broken("state is kept, different state after aggregation", train=train, aggregate=aggregate, **ALONE)


def test_an_outbox_that_changes_after_it_was_sent_is_caught() -> None:
    def train(self: Any, work: Any, node: int, round: int, state: Any, cost: Cost) -> Step:
        mine = self.__dict__.setdefault(f"numbers {node}", np.zeros(3))
        mine += 1.0
        return Step(state, mine)

    broken("node 0, round 1: the outbox changed after it was handed over", train=train)


def test_a_node_that_changes_what_arrived_is_caught() -> None:
    def aggregate(self: Any, work: Any, node: int, round: int, state: Any, arrived: Any) -> Step:
        for payload in arrived.values():
            if node == 2:
                work.value(payload).__imul__(0.5)
        return Step(state)

    text = r"node 1, round 1: train\(\): double\(\) gave a result that was changed later"
    broken(text, aggregate=aggregate, **ALONE)


def test_devices_that_differ_where_a_method_is_marked_alike_are_caught() -> None:
    @alike
    def cost(self: Any, node: int, round: int, *others: Any) -> Cost:
        return Cost({}, {"doubling": 1.0 + node})

    @alike
    def messages(self: Any, node: int, round: int, receivers: Any, together: bool = False) -> list[Message]:
        return [Message((k,), 32.0) for k in receivers]

    broken("marked alike, but devices differ in cost: node 1, round 1", cost=cost, **ALONE)
    broken("node 1, round 1: messages.. is marked alike, so", messages=messages, **ALONE)


def test_the_stub_and_the_checker_need_no_pytorch() -> None:
    code = "import learners.algorithms.stub, learners.checks, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
