"""SCAFFOLD, gradient tracking, local SGD and the random walk, against their algorithms written out.

Full batches and plain SGD: what a local update of one step makes of w is w − η g(w), so it says what g(w) is.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import networkx as nx
import pytest
import torch
from server_play import AUDIO, Play, Together, assert_models_close, make, part, played
from tiny_task import UNLIMITED, Deal, make_learner, make_setup, play_of

from learners.networks.state import Part, Row
from learners.training.late_fusion.control import controls_of, direction
from learners.training.late_fusion.local_update import Trained
from netsim.core.errors import ScenarioError
from netsim.core.registry import load
from netsim.world.topology.mixing import metropolis_weights

RATE = 0.05
FULL = {**AUDIO, "momentum": 0.0, "weight_decay": 0.0, "batch_size": 1000, "validation_share": 0.0,
        "learning_rate": RATE, "precision": "float64"}  # fmt: skip
UNEQUAL = Deal(rows={0: 5, 1: 17, 2: 30, 3: 8})


def whole(parts: Any) -> torch.Tensor:
    return torch.cat([parts[name].weights for name in sorted(parts)])


def gradient(job: Any, w: torch.Tensor) -> torch.Tensor:
    """The gradient of a client's loss on all its samples at ``w``, from one plain step."""
    state, parts, start = job.inputs["state"], {}, 0
    for name in sorted(state):
        row, count = state[name].row.tensor.clone(), state[name].layout.weights
        row[:count] = w[start : start + count]
        parts[name], start = Part(Row(row[None], 0), state[name].layout), start + count
    after = job.function(**{**job.inputs, "state": parts, "steps": 1, "correction": {}})
    return (w - whole(after.state)) / RATE


def test_a_direction_by_hand() -> None:
    """From 5 to 3 in steps of η = 0.5 whose sizes sum to 4: z = 2/(0.5 · 4) = 1; statistics have no direction."""
    before, after = part([5.0], running=[1.0]), part([3.0], running=[2.0])
    trained = Trained({"fusion": after}, 0.0, {}, 4, 4.0, {}, {})
    assert direction({"fusion": before}, trained, 0.5)["fusion"].row.tensor.tolist() == [1.0, 0.0]


def test_control_variates_by_hand() -> None:
    """Clients at c_1 = 1 and c_2 = 3 of N = 2, c = 2; only client 1 is heard, with z = 5: c_1⁺ = 1 − 2 + 5 = 4.

    c moves by (4 − 1)/2 to 3.5, which is (4 + 3)/2 again.
    """
    moved = controls_of(
        {"fusion": part([2.0])}, {"fusion": part([0.0])}, {1: {"fusion": part([5.0])}}, {1: 0.5, 2: 0.5}
    )
    assert moved["fusion"].weights.tolist() == [3.5]


