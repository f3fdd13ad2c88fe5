"""DMML and DMML-KD through an edge server."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import networkx as nx
import pytest
import torch
from tiny_task import NETWORKS, Deal, Kept, make_setup

from learners.checks import fingerprint
from learners.networks.state import Part, Row
from learners.training.decomposed.server import averaged, received
from netsim.app.build import build
from netsim.app.simulation import Simulation
from netsim.core.budget import Budget
from netsim.core.errors import ScenarioError
from netsim.core.registry import load
from netsim.scenario.loading import load_plan

MIXED = Deal({0: ("audio",), 1: ("audio", "visual"), 2: ("visual",)}, rows={0: 16, 1: 8, 2: 24})


def server_learner(name: str = "dmml", **changes: Any) -> Any:
    setup = dataclasses.replace(make_setup(name, devices=3, partition=MIXED, **changes), has_server=True)
    learner = load("learners", name)(setup)
    learner.prepare(nx.star_graph([3, 0, 1, 2]))
    return learner


@pytest.fixture
def run(write_scenario: Any, tmp_path: Any) -> Callable[..., tuple[Simulation, Kept]]:
    def run(
        learner: dict[str, Any], rounds: int = 3, protocol: str = "server_rounds"
    ) -> tuple[Simulation, Kept]:
        kd = {"generator_hidden": 8, "noise_size": 4, "generator_iterations": 3}
        own = {
            "networks": NETWORKS,
            "batch_size": 8,
            **(kd if "kd" in learner.get("of", learner["name"]) else {}),
            **learner,
        }
        path = write_scenario(
            rounds=rounds,
            devices={"count": 4},
            protocol={"name": protocol},
            topology={"links": {"name": "range", "range_m": 1e4}},
            data={"name": "tiny_task:TinyData"},
            partition={"name": "iid", "gamma": 0.5},
            learner=own,
            jobs={"device": "cpu", "threads": 1, "executor": "inline", "stacking": "off"},
        )
        simulation = build(load_plan(path), tmp_path, lambda text: None)
        simulation.watch(kept := Kept())
        simulation.run()
        return simulation, kept

    return run


def test_each_part_is_the_mean_over_those_that_hold_it_by_samples() -> None:
    """16 and 8 samples have audio: 2/3 and 1/3; 8 and 24 have visual; all three the common part."""
    learner = server_learner()
    own = learner._model.first(("audio", "visual"))
    models = {
        k: {name: moved(part, float(k + 1)) for name, part in learner._model.first(share.modalities).items()}
        for k, share in learner._shares.items()
    }
    inputs = {
        "own": own,
        "arrived": models,
        "samples": {0: 16, 1: 8, 2: 24},
        "modalities": ("audio",),
    }
    (found,) = averaged([inputs])
    shifts = {"trunk/audio": (16 * 1 + 8 * 2) / 24, "trunk/visual": (8 * 2 + 24 * 3) / 32}
    shifts["common"] = (16 * 1 + 8 * 2 + 24 * 3) / 48
    for name, shift in shifts.items():
        torch.testing.assert_close(found.parts[name].weights, own[name].weights + shift)
    after = found.parts["trunk/audio"].weights
    moved_by = (after - own["trunk/audio"].weights).norm() / after.norm()
    assert [(m.name, m.modality) for m in found.metrics] == [("variation", "audio")]
    assert found.metrics[0].value == pytest.approx(moved_by.item(), rel=1e-5)


def moved(part: Part, by: float) -> Part:
    row = part.row.tensor.clone()
    row[: part.layout.sent] += by
    return Part(Row(row[None], 0), part.layout)


def test_a_part_that_nobody_sent_and_integer_counters_stay_the_server_s_own() -> None:
    learner = server_learner()
    own = learner._model.first(("audio", "visual"))
    inputs = {
        "own": own,
        "arrived": {0: learner._model.first(("audio",))},
        "samples": {0: 16},
        "modalities": (),
    }
    (found,) = averaged([inputs])
    assert found.parts["trunk/visual"] is own["trunk/visual"]
    counted = {"trunk/visual": own["trunk/visual"]}
    row = counted["trunk/visual"].row.tensor.clone()
    row[counted["trunk/visual"].layout.sent :] += 5
    counted["trunk/visual"] = Part(Row(row[None], 0), own["trunk/visual"].layout)
    (parts,) = received([{"own": counted, "sent": own}])
    assert int(parts["trunk/visual"]["norm.num_batches_tracked"]) == 5
    assert set(parts) == {"trunk/visual"}


def test_sizes_and_the_server_s_sums_follow_from_shared_parts() -> None:
    """32 bits a number down and up; two FLOPs for each number of each participant asked."""
    learner = server_learner("dmml_kd")
    of = {k: 32 * learner._model.sent_numbers(share.modalities) for k, share in learner._shares.items()}
    down = learner.messages(3, 1, [0, 1, 2])
    assert {k: m.size_bits for m in down for k in m.receivers} == of
    assert {k: learner.messages(k, 1, [3])[0].size_bits for k in range(3)} == of
    (both,) = learner.messages(3, 1, [0, 2], together=True)
    assert both.size_bits == of[1] and both.receivers == (0, 2)
    budget = Budget(1.0, 5e-11, {})
    assert learner.cost(3, 1, [0, 2], budget, None).total_flops == 2 * (of[0] + of[2]) / 32


@pytest.mark.parametrize("name", ["dmml", "dmml_kd"])
def test_the_server_s_model_is_evaluated_and_learns(name: str, run: Any) -> None:
    simulation, kept = run({"name": name, "learning_rate": 1e-2, "local_epochs": 6}, rounds=4)
    accuracy = [row for row in kept.rows if row.name == "accuracy" and not row.modality]
    assert [row.device for row in accuracy] == [4] * 4
    assert accuracy[-1].value > 0.6, "chance is a third"
    assert set(simulation.states[4]) >= {"trunk/audio", "trunk/visual", "common"}
    assert not [row for row in kept.rows if row.name == "variation_local"]
    assert {row.device for row in kept.rows if row.name == "variation"} == {4}


def test_optimizer_state_stays_on_the_devices(run: Any) -> None:
    kept, _ = run({"name": "dmml"}, rounds=2)
    reset, _ = run({"name": "dmml", "optimizer_state": "reset"}, rounds=2)
    assert all(kept.states[k].memories for k in range(4))
    assert not any(reset.states[k].memories for k in range(4))
    assert fingerprint(kept.states[4]) != fingerprint(reset.states[4])


def test_balance_needs_neighbours(run: Any) -> None:
    with pytest.raises(ScenarioError, match="'dmml_kd_balance' cannot be run under protocol 'server_rounds'"):
        run({"name": "dmml_kd_balance"})


@pytest.mark.parametrize("name", ["isolated", "centralized"])
def test_baselines_send_nothing_and_cost_what_they_train(name: str, run: Any) -> None:
    simulation, kept = run({"name": name, "learning_rate": 1e-2, "local_epochs": 2}, rounds=3)
    evaluated = {row.device for row in kept.rows if row.name == "accuracy"}
    assert evaluated == ({0, 1, 2, 3} if name == "isolated" else {4})
    learner = simulation.learner
    assert all(message.size_bits == 0 for message in learner.messages(4, 1, [0, 1]))
    budget = Budget(1.0, 5e-11, {})
    computing = {k for k in range(5) if learner.cost(k, 1, (), budget, None).total_flops}
    assert computing == evaluated
    losses = [row.value for row in kept.rows if row.name == "loss_total" and row.device == max(evaluated)]
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert {row.device for row in kept.rows if row.name == "variation_local"} <= evaluated


def test_an_isolated_device_trains_the_same_with_a_server_and_without(run: Any) -> None:
    """The same data, seeds and number of rounds: what a server's rounds add is nothing."""
    learner = {"name": "isolated", "of": "dmml_kd"}
    with_server, _ = run(learner, rounds=2)
    without, _ = run(learner, rounds=2, protocol="decentralized_rounds")
    assert with_server.states.keys() == {0, 1, 2, 3, 4}
    assert fingerprint({k: with_server.states[k].parts for k in range(4)}) == fingerprint(
        {k: without.states[k].parts for k in range(4)}
    )
