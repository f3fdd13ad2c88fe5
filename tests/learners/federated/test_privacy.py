"""Differential privacy: norms and noise by hand, gradients of single samples, and ε against published values."""

from __future__ import annotations

import math
from typing import Any

import networkx as nx
import pytest
import torch
from server_play import AUDIO, Play, Together, assert_models_close, initial, jobs_of, make
from test_compression import trained
from tiny_task import Deal, make_learner, make_setup, play_of

from learners.data.dataset import Share
from learners.networks.late_fusion import FUSION
from learners.training.late_fusion.sending import privatised
from learners.training.privacy import ORDERS, PrivacyOptions, divergence, epsilon
from netsim.core.errors import ScenarioError

EARS = {
    "head_hidden": 6,
    "batch_size": 8,
    "networks": {"audio": {"name": "mlp", "hidden": [6]}, "visual": {"name": "mlp", "hidden": [5]}},
}
"""Two modalities without batch normalisation."""


@pytest.mark.parametrize(
    ("share", "z", "uses", "delta", "expected"),
    [
        (0.01, 4.0, 10_000, 1e-5, 1.26),  # Abadi et al. 2016, Section 3.2
        (256 / 60_000, 1.1, 14_062, 1e-5, 3.01),  # TensorFlow Privacy, table of its MNIST tutorial
    ],
)
def test_published_values_of_epsilon(
    share: float, z: float, uses: int, delta: float, expected: float
) -> None:
    """They are of the older way from divergences to ε, ε(α) + log(1/δ)/(α − 1); ours is never more."""
    orders = [order for order in ORDERS if order.is_integer()]
    older = min(uses * divergence(share, z, a) + math.log(1 / delta) / (a - 1) for a in orders)
    assert round(older, 2) == expected
    assert 0.8 * older < epsilon(share, z, uses, delta) < older


@pytest.mark.parametrize(
    ("share", "z", "uses", "expected"),
    [(0.01, 4.0, 10_000, 1.0354900660362476), (1.0, 1.0, 1, 4.728507067217623), (0.2, 1.0, 40, 10.161407526944293),
     (256 / 60_000, 1.1, 14_062, 2.5965558689607486), (0.01, 1.0, 1000, 2.1013652716430564)],
)  # fmt: skip
def test_epsilon_is_that_of_opacus(share: float, z: float, uses: int, expected: float) -> None:
    """Opacus 1.6.0, δ = 1e-5. It takes broken orders, too: where samples are drawn, ours is at most 2 % more."""
    found = epsilon(share, z, uses, 1e-5)
    assert expected * (1 - 1e-9) <= found <= expected * (1 + (1e-9 if share == 1 else 0.02))


def test_epsilon_grows_with_uses_and_falls_with_noise() -> None:
    assert epsilon(0.1, 1.0, 0, 1e-5) == 0
    assert epsilon(0.1, 1.0, 10, 1e-5) < epsilon(0.1, 1.0, 20, 1e-5) < epsilon(0.1, 0.5, 20, 1e-5)
    assert epsilon(0.1, 1.0, 10, 1e-5) < epsilon(0.2, 1.0, 10, 1e-5) < epsilon(1.0, 1.0, 10, 1e-5)


def hidden(change: list[float], seed: int = 1, **privacy: Any) -> torch.Tensor:
    before = trained([1.0] * len(change))
    inputs = {
        "privacy": PrivacyOptions(**privacy), "local": {}, "seed": seed, "before": before.state, "epsilon": 2.0,
        "trained": trained([1.0 + one for one in change]),
    }  # fmt: skip
    (found,) = privatised([inputs])
    assert [m.value for m in found.metrics if m.name == "epsilon"] == [2.0]
    return found.trained.state[FUSION].weights - 1.0


def test_a_change_is_shortened_by_hand() -> None:
    """(3, 4) has norm 5: with C = 1 it becomes (0.6, 0.8), with C = 10 it stays; next to no noise."""
    assert hidden([3.0, 4.0], clip=1.0, noise_multiplier=1e-9).tolist() == pytest.approx([0.6, 0.8])
    assert hidden([3.0, 4.0], clip=10.0, noise_multiplier=1e-9).tolist() == pytest.approx([3.0, 4.0])


def test_noise_has_the_deviation_z_times_c() -> None:
    """Within five standard errors of 20,000 numbers; another seed, other noise."""
    count = 20_000
    one, other = (hidden([0.0] * count, seed, clip=2.0, noise_multiplier=1.5) for seed in (1, 2))
    assert float(one.std()) == pytest.approx(3.0, rel=5 / (2 * count) ** 0.5)
    assert abs(float(one.mean())) < 5 * 3.0 / count**0.5
    assert abs(float((one * other).mean())) < 5 * 9.0 / count**0.5


class Rows(Deal):
    """Device 0 has the training samples ``rows``, of which those that are ``deaf`` have no sound."""

    def __init__(self, rows: list[int], deaf: list[int]) -> None:
        super().__init__()
        self.own, self.deaf = rows, deaf

    def deal(self, data: Any, device_count: int, seed: int) -> list[Any]:
        absent = {"audio": data.train[sorted({*self.own} & {*self.deaf})]}
        first = Share(data.train[self.own], data.modalities, absent if len(absent["audio"]) else {})
        return [first, *super().deal(data, device_count, seed)[1:]]


