"""DMML and DMML-KD whose devices compress what they send: to neighbours by CHOCO, to a server with error feedback."""

from __future__ import annotations

import math
from typing import Any

import networkx as nx
import pytest
import torch
from tiny_task import Play, make_learner, play_of

from netsim.core.errors import ScenarioError
from netsim.world.topology.mixing import metropolis_weights

TOP = {"name": "top_k", "ratio": 0.2}


@pytest.mark.parametrize("name", ["dmml", "dmml_kd"])
def test_devices_follow_algorithm_2(name: str) -> None:
    """Three rounds on a path, top_k by PyTorch: x̂ + C(x½ − x̂), then x½ + γ Σ ξ (x̂_n − x̂), the generator too."""
    graph = nx.path_graph(4)
    options = {"modalities": ("audio",), "precision": "float64", "compression": {**TOP, "gossip_step": 0.4}}
    learner = make_learner(name, graph, **options)
    play, xi = play_of(learner), metropolis_weights(graph)
    public = {k: {n: p.weights.clone() for n, p in own.items()} for k, own in play.models().items()}
    for t in (1, 2, 3):
        play.round(t)
        for k, parts in play.local.items():
            for part, own in parts.items():
                change = own.weights - public[k][part]
                kept = change.abs().topk(math.ceil(round(0.2 * len(change), 6))).indices
                public[k][part][kept] += change[kept]
        for k, parts in play.models().items():
            for part, own in parts.items():
                pull = sum(xi[k][n] * public[n][part] for n in xi[k]) - public[k][part]
                expected = play.local[k][part].weights + 0.4 * pull
                torch.testing.assert_close(own.weights, expected, rtol=1e-9, atol=1e-9)
    assert ("generator" in public[0]) == (name == "dmml_kd")
    sizes = [len(own) for own in public[0].values()]
    counts = [math.ceil(round(0.2 * d, 6)) for d in sizes]
    (message,) = learner.messages(0, 4, [1])
    assert message.size_bits == sum(
        min(k * (32 + math.ceil(math.log2(d))), 32 * k + d) for k, d in zip(counts, sizes, strict=True)
    )
    assert not learner.takes_late and not learner.takes_motion
    assert play.cost(0).flops["compression"] == 6.0 * sum(sizes)


def test_a_server_gets_what_was_left_out_later() -> None:
    """w⁰ + C(Δ + e): a tenth of each part's weights changes, and what has come and e are all changes together."""
    top = {"name": "top_k", "ratio": 0.1, "error_feedback": True}
    learner = make_learner(
        "dmml", modalities=("audio",), precision="float64", has_server=True, compression=top, devices=4
    )
    play: Any = Play(learner)
    told: dict[str, torch.Tensor] = {}
    for t in (1, 2):
        before = play.models()[0]
        play.train(0, t)
        after, sent = play.models()[0], play.work.value(play.sent[0])
        memory = play.work.value(play.states[0]).memory
        for part, own in sent.items():
            said = own.weights - before[part].weights
            assert int((said != 0).sum()) <= math.ceil(round(0.1 * len(said), 6))
            meant = after[part].weights - before[part].weights
            torch.testing.assert_close(said + memory.error[part].tensor, meant + told.get(part, 0.0))
            told[part] = memory.error[part].tensor
    size = {m.size_bits for m in learner.messages(0, 1, [4])}
    back = {m.size_bits for m in learner.messages(4, 1, [0])}
    assert 0.1 * max(back) < max(size) < 0.15 * max(back)


@pytest.mark.parametrize(
    ("name", "changes", "text"),
    [
        ("dmml_kd_balance", {"compression": TOP}, "learner.compression: dmml_kd_balance measures"),
        ("dmml", {"compression": {**TOP, "error_feedback": True}}, "without an edge server devices gossip"),
    ],
)
def test_what_means_nothing_is_refused(name: str, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ScenarioError, match=text):
        make_learner(name, **changes)
