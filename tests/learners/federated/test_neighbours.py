"""FedAvg without a server: D-PSGD with local steps, against one written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from server_play import SMALL, metrics_of, part
from tiny_task import UNLIMITED, Deal, Kept, TinyData, make_setup
from torch import Tensor

from learners.algorithms.fedavg import FedAvg
from learners.algorithms.fedprox import FedProx
from learners.checks import fingerprint
from learners.networks.state import Part, State
from learners.training.late_fusion.evaluation import evaluate
from learners.training.late_fusion.exchange import Model
from learners.training.late_fusion.local_update import Trained, local_update
from learners.training.late_fusion.neighbours import Neighbours, mix, owners
from netsim.app.build import build
from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed
from netsim.events import Observer
from netsim.scenario.loading import load_plan
from netsim.work.executors.inline import Inline
from netsim.work.graph import TaskGraph

GRAPH = nx.Graph([(0, 1), (1, 2), (2, 3), (1, 3)])
MIXED = Deal({0: ("audio",), 2: ("visual",)})
"""Devices 1 and 3 own both modalities."""


def make(cls: type[FedAvg] = FedAvg, graph: nx.Graph = GRAPH, **changes: Any) -> FedAvg:
    name = {FedAvg: "fedavg", FedProx: "fedprox"}[cls]
    learner = cls(make_setup(name, devices=len(graph), **{**SMALL, **changes}))
    learner.prepare(graph)
    return learner


def rounds(learner: FedAvg, graph: nx.Graph, count: int) -> tuple[dict[int, Model], list[dict[int, Any]]]:
    """Rounds in which everybody hears everybody beside it; models after them, and metrics by round and device."""
    work = TaskGraph(Inline(), Observer(), 1000)
    states = {k: learner.first(work, k).state for k in graph}
    told = []
    for t in range(1, count + 1):
        steps = {
            k: learner.train(work, k, t, states[k], learner.cost(k, t, sorted(graph[k]), UNLIMITED, None))
            for k in graph
        }
        metrics: dict[int, list[Any]] = {k: [steps[k].metrics] for k in graph}
        for k in graph:
            heard = {n: steps[n].outbox for n in sorted(graph[k])}
            states[k], _, own = learner.aggregate(work, k, t, steps[k].state, heard)
            metrics[k] += [own, learner.evaluate(work, k, t, states[k])]
        told.append({k: metrics_of([m for one in work.value(metrics[k]) for m in one or ()]) for k in graph})
    return work.finish(states), told


def metropolis(graph: nx.Graph) -> Tensor:
    """ξ by its definition: 1/(1 + the larger degree) of the two, and the rest at home."""
    matrix = torch.zeros(4, 4, dtype=torch.float64)
    for i, j in graph.edges:
        matrix[i, j] = matrix[j, i] = 1 / (1 + max(graph.degree[i], graph.degree[j]))
    return matrix + torch.diag(1 - matrix.sum(1))


def by_hand(learner: FedAvg, count: int) -> list[dict[str, Tensor]]:
    """W ← Ξ (W after local steps), part by part, with Ξ of the graph that the part's owners form."""
    federation = learner._federation
    owned = [client.modalities for _, client in sorted(federation.clients.items())]
    nets = [federation.architecture.restricted_to(ms) for ms in owned]
    states: list[State] = [{part: federation.initial[part] for part in net.build().parts()} for net in nets]
    for t in range(1, count + 1):
        trained = [
            local_update(
                net,
                states[k],
                federation.samples.value,
                k,
                t,
                steps=-(-len(federation.clients[k].train) // SMALL["batch_size"]),
                head_weights=dict.fromkeys((*owned[k], "fusion"), 1 / (1 + len(owned[k]))),
                plan=learner._plan,
                seed=derive_seed(learner.setup.seed, "training", k, t),
                torch_device="cpu",
            ).state
            for k, net in enumerate(nets)
        ]
        states = [dict(own) for own in trained]
        for name, first in federation.initial.items():
            holders = [k for k in range(4) if name in trained[k]]
            xi, sent = metropolis(GRAPH.subgraph(holders)), first.layout.sent
            for k in holders:
                row = trained[k][name].row.tensor.clone()
                row[:sent] = sum(
                    xi[k, n].item() * trained[n][name].row.tensor[:sent] for n in holders if xi[k, n]
                )
                states[k] = {**states[k], name: Part(type(first.row)(row[None], 0), first.layout)}
    return [{name: own.row.tensor for name, own in state.items()} for state in states]


@pytest.mark.parametrize("cls", [FedAvg, FedProx])
def test_it_is_d_psgd_with_local_steps(cls: type[FedAvg]) -> None:
    learner = make(cls, partition=MIXED, precision="float64")
    models, _ = rounds(learner, GRAPH, 2)
    for k, expected in enumerate(by_hand(learner, 2)):
        assert set(models[k].parts) == set(expected)
        for name, row in expected.items():
            torch.testing.assert_close(models[k].parts[name].row.tensor, row, rtol=1e-12, atol=1e-14)
    assert len({fingerprint(model.parts["fusion"]) for model in models.values()}) == 4


def test_each_device_is_evaluated_with_its_own_model_after_mixing() -> None:
    learner = make(partition=MIXED)
    federation = learner._federation
    models, told = rounds(learner, GRAPH, 1)
    for k, model in models.items():
        owned = federation.clients[k].modalities
        net, rows = federation.architecture.restricted_to(owned), federation.test_rows.value
        found = evaluate(net, model.parts, federation.store.value, rows, 256, "cpu")
        assert told[0][k]["loss_test", ""] == found["loss"]
        assert told[0][k]["accuracy", ""] == found["accuracy"]
        assert {m for name, m in told[0][k] if name == "accuracy"} == {"", *owned}
    assert len({told[0][k]["loss_test", ""] for k in models}) == 4


def test_neighbours_are_sent_the_parts_that_both_own() -> None:
    learner = make(partition=MIXED)
    bits = learner._federation.costs.message_bits
    assert {m.receivers: m.size_bits for m in learner.messages(1, 1, [0, 2, 3])} == {
        (0,): bits(("audio",)),
        (2,): bits(("visual",)),
        (3,): bits(("audio", "visual")),
    }
    assert {m.receivers: m.size_bits for m in learner.messages(0, 1, [2])} == {(2,): bits(())}


def test_who_has_nothing_to_train_on_sends_and_learns_nothing() -> None:
    learner = make(partition=Deal({0: ()}))
    assert learner.messages(0, 1, [1]) == () and learner.messages(1, 1, [0]) == []
    models, told = rounds(learner, GRAPH.subgraph([1, 2, 3]), 1)
    assert set(models) == {1, 2, 3} and all(told[0].values())
    work = TaskGraph(Inline(), Observer(), 1000)
    assert learner.first(work, 0).state is None
    assert learner.aggregate(work, 0, 1, None, {}).state is None
    assert learner.evaluate(work, 0, 1, None) is None


# Mixing, on parts of a few numbers: a path 0 - 1 - 2, whose weights are thirds.

PATH = nx.path_graph(3)


def trained(own: Part, finite: bool = True) -> Trained:
    return Trained({"fusion": own}, 0.0, {}, 1, 1.0, {}, {}, finite)


def mixed(
    own: Mapping[int, Part],
    arrived: Mapping[int, Mapping[int, Trained]],
    drops: bool = False,
    met: Mapping[int, Sequence[int]] | None = None,
) -> list[Any]:
    parts = {"fusion": next(iter(own.values()))}
    network = Neighbours([owners(PATH, sorted(PATH), parts)], drops)
    return mix(
        [
            {
                "device": k,
                "own": {"fusion": mine},
                "arrived": arrived[k],
                "factors": {},
                "neighbours": network,
                "met": met,
            }
            for k, mine in own.items()
        ]
    )


def numbers(combined: Any) -> list[float]:
    found: list[float] = combined.parts["fusion"].row.tensor.tolist()
    return found


def test_the_weight_of_a_neighbour_that_was_not_heard_stays_at_home() -> None:
    """Device 1 at 3, its neighbours at 0 and 9: (0 + 3 + 9)/3 = 4, or 2/3 · 3 + 1/3 · 9 = 5. Counters are its own."""
    own = part([3.0], running=[6.0], counters=[7.0])
    low, high = (trained(part([x], running=[2 * x], counters=[0.0])) for x in (0.0, 9.0))
    (both,) = mixed({1: own}, {1: {0: low, 2: high}})
    (one,) = mixed({1: own}, {1: {2: high}})
    (none,) = mixed({1: own}, {1: {}})
    assert numbers(both) == pytest.approx([4.0, 8.0, 7.0])
    assert numbers(one) == pytest.approx([5.0, 10.0, 7.0])
    assert numbers(none) == [3.0, 6.0, 7.0] and none.metrics == []


def test_who_is_mixed_at_the_same_time_does_not_matter() -> None:
    """Not even where one neighbour hears a sender's model of the round before, late, and another its newest."""
    states = {k: part([float(np.pi * (k + 1))], running=[1.0 / (k + 3)]) for k in range(3)}
    newest, late = {k: trained(own) for k, own in states.items()}, trained(part([50.0], running=[7.0]))
    arrived = {0: {1: late}, 1: {0: newest[0], 2: newest[2]}, 2: {1: newest[1]}}
    together = mixed(states, arrived)
    for k, own in states.items():
        (alone,) = mixed({k: own}, arrived)
        assert numbers(alone) == numbers(together[k])
    assert numbers(together[0])[0] == pytest.approx(2 / 3 * np.pi + 50 / 3)
    assert numbers(together[2])[0] == pytest.approx(2 / 3 * 3 * np.pi + 2 * np.pi / 3)


def test_weights_are_those_of_whom_a_device_met() -> None:
    """1 met 2 alone, who met nobody else: halves, (3 + 9)/2 = 6; of 0, whom it did not meet, nothing is mixed."""
    sent = {k: trained(part([x])) for k, x in ((0, 0.0), (2, 9.0))}
    (found,) = mixed({1: part([3.0])}, {1: sent}, met={1: (2,), 2: (1,)})
    assert numbers(found) == pytest.approx([6.0])


def test_models_that_diverged_are_left_out_and_counted() -> None:
    bad = trained(part([float("nan")]), finite=False)
    (found,) = mixed({1: part([3.0])}, {1: {0: bad, 2: trained(part([9.0]))}}, drops=True)
    assert numbers(found) == pytest.approx([5.0]) and metrics_of(found.metrics) == {("dropped", ""): 1.0}


def test_a_device_whose_training_diverges_keeps_its_model_or_stops_the_run() -> None:
    wild = {"learning_rate": 1e12, "local_epochs": 4, "modalities": ("audio",)}
    learner = make(**wild, on_nan="drop")
    models, told = rounds(learner, GRAPH, 1)
    for k, model in models.items():
        for name, own in model.parts.items():
            torch.testing.assert_close(own.weights, learner._federation.initial[name].weights)
        assert told[0][k]["dropped", ""] == GRAPH.degree[k]
    with pytest.raises(ScenarioError, match="training of device 0 diverged in round 1"):
        rounds(make(**wild), GRAPH, 1)


# Whole runs.


@pytest.mark.parametrize("late", ["drop", "keep"])
def test_a_run_with_deadlines_and_slow_devices(late: str, write_scenario: Any, tmp_path: Any) -> None:
    """Device 2 takes longer than a round: it is cut off, and its neighbours go on without it."""
    path = write_scenario(
        rounds=3,
        devices={"count": 3, "overrides": [{"devices": [2], "processor": {"frequency_hz": 1e5}}]},
        protocol={"name": "decentralized_rounds", "deadline_s": 1.0, "late": late},
        data={"name": f"tiny_task:{TinyData.__name__}"},
        partition={"name": "iid"},
        learner={"name": "fedavg", **SMALL},
        jobs={"device": "cpu", "executor": "inline", "stacking": "off"},
    )
    simulation = build(load_plan(path), tmp_path, lambda text: None)
    kept = Kept()
    simulation.watch(kept)
    simulation.run()
    assert {k: state.number for k, state in simulation.states.items()} == {0: 3, 1: 3, 2: 3}
    assert {row.device for row in kept.rows if row.name == "loss_total"} == {0, 1}
    assert {row.device for row in kept.rows if row.name == "accuracy"} == {0, 1, 2}


@pytest.mark.parametrize("name", ["fednova", "fedatt", "fedhgb", "mgb", "cgb", "fedasync", "fedbuff"])
def test_what_needs_a_server_is_refused_with_what_would_fit(
    name: str, write_scenario: Any, tmp_path: Any
) -> None:
    path = write_scenario(
        data={"name": "generated"},
        partition={"name": "iid"},
        learner={"name": name},
        protocol="decentralized_rounds",
    )
    with pytest.raises(ScenarioError) as error:
        build(load_plan(path), tmp_path, lambda text: None)
    text = str(error.value)
    assert f"learner.name: {name!r} cannot be run under protocol 'decentralized_rounds'" in text
    assert "use protocol: asynchronous_server or server_rounds" in text
    assert (
        "fedavg" in text.split("decentralized_rounds: ")[1]
        and name not in text.split("decentralized_rounds: ")[1]
    )
