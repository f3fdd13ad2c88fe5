"""The methods as learners: two rounds by hand, and what one method is in the limit of another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from server_play import (
    AUDIO,
    EARS,
    Turn,
    assert_models_close,
    begin,
    combine,
    make,
    model,
    play,
    train,
    upload,
)
from tiny_task import Deal, make_setup
from torch.nn import functional as F

from learners.checks import fingerprint
from learners.data.dataset import Share
from learners.federated.fedhgb import FedHGB
from learners.federated.local_update import Trained
from learners.federated.weights import Losses
from learners.training.costs import BITS_PER_NUMBER
from netsim.core.errors import ScenarioError
from netsim.scenario.model import Costs, Evaluation, StatedCosts

METHODS = ("fedavg", "fedprox", "fednova", "fedatt", "fedhgb", "mgb", "cgb", "fedasync", "fedbuff")
MIXED = Deal({0: ("audio",), 1: ("audio", "visual"), 2: ("visual",)})
PLAIN = {"momentum": 0.0, "weight_decay": 0.0}
FULL_BATCH = {**PLAIN, "batch_size": 1000, "validation_share": 0.0}


# What all of them keep.


@pytest.mark.parametrize("name", (*METHODS, "isolated_clients", "centralized_server"))
def test_all_begin_with_the_same_weights(name: str) -> None:
    assert fingerprint(make(name)._initial) == fingerprint(make("fedavg")._initial)


def test_what_never_arrives_is_forgotten_too() -> None:
    """Device 1 is never heard; the server's old models must not live on in what it would have sent."""
    learner = make("fedavg")
    for t in range(1, 5):
        turn = Turn(t)
        begin(learner, turn, [0, 1])
        train(learner, turn)
        upload(learner, turn)
        combine(learner, turn, {0: turn.uploads[0].payload})
    assert {k: list(own) for k, own in learner._uploads.items()} == {1: [4]}


@pytest.mark.parametrize("name", METHODS)
def test_two_rounds_and_two_rounds_ahead_of_the_learning(name: str) -> None:
    """The clock may be two rounds ahead of the learning; nothing that is said or made depends on that."""
    one, other = make(name, partition=MIXED), make(name, partition=MIXED)
    turns, ahead = play(one), play(other, ahead=True)
    for now, later in zip(turns, ahead, strict=True):
        assert now.metrics == later.metrics and now.workloads == later.workloads
        assert [m[:2] for m in now.downloads] == [m[:2] for m in later.downloads]
        assert {k: m[:2] for k, m in now.uploads.items()} == {k: m[:2] for k, m in later.uploads.items()}
    for part in model(one, 2):
        assert fingerprint(model(one, 2)[part]) == fingerprint(model(other, 2)[part])
    assert not model(one, 2)["fusion"].weights.equal(model(make(name), 0)["fusion"].weights)
    assert {name for _, name, _ in turns[1].metrics} >= {"loss_total", "loss_task", "loss_head", "accuracy"}
    assert not one._uploads and set(one._versions) == {2}, "what is over is forgotten"


@pytest.mark.parametrize("name", METHODS)
def test_they_learn(name: str) -> None:
    """Three classes that a linear model tells apart: far above a third after some rounds."""
    changes: dict[str, Any] = {"fedatt": {"attention_step": 1.0}}.get(name, {})
    # With two devices each has samples of all classes; with three each would have one.
    learner = make(name, devices=2, local_epochs=2, head_hidden=16, evaluation=Evaluation(every=8), **changes)
    turns = play(learner, rounds=8)
    # What blends heads looks at four held-out samples here, and may give the fused head too little to learn from.
    judged = ("audio", "visual", "") if name in ("fedhgb", "mgb") else ("",)
    assert max(turns[-1].metrics[learner.server, "accuracy", head] for head in judged) > 0.6


