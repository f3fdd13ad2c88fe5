"""Steps of the server towards the mean of its clients: two by hand for each method."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from server_play import AUDIO, Play, assert_models_close, make, numbers, part, played
from tiny_task import make_setup

from learners.training.late_fusion.averaging import stepped
from learners.training.late_fusion.server_optimizers import ServerOptimizerChoice
from netsim.core.errors import ScenarioError
from netsim.core.registry import load, names

TAU = {"tau": 1.0, "learning_rate": 0.5}
BY_HAND: dict[str, tuple[dict[str, Any], list[float]]] = {
    "none": ({}, [2.0, 4.0]),
    "fedavgm": ({"learning_rate": 0.5, "momentum": 0.5}, [1.0, 3.0]),
    "fedadagrad": (TAU, [2 / (5**0.5 + 1) * 0.5]),
    "fedadam": ({**TAU, "beta1": 0.5, "beta2": 0.75}, [0.5 * 1 / (1.75**0.5 + 1)]),
    "fedyogi": ({**TAU, "beta1": 0.5, "beta2": 0.75}, [0.5 * 1 / (2.0**0.5 + 1)]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_steps_by_hand(name: str) -> None:
    """From w = 0 the mean is 2, so Δ = 2 and Δ² = 4; τ = 1, so v begins with 1.

    * fedavgm: v = 2, w = 1. Then the mean is 4, Δ = 3, v = 1 + 3 = 4, w = 1 + 2 = 3.
    * fedadagrad: m = 2 (β₁ = 0), v = 1 + 4 = 5: w = 0.5 · 2/(√5 + 1).
    * fedadam: m = 1, v = 0.75 + 0.25 · 4 = 1.75: w = 0.5 · 1/(√1.75 + 1).
    * fedyogi: v = 1 − 0.25 · 4 · sign(1 − 4) = 2: w = 0.5 · 1/(√2 + 1).
    """
    options, expected = BY_HAND[name]
    optimizer = ServerOptimizerChoice(name=name, **options).make()
    state, memory = {"fusion": part([0.0], running=[9.0], counters=[7.0])}, {}
    for mean, value in zip([2.0, 4.0], expected, strict=False):
        state, memory = stepped(
            optimizer, state, {"fusion": part([mean], running=[5.0], counters=[7.0])}, memory
        )
        assert numbers(state) == pytest.approx([value, 5.0, 7.0])
    assert {len(own) for one in memory.values() for own in one.values()} <= {1}


def test_every_server_optimizer_has_its_hand_computed_example() -> None:
    assert sorted(BY_HAND) == names("server_optimizers")


def test_two_adaptive_steps_are_those_of_algorithm_2() -> None:
    """Adam's second step written out, with m and v carried on: Δ = 1 and then −2."""
    optimizer = ServerOptimizerChoice(name="fedadam", learning_rate=0.1, tau=0.1, beta2=0.9).make()
    w, m, v, memory = 0.0, 0.0, 0.01, {}
    for delta in (1.0, -2.0):
        after, memory = optimizer.step(
            torch.tensor([w], dtype=torch.float64), torch.tensor([w + delta], dtype=torch.float64), memory
        )
        m, v = 0.9 * m + 0.1 * delta, 0.9 * v + 0.1 * delta**2
        w += 0.1 * m / (v**0.5 + 0.1)
        assert float(after[0]) == pytest.approx(w)


def test_a_part_that_nobody_sends_rests() -> None:
    optimizer = ServerOptimizerChoice(name="fedavgm").make()
    still = part([1.0])
    state, memory = stepped(optimizer, {"fusion": still}, {"fusion": still}, {})
    assert state["fusion"] is still and memory == {}


@pytest.mark.parametrize("name", ["fedavg", "fedprox", "fednova", "fedatt"])
def test_without_momentum_a_step_of_one_is_the_method_itself(name: str) -> None:
    step = {"name": "fedavgm", "momentum": 0.0}
    plain, stepping = (played(name, **AUDIO, precision="float64", server_optimizer=s) for s in ("none", step))
    assert_models_close(stepping.parts(), plain.parts(), 1e-12, 1e-12)


def test_momentum_is_remembered_and_its_sums_are_charged() -> None:
    """5 FLOPs for each number of the model, beside the mean's two for each of three clients."""
    play = Play(make("fedavg", **AUDIO, server_optimizer={"name": "fedavgm"}))
    turns = play.play(3)
    numbers_of_model = play.learner._federation.numbers(("audio",))
    assert turns[0].costs[3].flops == {
        "aggregation": 2.0 * 3 * numbers_of_model,
        "server_optimizer": 5.0 * numbers_of_model,
    }
    assert set(play.model().memory) == {"trunk/audio", "fusion"}


def test_where_nobody_can_use_it_it_is_refused() -> None:
    with pytest.raises(
        ScenarioError, match=r"learner.server_optimizer: without an edge server nobody can use it"
    ):
        load("learners", "fedavg")(make_setup("fedavg", server_optimizer={"name": "fedadam"}))
    with pytest.raises(ValueError, match="server_optimizer"):
        make_setup("fedasync", has_server=True, server_optimizer={"name": "fedadam"})