@pytest.mark.parametrize("executor", [None, Together])
def test_scaffold_is_algorithm_1(executor: Any) -> None:
    """Three rounds of K = 2 steps, clients 0 and 1 of three in round 2 (option II), η_g = 1; alone and stacked."""
    learner = make("scaffold", **FULL, local_steps=2, partition=UNEQUAL)
    play = Play(learner, executor and executor())
    probe = Play(make("fedavg", **FULL, local_steps=2, partition=UNEQUAL))
    probe.results(probe.begin([0, 1, 2]))
    jobs = probe.executor.jobs
    x = whole(play.parts())
    c, own = torch.zeros_like(x), {k: torch.zeros_like(x) for k in range(3)}
    states: dict[int, Any] = {k: learner.first(play.work, k).state for k in range(3)}
    for t, chosen in enumerate([[0, 1, 2], [0, 1], [0, 1, 2]], start=1):
        uploads = {}
        for k in chosen:
            state, _, _ = learner.aggregate(play.work, k, t, states[k], {3: play.outbox})
            step = learner.train(play.work, k, t, state, learner.cost(k, t, [3], UNLIMITED, None))
            states[k], uploads[k] = step.state, step.outbox
        after = learner.aggregate(play.work, 3, t, play.state, uploads)
        play.state, play.outbox, _ = learner.train(play.work, 3, t, after.state, None)

        ends, changes = [], []
        for k in chosen:
            y = x.clone()
            for _ in range(2):
                y = y - RATE * (gradient(jobs[k], y) - own[k] + c)
            new = own[k] - c + (x - y) / (2 * RATE)
            ends.append(y)
            changes.append(new - own[k])
            own[k] = new
        x = torch.stack(ends).mean(0)
        c = c + torch.stack(changes).sum(0) / 3
        torch.testing.assert_close(whole(play.parts()), x, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(whole(play.model().memory), c, rtol=1e-7, atol=1e-9)


def test_scaffold_sends_twice_as_much_both_ways() -> None:
    """AUDIO has no running statistics; with BatchNorm only trained weights have control variates."""
    twice, once = (Play(make(name, **AUDIO)).begin([0, 1, 2]) for name in ("scaffold", "fedavg"))
    assert twice.sent[0].size_bits == 2 * once.sent[0].size_bits
    assert twice.downloads[0].size_bits == 2 * once.downloads[0].size_bits
    layouts = make("scaffold")._federation.initial.values()
    trained, sent = (
        sum(getattr(one, name) for one in (p.layout for p in layouts)) for name in ("weights", "sent")
    )
    assert (
        Play(make("scaffold")).begin([0]).sent[0].size_bits == pytest.approx(32 * (sent + trained))
        and trained < sent
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_gradient_tracking_is_k_gt(steps: int) -> None:
    """W ← Σ ξ w⁺, c ← c + Σ ξ z − z with z = (w − w⁺)/(K η), on a path; for K = 1, y = g + c is DIGing's tracker."""
    graph = nx.path_graph(4)
    learner = make_learner("gradient_tracking", graph, **FULL, local_steps=steps, partition=UNEQUAL)
    jobs = {k: play_of(make_learner("fedavg", graph, **FULL, partition=UNEQUAL)).job(k) for k in graph}
    xi = metropolis_weights(graph)
    play = play_of(learner)
    x = {k: whole(model) for k, model in play.models().items()}
    c = {k: torch.zeros_like(x[k]) for k in graph}
    y_before: dict[int, torch.Tensor] = {}
    g_before: dict[int, torch.Tensor] = {}
    for t in range(1, 4):
        if steps == 1 and t > 1:  # y_t = Σ ξ y_{t−1} + g(x_t) − g(x_{t−1})
            expected = {
                k: sum(xi[k][n] * y_before[n] for n in xi[k]) + gradient(jobs[k], x[k]) - g_before[k]
                for k in graph
            }
        g_before = {k: gradient(jobs[k], x[k]) for k in graph}
        y_before = {k: g_before[k] + c[k] for k in graph}
        if steps == 1 and t > 1:
            for k in graph:
                torch.testing.assert_close(y_before[k], expected[k], rtol=1e-9, atol=1e-9)
        play.round(t)
        ends, z = {}, {}
        for k in graph:
            w = x[k].clone()
            for _ in range(steps):
                w = w - RATE * (gradient(jobs[k], w) + c[k])
            ends[k], z[k] = w, (x[k] - w) / (steps * RATE)
        x = {k: sum(xi[k][n] * ends[n] for n in xi[k]) for k in graph}
        c = {k: c[k] + sum(xi[k][n] * z[n] for n in xi[k]) - z[k] for k in graph}
        for k, model in play.models().items():
            torch.testing.assert_close(whole(model), x[k], rtol=1e-9, atol=1e-9)
    assert float(torch.stack(list(c.values())).sum(0).abs().max()) < 1e-9, "corrections cancel out"
    (message,) = learner.messages(0, 4, [1])
    assert message.size_bits == 2 * make_learner("fedavg", graph, **FULL).messages(0, 4, [1])[0].size_bits


def test_local_sgd_averages_after_every_so_many_rounds() -> None:
    """With mix_every 2 devices send and average in rounds 2 and 4; two rounds are two alone and then a mix."""
    learner = make_learner("fedavg", **FULL, mix_every=2, partition=UNEQUAL)
    assert [bool(learner.messages(1, t, [0, 2])) for t in range(1, 5)] == [False, True, False, True]
    play = play_of(learner)
    alone = play_of(make_learner("isolated", of="fedavg", **FULL, partition=UNEQUAL))
    play.round(1)
    alone.round(1)
    assert_models_close(play.models()[1], alone.models()[1], 0, 0)
    play.round(2)
    alone.round(2)
    xi = metropolis_weights(learner.graph)
    mixed = sum(xi[1][n] * whole(alone.models()[n]) for n in xi[1])
    torch.testing.assert_close(whole(play.models()[1]), mixed, rtol=1e-9, atol=1e-9)


def test_mix_every_is_refused_under_a_server() -> None:
    with pytest.raises(ScenarioError, match=r"learner.mix_every: is about devices without an edge server"):
        load("learners", "fedavg")(make_setup("fedavg", has_server=True, mix_every=2))


@pytest.mark.parametrize("transition", ["metropolis", "uniform"])
def test_one_model_walks_over_the_links(transition: str) -> None:
    """Whose turn it is trains the model that it was sent; the others compute and send nothing, and are not judged."""
    learner = make_learner("random_walk", nx.path_graph(4), **FULL, rounds=12, transition=transition)
    turns, play, last = learner._turn, play_of(learner), None
    for t in range(1, 8):
        here, following = turns[t], turns[t + 1]
        assert following == here or abs(following - here) == 1
        assert {k for k in range(4) if play.cost(k, t).total_flops} == {here}
        start = play.models()[here]
        if last is not None:
            assert_models_close(start, last, 0, 0)
        found = play.round(t)
        last = play.models()[following]
        assert not whole(last).equal(whole(start))
        sent = [m.receivers for k in range(4) for m in learner.messages(k, t, [k - 1, k + 1])]
        assert sent == ([] if following == here else [(following,)])
        assert {k for k, own in found.items() if ("accuracy", "") in own} == {here}
    if transition == "uniform":
        assert all(a != b for a, b in pairwise(turns))


def test_a_lost_model_is_gone_on_with_as_it_was() -> None:
    learner = make_learner("random_walk", nx.path_graph(2), **FULL, devices=2, transition="uniform")
    play = play_of(learner)
    play.train(0, 1)
    play.aggregate(1, 1, {})
    assert_models_close(play.models()[1], learner._federation.initial, 0, 0)


@pytest.mark.parametrize("name", ["scaffold", "gradient_tracking"])
def test_they_learn_and_diverging_clients_are_left_out(name: str) -> None:
    if name == "scaffold":
        play = played(name, 15, devices=2, local_epochs=3, head_hidden=16, learning_rate=0.1)
        assert play.metrics(play.turns[-1])[2, "accuracy", ""] > 0.5
        learner = make(name, **AUDIO, on_nan="drop", precision="float64")
        learner._federation.store.value.inputs["audio"][learner._clients[1].train] *= 1e200
        broken = Play(learner)
        broken.play(2)
        assert bool(whole(broken.parts()).isfinite().all())
    else:
        learner = make_learner(name, **AUDIO, on_nan="drop", precision="float64")
        learner._federation.store.value.inputs["audio"][learner._clients[1].train] *= 1e200
        play_of(learner).round(1)
        play_of(learner).round(2)
        assert all(bool(whole(model).isfinite().all()) for model in play_of(learner).models().values())