@pytest.mark.parametrize("clip", [1e9, 0.3])
@pytest.mark.parametrize("deaf", [[], [1, 4, 5]])
def test_a_step_is_the_mean_of_shortened_gradients(clip: float, deaf: list[int]) -> None:
    """One step on 8 samples without noise: each sample's gradient from a plain step on it alone, shortened to C.

    Some of them may have no sound: then their audio trunk and head have no gradient. Each of the other two heads counts
    a third, and a half where there is no such trunk.
    """
    plain = {**EARS, "momentum": 0.0, "weight_decay": 0.0, "learning_rate": 0.05, "local_steps": 1,
             "validation_share": 0.0, "precision": "float64"}  # fmt: skip

    def step(rows: list[int], more: Any) -> torch.Tensor:
        learner = make("fedavg", **plain, partition=Rows(rows, deaf), **more)
        job = jobs_of(learner)[0]
        after, whole = job.function(**job.inputs).state, initial(learner)
        moved = {n: (whole[n].weights - own.weights) / 0.05 for n, own in after.items()}
        return torch.cat([moved.get(n, torch.zeros_like(own.weights)) for n, own in whole.items()])

    gradients = [step([row], {}) * (2 / 3 if row in deaf else 1) for row in range(8)]
    expected = sum(g * min(1.0, clip / float(g.norm())) for g in gradients) / 8
    assert clip > 1 or max(float(g.norm()) for g in gradients) > clip
    more = {"privacy": {"clip": clip, "noise_multiplier": 1e-12 / clip, "mode": "sample"}}
    torch.testing.assert_close(step(list(range(8)), more), expected, rtol=1e-5, atol=1e-6)


def test_every_step_of_a_private_training_has_noise() -> None:
    """One step of η = 1 and C = 1e-9: what changes is noise, with deviation z C/B."""
    more = {"learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0, "local_steps": 1}
    noise = {"clip": 1e-6, "noise_multiplier": 4e6, "mode": "sample"}
    job = jobs_of(make("fedavg", **{**EARS, **more}, privacy=noise, precision="float64"))[0]
    after = job.function(**job.inputs)
    change = torch.cat([after.state[n].weights - job.inputs["state"][n].weights for n in after.state])
    assert float(change.std()) == pytest.approx(4.0 / 8, rel=5 / (2 * len(change)) ** 0.5)


@pytest.mark.parametrize("mode", ["update", "sample"])
def test_epsilon_is_told_in_each_round_and_goes_on(mode: str) -> None:
    """Device 2 takes part in the second of two rounds alone: its ε is that of one round, the others' of two."""
    noise = {"clip": 1.0, "noise_multiplier": 2.0, "mode": mode, "delta": 1e-4}
    learner = make("fedavg", **AUDIO, privacy=noise, validation_share=0.0)
    play = Play(learner)
    first, second = (play.play(1, {1: chosen})[-1] for chosen in ([0, 1], [0, 1, 2]))
    share, uses = (8 / 32, 4) if mode == "sample" else (1.0, 1)
    once, twice = (epsilon(share, 2.0, n * uses, 1e-4) for n in (1, 2))
    told = [
        {k: v for (k, name, _), v in play.metrics(turn).items() if name == "epsilon"}
        for turn in (first, second)
    ]
    assert told == [{0: once, 1: once}, {0: twice, 1: twice, 2: once}]
    assert second.costs[0].flops["privacy"] == 4.0 * learner._federation.numbers(("audio",)) * (
        32 if mode == "sample" else 1
    )


@pytest.mark.parametrize("compression", ["none", "top_k"])
def test_without_a_server_a_device_goes_on_from_its_noisy_model(compression: str) -> None:
    """So what it sends later says no more; alone and with others the noise is the device's own."""
    noise = {"clip": 1e-9, "noise_multiplier": 1e9, "mode": "update"}
    play = play_of(make_learner("fedavg", nx.path_graph(3), **AUDIO, privacy=noise, compression=compression))
    start = play.models()
    for k in play.learner.graph:
        assert play.train(k, 1)["epsilon", ""] == epsilon(1.0, 1e9, 1, 1e-5)
        own = play.models()[k]
        moved = torch.cat([own[n].weights - start[k][n].weights for n in own])
        assert 0.5 < float(moved.std()) < 1.5


def test_noise_is_the_same_stacked() -> None:
    noise = {"clip": 0.5, "noise_multiplier": 0.1}
    one, other = (Play(make("fedavg", **AUDIO, privacy=noise), executor) for executor in (None, Together()))
    for play in (one, other):
        play.play(2)
    assert_models_close(one.parts(), other.parts())


@pytest.mark.parametrize("mode", ["update", "sample"])
def test_running_statistics_are_refused(mode: str) -> None:
    noise = {"clip": 1.0, "noise_multiplier": 1.0, "mode": mode}
    with pytest.raises(ScenarioError, match=r"learner.privacy: trunk/visual has running statistics"):
        make("fedavg", privacy=noise)
    if mode == "update":
        make("fedavg", privacy=noise, local=("bn",))


@pytest.mark.parametrize(
    ("learner", "privacy"),
    [
        ("fedavg", {"clip": 0, "noise_multiplier": 1}),
        ("fedavg", {"clip": 1}),
        ("fedhgb", {"clip": 1, "noise_multiplier": 1}),
        ("fedavg", {"clip": 1, "noise_multiplier": 1, "mode": "device"}),
    ],
)
def test_bad_input_is_refused(learner: str, privacy: Any) -> None:
    with pytest.raises(ValueError, match="privacy"):
        make_setup(learner, has_server=True, privacy=privacy)