@pytest.mark.parametrize("name", METHODS)
def test_nothing_arrives_and_nothing_changes(name: str) -> None:
    learner = make(name)
    turn = Turn(1)
    begin(learner, turn, [0, 1])
    combine(learner, turn, {})
    assert fingerprint(model(learner, 1)) == fingerprint(learner._initial)
    assert fingerprint(learner._version(1).head_weights) == fingerprint(make(name)._version(0).head_weights)


@pytest.mark.parametrize("name", METHODS)
def test_a_modality_that_no_participant_holds_keeps_its_weights(name: str) -> None:
    learner = make(name, partition=MIXED)
    play(learner, rounds=1, participants={1: [0]})
    before, after = learner._initial, model(learner, 1)
    for part in ("trunk/visual", "head/visual"):
        assert after[part].row.tensor.equal(before[part].row.tensor)
    assert not after["trunk/audio"].weights.equal(before["trunk/audio"].weights)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_size_of_zero_changes_nothing_but_statistics(name: str) -> None:
    learner = make(name, partition=MIXED, learning_rate=0.0)
    play(learner)
    for part, held in model(learner, 2).items():
        torch.testing.assert_close(held.weights, learner._initial[part].weights, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", METHODS)
def test_counters_are_the_servers_own(name: str) -> None:
    learner = make(name)
    play(learner, rounds=1)
    before, after = learner._initial["trunk/visual"], model(learner, 1)["trunk/visual"]
    counters = [key for key in before if "num_batches" in key]
    assert counters and all(after[key].equal(before[key]) for key in counters)
    assert any("running_var" in key and not after[key].equal(before[key]) for key in before)
    assert all(bool((after[key] > 0).all()) for key in before if "running_var" in key)


def test_devices_without_samples_sit_out() -> None:
    learner = make("fedhgb", partition=Deal({1: ()}, rows={2: 0}))
    turns = play(learner)
    assert set(turns[0].uploads) == {0} and learner.facts()["sit_out"] == [1, 2]
    assert learner.sample_counts().keys() == {0}
    assert learner.training_job(1, 1, learner.workload(1, 1, Any)) is None
    assert learner.messages(1, 1, [learner.server]) == ()


# What travels.


def test_sizes_and_flops_by_hand() -> None:
    """Audio: trunk 5·12 + 12 + 12·8 + 8 = 176, head 8·6 + 6 + 6·3 + 3 = 75, fusion 16·6 + 6 + 42 + 21 = 165 numbers.

    416 numbers of 8 bits. FLOPs of a sample: trunk 60 + 96, head 48 + 18 and fusion 96 + 36 + 18 multiplications, times
    2, times 2 with a backward pass as dear as a forward pass; the 26 samples are 3 batches of 8 and one of 2.
    """
    learner = make("fedavg", **EARS, costs=Costs(bits_per_parameter=8, backward_to_forward=1))
    (turn,) = play(learner, rounds=1)
    assert {m.size_bits for m in (*turn.downloads, *turn.uploads.values())} == {416 * 8}
    assert turn.workloads[0].iterations == {"audio": 4}
    assert turn.workloads[0].flops == {"audio": 26 * 4 * 222, "fusion": 26 * 4 * 150}
    assert turn.workloads[learner.server].flops == {"aggregation": 2 * 3 * 416}


def test_heads_that_nobody_trains_are_not_paid_for() -> None:
    """As above without the head of 75 numbers and 66 multiplications."""
    learner = make("fedavg", **EARS, losses="fused", costs=Costs(bits_per_parameter=8, backward_to_forward=1))
    (turn,) = play(learner, rounds=1)
    assert {m.size_bits for m in (*turn.downloads, *turn.uploads.values())} == {341 * 8}
    assert turn.workloads[0].flops == {"audio": 26 * 4 * 156, "fusion": 26 * 4 * 150}
    assert turn.workloads[learner.server].flops == {"aggregation": 2 * 3 * 341}
    assert {(name, m) for _, name, m in turn.metrics} == {
        *(("loss_total", ""), ("loss_task", ""), ("accuracy", ""), ("loss_test", ""))
    }


@pytest.mark.parametrize("name", (*METHODS, "isolated_clients"))
@pytest.mark.parametrize(("hidden", "numbers", "products"), [(None, 8 * 3 + 3, 24), (6, 54 + 21, 48 + 18)])
def test_one_modality_has_one_head(name: str, hidden: int | None, numbers: int, products: int) -> None:
    """Of the trunk's 8 features, with a hidden layer of 6 units or without: 176 numbers and 156 products beside it."""
    learner = make(name, modalities=("audio",), head_hidden=hidden, costs=Costs(backward_to_forward=1))
    (turn,) = play(learner, rounds=1)
    assert learner.facts()["numbers_by_part"] == {"trunk/audio": 176, "fusion": numbers}
    sent = 0.0 if name == "isolated_clients" else 32 * (176 + numbers)
    beside = {"fedhgb": 3, "mgb": 1, "cgb": 2, "fednova": 1}.get(name, 0)  # z, ΔG and ΔO, or τ
    assert turn.uploads[0].size_bits == sent + beside * BITS_PER_NUMBER
    flops = turn.workloads[0].flops
    assert (flops["audio"], flops["fusion"]) == (26 * 4 * 156, 26 * 4 * products)
    assert {m for _, metric, m in turn.metrics if metric in ("accuracy", "loss_head")} == {""}


@pytest.mark.parametrize(
    ("name", "up", "down"),
    [("fedhgb", 4, 3), ("mgb", 2, 3), ("cgb", 2, 0), ("fednova", 1, 0), ("fedatt", 0, 0)],
)
def test_what_is_sent_beside_the_model(name: str, up: int, down: int) -> None:
    """Two heads on each client, three on the server: z of them up and down, ΔG and ΔO up; τ for FedNova."""
    (turn,), (plain,) = (play(make(n, **EARS), rounds=1) for n in (name, "fedavg"))
    assert turn.uploads[0].size_bits - plain.uploads[0].size_bits == up * BITS_PER_NUMBER
    assert turn.downloads[0].size_bits - plain.downloads[0].size_bits == down * BITS_PER_NUMBER


def test_measuring_costs_forward_passes() -> None:
    """26 training and 6 held-out samples; 40 % are 10 and 2, before and after: 24 forward passes of 372 products."""
    (turn,) = play(make("fedhgb", **EARS), rounds=1)
    assert turn.workloads[0].flops["measuring"] == 24 * 2 * (222 + 150)


def test_each_device_is_sent_what_it_owns_or_all_hear_everything() -> None:
    learner = make("fedavg", partition=MIXED)
    apart = learner.download(1, [0, 1, 2])
    assert {m.receivers: m.size_bits for m in apart} == {
        (k,): learner._costs.message_bits(learner._clients[k].modalities) for k in range(3)
    }
    (together,) = learner.download(1, [0, 2], together=True)
    assert together.receivers == (0, 2)
    assert together.size_bits == learner._costs.message_bits(("audio", "visual"))


def test_stated_costs() -> None:
    stated = StatedCosts(
        flops_per_iteration={"audio": 100.0}, bits={"audio": 7.0}, common_bits=3.0, iterations=5
    )
    learner = make("fedavg", **AUDIO, costs=Costs(stated=stated))
    (turn,) = play(learner, rounds=1)
    assert turn.workloads[0].flops["audio"] == pytest.approx(500.0) and turn.uploads[0].size_bits == 10.0
    assert turn.results[0].steps == 5
    with pytest.raises(ScenarioError, match="nothing is stated for modality visual"):
        make("fedavg", costs=Costs(stated=stated))


# FedAvg.


def test_a_single_client_makes_the_servers_model() -> None:
    for name in ("fedavg", "fedprox", "fednova", "fedhgb", "mgb", "cgb"):
        learner = make(name, devices=1)
        (turn,) = play(learner, rounds=1)
        for part, held in model(learner, 1).items():
            torch.testing.assert_close(
                held.weights, turn.results[0].state[part].weights, rtol=1e-5, atol=1e-6
            )


def test_one_full_batch_of_equal_clients_is_a_step_on_all_their_samples() -> None:
    """Mean of gradients over equal clients = gradient of the mean loss over all samples."""
    learner = make("fedavg", **{**AUDIO, **FULL_BATCH})
    play(learner, rounds=1)
    pooled = make(
        "fedavg", devices=1, **{**AUDIO, **FULL_BATCH}, partition=Deal()
    )  # the one device is dealt every row
    play(pooled, rounds=1)
    assert_models_close(model(learner, 1), model(pooled, 1))


class Same(Deal):
    """Everybody has the same rows."""

    def deal(self, data: Any, device_count: int, seed: int) -> list[Share]:
        return [Share(data.train[:24], data.modalities)] * device_count


def test_clients_with_the_same_data_agree() -> None:
    learner = make("fedavg", partition=Same(), **FULL_BATCH)
    (turn,) = play(learner, rounds=1)
    for part, held in model(learner, 1).items():
        torch.testing.assert_close(held.weights, turn.results[1].state[part].weights, rtol=1e-4, atol=1e-5)


def test_who_answers_first_does_not_matter() -> None:
    one, other = make("fedavg"), make("fedavg")
    for learner, order in ((one, [0, 1, 2]), (other, [2, 0, 1])):
        turn = Turn(1)
        begin(learner, turn, order)
        train(learner, turn)
        upload(learner, turn)
        combine(learner, turn, {k: turn.uploads[k].payload for k in order})
    assert fingerprint(model(one, 1)) == fingerprint(model(other, 1))


@pytest.mark.parametrize(("weights", "expected"), [("samples", 0.25), ("uniform", 0.5)])
def test_clients_count_by_their_samples(weights: str, expected: float) -> None:
    """8 samples beside 24: a quarter."""
    learner = make(
        "fedavg",
        devices=2,
        partition=Deal(rows={0: 8, 1: 24}),
        validation_share=0.0,
        aggregation_weights=weights,
    )
    (turn,) = play(learner, rounds=1)
    own, other = (turn.results[k].state["fusion"].weights for k in (0, 1))
    mean = expected * own + (1 - expected) * other
    torch.testing.assert_close(model(learner, 1)["fusion"].weights, mean, rtol=1e-5, atol=1e-6)


# Limits of one another.


def test_fedprox_without_its_term_is_fedavg_bit_for_bit() -> None:
    one, other = make("fedprox", mu=0.0), make("fedavg")
    assert [t.metrics for t in play(one)] == [t.metrics for t in play(other)]
    assert fingerprint(model(one, 2)) == fingerprint(model(other, 2))


def test_fednova_with_equal_work_is_fedavg() -> None:
    one, other = (make(name, local_steps=4) for name in ("fednova", "fedavg"))
    play(one)
    play(other)
    assert_models_close(model(one, 2), model(other, 2), rtol=1e-4, atol=1e-5)


def test_fednova_with_unequal_work_is_not() -> None:
    changes = {**AUDIO, "partition": Deal(rows={0: 10, 1: 40})}
    one, other = (make(name, devices=2, **changes) for name in ("fednova", "fedavg"))
    (turn,), _ = play(one, rounds=1), play(other, rounds=1)
    assert [turn.results[k].steps for k in (0, 1)] == [1, 4]
    assert (model(one, 1)["fusion"].weights - model(other, 1)["fusion"].weights).abs().max() > 1e-4


def test_fednova_with_a_proximal_term_takes_steps_for_tau() -> None:
    """Authors' code: τ_eff = Σ p τ = 3 where all take 3 steps, ‖a‖ = 1 + 0.95 + 0.9025 at η μ = 0.05."""
    learner = make("fednova", **{**AUDIO, **PLAIN}, mu=1.0, last_batch="drop")
    (turn,) = play(learner, rounds=1)
    norm = 1 + 0.95 + 0.95**2
    assert turn.results[0].normaliser == pytest.approx(norm)
    start = learner._initial["fusion"].weights
    mean = sum(turn.results[k].state["fusion"].weights for k in range(3)) / 3
    expected = start + 3 / norm * (mean - start)
    torch.testing.assert_close(model(learner, 1)["fusion"].weights, expected, rtol=1e-4, atol=1e-6)


def test_fedatt_noise_is_on_weights_and_the_same_again() -> None:
    one, other, quiet = (make("fedatt", noise=noise) for noise in (0.01, 0.01, 0.0))
    for learner in (one, other, quiet):
        play(learner, rounds=1)
    assert fingerprint(model(one, 1)) == fingerprint(model(other, 1))
    name = "trunk/visual"
    layout = model(one, 1)[name].layout
    noise = (model(one, 1)[name].row.tensor - model(quiet, 1)[name].row.tensor)[: layout.sent]
    assert 0.008 < float(noise[: layout.weights].std()) < 0.012 and not noise[layout.weights :].any()


# FedHGB.


class Unblended(FedHGB):
    """Both halves switched off."""

    blends_heads = False
    blends_clients = False


def test_hgb_without_blending_is_fedavg_of_equal_clients_on_the_mean_of_all_losses() -> None:
    learner = Unblended(make_setup("fedhgb", devices=3, partition=MIXED, head_hidden=6, learning_rate=0.05))
    learner.begin(None)
    plain = make("fedavg", partition=MIXED, aggregation_weights="uniform", losses="mean")
    ours, theirs = play(learner), play(plain)
    assert fingerprint(model(learner, 2)) == fingerprint(model(plain, 2))
    assert [t.workloads for t in ours] == [t.workloads for t in theirs]


def test_mgb_averages_uniformly_and_cgb_keeps_z() -> None:
    clients = make("mgb", partition=Deal(rows={0: 8}))
    (turn,) = play(clients, rounds=1)
    assert turn.metrics[clients.server, "client_weight_max", ""] == 1 / 3
    mean = sum(turn.results[k].state["fusion"].weights for k in range(3)) / 3
    torch.testing.assert_close(model(clients, 1)["fusion"].weights, mean, rtol=1e-5, atol=1e-6)
    assert set(clients._version(1).head_weights.values()) != {1 / 3}

    heads = make("cgb")
    for turn in play(heads):
        assert {turn.metrics[heads.server, "modality_weight", m] for m in ("audio", "visual", "")} == {1 / 3}
        assert turn.metrics[heads.server, "client_weight_max", ""] > 1 / 3


def measured(learner: Any, k: int, turn: Turn, changes: dict[str, tuple[float, float]]) -> None:
    """Say that the client has measured these (ΔG, ΔO), and that it ends where it began plus its number."""
    before = {head: Losses(1.0, 1.0) for head in changes}
    after = {head: Losses(1.0 - gain - over, 1.0 - gain) for head, (gain, over) in changes.items()}
    state = {}
    for name in learner._architecture.parts(learner._clients[k].modalities):
        part = learner._initial[name]
        row = part.row.tensor + float(k)
        state[name] = type(part)(type(part.row)(row[None], 0), part.layout)
    result = Trained(state, 0.0, {}, 1, 1.0, before, after)
    turn.results[k] = result
    learner.apply(k, turn.round, result)


def test_hgb_by_hand() -> None:
    """Client 0 has audio (ΔG, ΔO) = (0.3, 0.2) and fused (0.1, 0.1); client 1 has audio (0.2, 0.1), fused (0, 0.1).

    Eq. (13): client 0 has 7.5 and 10, z⁰ = (3/7, 4/7); client 1 has 20 and 0, z¹ = (1, 0).
    Eq. (15): sums 10/7 and 4/7, z = (5/7, 2/7) of the two thirds that the third head, which nobody has, leaves.
    Line 22: ΔG⁰ = 3/7 · 0.3 + 4/7 · 0.1 = 1.3/7, ΔO⁰ = 3/7 · 0.2 + 4/7 · 0.1 = 1/7; ΔG¹ = 0.2, ΔO¹ = 0.1.
    Eq. (14): 1.3/7 · 49 = 9.1 and 0.2/0.01 = 20, p = (9.1, 20)/29.1. Client 1 ends one above client 0, which ends where
    it began: the server's weights rise by 20/29.1. M-GB: by 1/2. C-GB, with z = 1/2 everywhere: ΔG⁰ = 0.2, ΔO⁰ = 0.15,
    8.889; ΔG¹ = 0.1, ΔO¹ = 0.1, 10: by 10/18.889, and z stays.
    """
    expected = {"fedhgb": (20 / 29.1, 5 / 7), "mgb": (0.5, 5 / 7), "cgb": (10 / (80 / 9 + 10), 0.5)}
    for name, (rise, z) in expected.items():
        learner = make(name, devices=2, **EARS)
        turn = Turn(1)
        begin(learner, turn, [0, 1])
        measured(learner, 0, turn, {"audio": (0.3, 0.2), "fusion": (0.1, 0.1)})
        measured(learner, 1, turn, {"audio": (0.2, 0.1), "fusion": (0.0, 0.1)})
        upload(learner, turn)
        combine(learner, turn)
        assert turn.metrics[learner.server, "modality_weight", "audio"] == pytest.approx(z * 2 / 3)
        assert turn.metrics[learner.server, "modality_weight", ""] == pytest.approx((1 - z) * 2 / 3)
        moved = model(learner, 1)["fusion"].weights - learner._initial["fusion"].weights
        torch.testing.assert_close(moved, torch.full_like(moved, rise), rtol=1e-4, atol=1e-5)
        begin(learner, second := Turn(2), [0, 1])
        job = learner.training_job(0, 2, second.workloads[0])
        assert job.inputs["head_weights"] == pytest.approx({"audio": z, "fusion": 1 - z})


def test_hgb_blends_the_holders_of_a_part_only() -> None:
    """Client 1 holds no audio: audio parts are client 0's and 2's. Client 2 has not generalised: they are client 0's.

    Of the fused head clients 0 and 1 have the same ratio, a half each, (0 + 1)/2. z: client 0 votes (1/2, -, 1/2),
    client 1 (-, 1/2, 1/2), and client 2, whose heads cannot be told apart, thirds: (5/6, 5/6, 4/3)/3.
    """
    learner = make("fedhgb", partition=Deal({0: ("audio",), 1: ("visual",), 2: ("audio", "visual")}))
    turn = Turn(1)
    begin(learner, turn, [0, 1, 2])
    measured(learner, 0, turn, {"audio": (0.2, 0.1), "fusion": (0.2, 0.1)})
    measured(learner, 1, turn, {"visual": (0.2, 0.1), "fusion": (0.2, 0.1)})
    measured(learner, 2, turn, dict.fromkeys(("audio", "visual", "fusion"), (-0.1, 0.0)))
    upload(learner, turn)
    combine(learner, turn)
    new, old = model(learner, 1), learner._initial
    for part, rise in (("trunk/audio", 0.0), ("head/visual", 1.0), ("fusion", 0.5)):
        torch.testing.assert_close(new[part].weights, old[part].weights + rise, rtol=1e-4, atol=1e-5)
    z = {m: turn.metrics[learner.server, "modality_weight", m] for m in ("audio", "visual", "")}
    assert z == pytest.approx({"audio": 5 / 18, "visual": 5 / 18, "": 8 / 18})
    assert turn.metrics[learner.server, "blending_floor_hits", ""] == 3 + 1  # its three heads, and itself
    assert turn.metrics[learner.server, "blending_fallbacks", ""] == 1


def test_hgb_a_device_shares_z_among_the_heads_that_it_has() -> None:
    """Of z = (1/3, 1/3, 1/3) received, two heads: 1/2 each, so that its steps are as large as everybody's."""
    learner = make("fedhgb", partition=MIXED)
    assert learner._head_weights(learner._version(0), ("audio",)) == pytest.approx(
        {"audio": 0.5, "fusion": 0.5}
    )


# Asynchronous servers.


def late_upload(name: str, **changes: Any) -> tuple[Any, Turn, torch.Tensor]:
    """Device 1 begins with version 0 and arrives in round 2, when device 0 has made version 1 and comes again."""
    learner = make(name, devices=2, **AUDIO, **changes)
    first = Turn(1)
    begin(learner, first, [0, 1])
    train(learner, first)
    upload(learner, first)
    combine(learner, first, {0: first.uploads[0].payload})
    between = model(learner, 1)["fusion"].weights.clone()
    second = Turn(2)
    begin(learner, second, [0])
    train(learner, second)
    upload(learner, second)
    combine(learner, second, {0: second.uploads[0].payload, 1: first.uploads[1].payload})
    second.results[1] = first.results[1]
    return learner, second, between


def test_fedasync_mixes_a_late_model_less() -> None:
    """α = 0.6, s = (staleness + 1)^-0.5: device 0 mixes 0.6 of itself, then device 1, one version late, 0.6/√2."""
    learner, turn, before = late_upload("fedasync")
    own, late = (turn.results[k].state["fusion"].weights for k in (0, 1))
    expected = 0.4 * before + 0.6 * own
    share = 0.6 / 2**0.5
    expected = (1 - share) * expected + share * late
    torch.testing.assert_close(model(learner, 2)["fusion"].weights, expected, rtol=1e-5, atol=1e-6)
    assert turn.metrics[learner.server, "staleness", ""] == 0.5


def test_fedbuff_steps_by_what_clients_changed_of_what_they_had() -> None:
    """From w to w + ½ (Δ_0 + Δ_1/√2), Δ_1 from version 0."""
    learner, turn, before = late_upload("fedbuff")
    own = turn.results[0].state["fusion"].weights - before
    late = turn.results[1].state["fusion"].weights - learner._initial["fusion"].weights
    expected = before + 0.5 * (own + late / 2**0.5)
    torch.testing.assert_close(model(learner, 2)["fusion"].weights, expected, rtol=1e-5, atol=1e-6)


# Trouble.


def test_a_client_that_diverges_stops_the_run() -> None:
    learner = make("fedavg", **{**AUDIO, "learning_rate": 1e12, "local_epochs": 4})
    with pytest.raises(ScenarioError, match="training of device 0 diverged in round 1"):
        play(learner)


def test_or_is_left_out() -> None:
    learner = make("fedavg", **{**AUDIO, "learning_rate": 1e12, "local_epochs": 4}, on_nan="drop")
    (turn,) = play(learner, rounds=1)
    assert turn.metrics[learner.server, "dropped", ""] == 3
    assert fingerprint(model(learner, 1)) == fingerprint(learner._initial)


@pytest.mark.parametrize(
    ("name", "changes", "complaint"),
    [
        ("fedavg", {"epochs_range": (5, 2)}, "epochs_range: must be"),
        ("fedavg", {"epochs_range": (2, 5), "local_steps": 3}, "cannot be used with local_steps"),
        ("fedhgb", {"validation_share": 0.0}, "greater than 0"),
        ("fedhgb", {"losses": "fused"}, "losses"),
    ],
)
def test_options_that_do_not_fit(name: str, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make_setup(name, **changes)


def test_evaluation_is_that_of_the_fused_head() -> None:
    learner = make("fedavg", evaluation=Evaluation(batch_size=7))
    (turn,) = play(learner, rounds=1)
    net = learner._architecture.build().eval()
    for name, module in net.parts().items():
        module.load_state_dict(dict(model(learner, 1)[name]))
    store, rows = learner._samples.store, torch.as_tensor(np.asarray(learner._test_rows))
    with torch.no_grad():
        outputs = net({m: store.seen(m, rows, torch.float32) for m in net.modalities}, len(rows))
    labels, server = store.labels[rows], learner.server
    assert turn.metrics[server, "loss_test", ""] == pytest.approx(
        F.cross_entropy(outputs.fused, labels).item(), rel=1e-5
    )
    right = {"": outputs.fused, **outputs.heads}
    for modality, logits in right.items():
        share = (logits.argmax(1) == labels).double().mean().item()
        assert turn.metrics[server, "accuracy", modality] == pytest.approx(share)
