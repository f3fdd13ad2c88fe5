"""The methods as learners: two rounds by hand, and what one method is in the limit of another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from server_play import (
    AUDIO,
    EARS,
    SMALL,
    Play,
    Turn,
    assert_models_close,
    initial,
    job_of,
    make,
    played,
)
from tiny_task import Deal, make_setup
from torch.nn import functional as F

from learners.algorithms.fedhgb import FedHGB, own_shares
from learners.checks import fingerprint
from learners.data.dataset import Share
from learners.training.costs import BITS_PER_NUMBER
from learners.training.late_fusion.exchange import Upload
from learners.training.late_fusion.local_update import Trained
from learners.training.late_fusion.weights import Losses
from netsim.core.errors import ScenarioError
from netsim.scenario.model import Costs, Evaluation, StatedCosts

METHODS = ("fedavg", "fedprox", "fednova", "fedatt", "fedhgb", "mgb", "cgb", "fedasync", "fedbuff")
MIXED = Deal({0: ("audio",), 1: ("audio", "visual"), 2: ("visual",)})
PLAIN = {"momentum": 0.0, "weight_decay": 0.0}
FULL_BATCH = {**PLAIN, "batch_size": 1000, "validation_share": 0.0}


# What all of them keep.


@pytest.mark.parametrize("name", METHODS)
def test_all_begin_with_the_same_weights(name: str) -> None:
    assert fingerprint(initial(make(name))) == fingerprint(initial(make("fedavg")))


@pytest.mark.parametrize("name", METHODS)
def test_two_rounds_and_two_rounds_ahead_of_the_learning(name: str) -> None:
    """The clock may be two rounds ahead of the learning; nothing that is said or made depends on that."""
    one, other = Play(make(name, partition=MIXED)), Play(make(name, partition=MIXED))
    turns, ahead = one.play(), other.play(ahead=True)
    for now, later in zip(turns, ahead, strict=True):
        assert now.costs == later.costs and now.downloads == later.downloads and now.sent == later.sent
        assert one.metrics(now) == other.metrics(later)
        assert {name for _, name, _ in one.metrics(now)} >= {
            "loss_total",
            "loss_task",
            "loss_head",
            "accuracy",
        }
    assert fingerprint(one.parts()) == fingerprint(other.parts())
    assert not one.parts()["fusion"].weights.equal(initial(make(name))["fusion"].weights)


@pytest.mark.parametrize("name", METHODS)
def test_they_learn(name: str) -> None:
    """Three classes that a linear model tells apart: far above a third after some rounds."""
    changes: dict[str, Any] = {"fedatt": {"attention_step": 1.0}}.get(name, {})
    # With two devices each has samples of all classes; with three each would have one.
    play = played(
        name, 8, devices=2, local_epochs=2, head_hidden=16, evaluation=Evaluation(every=8), **changes
    )
    # What blends heads looks at four held-out samples here, and may give the fused head too little to learn from.
    heads = ("audio", "visual", "") if name in ("fedhgb", "mgb") else ("",)
    told = play.metrics(play.turns[-1])
    assert max(told[play.server, "accuracy", head] for head in heads) > 0.6


@pytest.mark.parametrize("name", METHODS)
def test_nothing_arrives_and_nothing_changes(name: str) -> None:
    play = Play(make(name))
    first = play.model()
    turn = play.begin([0, 1])
    play.combine(turn, {})
    assert fingerprint(play.model()[1:]) == fingerprint(first[1:]) and play.model().number == 1
    assert play.outbox is play.state


@pytest.mark.parametrize("name", METHODS)
def test_a_modality_that_no_participant_holds_keeps_its_weights(name: str) -> None:
    play = Play(make(name, partition=MIXED))
    play.play(1, {1: [0]})
    before, after = initial(play.learner), play.parts()
    for part in ("trunk/visual", "head/visual"):
        assert after[part].row.tensor.equal(before[part].row.tensor)
    assert not after["trunk/audio"].weights.equal(before["trunk/audio"].weights)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_size_of_zero_changes_nothing_but_statistics(name: str) -> None:
    play = played(name, partition=MIXED, learning_rate=0.0)
    for part, held in play.parts().items():
        torch.testing.assert_close(held.weights, initial(play.learner)[part].weights, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", METHODS)
def test_counters_are_the_servers_own(name: str) -> None:
    play = played(name, 1)
    before, after = initial(play.learner)["trunk/visual"], play.parts()["trunk/visual"]
    counters = [key for key in before if "num_batches" in key]
    assert counters and all(after[key].equal(before[key]) for key in counters)
    assert any("running_var" in key and not after[key].equal(before[key]) for key in before)
    assert all(bool((after[key] > 0).all()) for key in before if "running_var" in key)


def test_devices_without_samples_sit_out() -> None:
    play = Play(make("fedhgb", partition=Deal({1: ()}, rows={2: 0})))
    learner = play.learner
    turn = play.begin(range(3))
    assert set(turn.uploads) == {0} and learner.facts()["sit_out"] == [1, 2]
    assert learner.sample_counts().keys() == {0}
    assert learner.messages(1, 1, [play.server]) == ()
    assert learner.cost(1, 1, [play.server], None, None).total_flops == 0


# What travels.


def test_sizes_and_flops_by_hand() -> None:
    """Audio: trunk 5·12 + 12 + 12·8 + 8 = 176, head 8·6 + 6 + 6·3 + 3 = 75, fusion 16·6 + 6 + 42 + 21 = 165 numbers.

    416 numbers of 8 bits. FLOPs of a sample: trunk 60 + 96, head 48 + 18 and fusion 96 + 36 + 18 multiplications, times
    2, times 2 with a backward pass as dear as a forward pass; the 26 samples are 3 batches of 8 and one of 2.
    """
    play = played("fedavg", 1, **EARS, costs=Costs(bits_per_parameter=8, backward_to_forward=1))
    (turn,) = play.turns
    assert {m.size_bits for m in (*turn.downloads, *turn.sent.values())} == {416 * 8}
    assert turn.costs[0].iterations == {"audio": 4}
    assert turn.costs[0].flops == {"audio": 26 * 4 * 222, "fusion": 26 * 4 * 150}
    assert turn.costs[play.server].flops == {"aggregation": 2 * 3 * 416}


def test_the_server_is_charged_for_those_that_it_asked() -> None:
    """Of three, 0 and 2 have 416 numbers each; that 2 never answers does not matter."""
    play = Play(make("fedavg", **EARS))
    turn = play.begin([0, 2])
    play.combine(turn, {0: turn.uploads[0]})
    assert turn.costs[play.server].flops == {"aggregation": 2 * 2 * 416}


def test_heads_that_nobody_trains_are_not_paid_for() -> None:
    """As above without the head of 75 numbers and 66 multiplications."""
    costs = Costs(bits_per_parameter=8, backward_to_forward=1)
    play = played("fedavg", 1, **EARS, losses="fused", costs=costs)
    (turn,) = play.turns
    assert {m.size_bits for m in (*turn.downloads, *turn.sent.values())} == {341 * 8}
    assert turn.costs[0].flops == {"audio": 26 * 4 * 156, "fusion": 26 * 4 * 150}
    assert turn.costs[play.server].flops == {"aggregation": 2 * 3 * 341}
    assert {(name, m) for _, name, m in play.metrics(turn)} == {
        *(("loss_total", ""), ("loss_task", ""), ("accuracy", ""), ("loss_test", ""))
    }


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("hidden", "numbers", "products"), [(None, 8 * 3 + 3, 24), (6, 54 + 21, 48 + 18)])
def test_one_modality_has_one_head(name: str, hidden: int | None, numbers: int, products: int) -> None:
    """Of the trunk's 8 features, with a hidden layer of 6 units or without: 176 numbers and 156 products beside it."""
    costs = Costs(backward_to_forward=1)
    play = played(name, 1, modalities=("audio",), head_hidden=hidden, costs=costs)
    (turn,) = play.turns
    assert play.learner.facts()["numbers_by_part"] == {"trunk/audio": 176, "fusion": numbers}
    beside = {"fedhgb": 3, "mgb": 1, "cgb": 2, "fednova": 1}.get(name, 0)  # z, ΔG and ΔO, or τ
    assert turn.sent[0].size_bits == 32 * (176 + numbers) + beside * BITS_PER_NUMBER
    flops = turn.costs[0].flops
    assert (flops["audio"], flops["fusion"]) == (26 * 4 * 156, 26 * 4 * products)
    assert {m for _, metric, m in play.metrics(turn) if metric in ("accuracy", "loss_head")} == {""}


@pytest.mark.parametrize(
    ("name", "up", "down"),
    [("fedhgb", 4, 3), ("mgb", 2, 3), ("cgb", 2, 0), ("fednova", 1, 0), ("fedatt", 0, 0)],
)
def test_what_is_sent_beside_the_model(name: str, up: int, down: int) -> None:
    """Two heads on each client, three on the server: z of them up and down, ΔG and ΔO up; τ for FedNova."""
    turn, plain = (Play(make(n, **EARS)).begin(range(3)) for n in (name, "fedavg"))
    assert turn.sent[0].size_bits - plain.sent[0].size_bits == up * BITS_PER_NUMBER
    assert turn.downloads[0].size_bits - plain.downloads[0].size_bits == down * BITS_PER_NUMBER


@pytest.mark.parametrize(("name", "up"), [("fedhgb", 4), ("mgb", 4), ("cgb", 2)])
def test_what_is_sent_for_expectations(name: str, up: int) -> None:
    """The server works z out, from ΔG and ΔO of both heads; C-GB's z is known, so the blended ones are enough."""
    turn = Play(make(name, blending_estimate="expected", **EARS)).begin(range(3))
    plain = Play(make("fedavg", **EARS)).begin(range(3))
    assert turn.sent[0].size_bits - plain.sent[0].size_bits == up * BITS_PER_NUMBER


def test_measuring_costs_forward_passes() -> None:
    """26 training and 6 held-out samples; 40 % are 10 and 2, before and after: 24 forward passes of 372 products."""
    turn = Play(make("fedhgb", **EARS)).begin(range(3))
    assert turn.costs[0].flops["measuring"] == 24 * 2 * (222 + 150)


def test_each_device_is_sent_what_it_owns_or_all_hear_everything() -> None:
    learner = make("fedavg", partition=MIXED)
    server, sizes = learner.setup.server, learner._federation.costs.message_bits
    apart = learner.messages(server, 1, [0, 1, 2])
    assert {m.receivers: m.size_bits for m in apart} == {
        (k,): sizes(learner._clients[k].modalities) for k in range(3)
    }
    (together,) = learner.messages(server, 1, [0, 2], together=True)
    assert together.receivers == (0, 2)
    assert together.size_bits == sizes(("audio", "visual"))


def test_stated_costs() -> None:
    stated = StatedCosts(
        flops_per_iteration={"audio": 100.0}, bits={"audio": 7.0}, common_bits=3.0, iterations=5
    )
    play = Play(make("fedavg", **AUDIO, costs=Costs(stated=stated)))
    turn = play.begin([0])
    assert turn.costs[0].flops["audio"] == pytest.approx(500.0) and turn.sent[0].size_bits == 10.0
    assert play.results(turn)[0].steps == 5
    with pytest.raises(ScenarioError, match="nothing is stated for modality visual"):
        make("fedavg", costs=Costs(stated=stated))


# FedAvg.


def test_a_single_client_makes_the_servers_model() -> None:
    for name in ("fedavg", "fedprox", "fednova", "fedhgb", "mgb", "cgb"):
        play = played(name, 1, devices=1)
        made = play.results(play.turns[0])[0].state
        for part, held in play.parts().items():
            torch.testing.assert_close(held.weights, made[part].weights, rtol=1e-5, atol=1e-6)


def test_one_full_batch_of_equal_clients_is_a_step_on_all_their_samples() -> None:
    """Mean of gradients over equal clients = gradient of the mean loss over all samples."""
    play = played("fedavg", 1, **{**AUDIO, **FULL_BATCH})
    # The one device is dealt every row.
    pooled = played("fedavg", 1, devices=1, **{**AUDIO, **FULL_BATCH}, partition=Deal())
    assert_models_close(play.parts(), pooled.parts())


class Same(Deal):
    """Everybody has the same rows."""

    def deal(self, data: Any, device_count: int, seed: int) -> list[Share]:
        return [Share(data.train[:24], data.modalities)] * device_count


def test_clients_with_the_same_data_agree() -> None:
    play = played("fedavg", 1, partition=Same(), **FULL_BATCH)
    made = play.results(play.turns[0])[1].state
    for part, held in play.parts().items():
        torch.testing.assert_close(held.weights, made[part].weights, rtol=1e-4, atol=1e-5)


def test_who_answers_first_does_not_matter() -> None:
    one, other = Play(make("fedavg")), Play(make("fedavg"))
    for play, order in ((one, [0, 1, 2]), (other, [2, 0, 1])):
        turn = play.begin(order)
        play.combine(turn, {k: turn.uploads[k] for k in order})
    assert fingerprint(one.parts()) == fingerprint(other.parts())


@pytest.mark.parametrize(("weights", "expected"), [("samples", 0.25), ("uniform", 0.5)])
def test_clients_count_by_their_samples(weights: str, expected: float) -> None:
    """8 samples beside 24: a quarter."""
    play = played(
        "fedavg",
        1,
        devices=2,
        partition=Deal(rows={0: 8, 1: 24}),
        validation_share=0.0,
        aggregation_weights=weights,
    )
    results = play.results(play.turns[0])
    own, other = (results[k].state["fusion"].weights for k in (0, 1))
    mean = expected * own + (1 - expected) * other
    torch.testing.assert_close(play.parts()["fusion"].weights, mean, rtol=1e-5, atol=1e-6)


def test_clients_count_by_their_samples_per_step() -> None:
    """8 samples at batch 8 are one step, 24 are three: without momentum 8/1 beside 24/3, one half each.

    With ρ = 0.9 three steps are 1 + 1.9 + 2.71 = 5.61 gradients: 8/1 beside 24/5.61 = 4.278.
    """
    shared = {"devices": 2, "partition": Deal(rows={0: 8, 1: 24}), "validation_share": 0.0}
    for momentum, expected in ((0.0, 0.5), (0.9, 8 / (8 + 24 / 5.61))):
        play = played("fedavg", 1, momentum=momentum, aggregation_weights="per_step", **shared)
        results = play.results(play.turns[0])
        own, other = (results[k].state["fusion"].weights for k in (0, 1))
        mean = expected * own + (1 - expected) * other
        torch.testing.assert_close(play.parts()["fusion"].weights, mean, rtol=1e-5, atol=1e-6)


# Limits of one another.


def test_fedprox_without_its_term_is_fedavg_bit_for_bit() -> None:
    one, other = played("fedprox", mu=0.0), played("fedavg")
    assert [one.metrics(t) for t in one.turns] == [other.metrics(t) for t in other.turns]
    assert fingerprint(one.parts()) == fingerprint(other.parts())


def test_fednova_with_equal_work_is_fedavg() -> None:
    one, other = (played(name, local_steps=4) for name in ("fednova", "fedavg"))
    assert_models_close(one.parts(), other.parts(), rtol=1e-4, atol=1e-5)


def test_fednova_with_unequal_work_is_not() -> None:
    changes = {**AUDIO, "partition": Deal(rows={0: 10, 1: 40})}
    one, other = (played(name, 1, devices=2, **changes) for name in ("fednova", "fedavg"))
    results = one.results(one.turns[0])
    assert [results[k].steps for k in (0, 1)] == [1, 4]
    assert (one.parts()["fusion"].weights - other.parts()["fusion"].weights).abs().max() > 1e-4


def test_fednova_goes_farther_than_the_mean_per_step_and_the_same_way() -> None:
    """Its change is τ_eff Σ p_i/‖a_i‖ times that of FedAvg weighed by n/‖a‖.

    12 and 36 samples at batch 8, short batches kept: τ = 2 and 5, p = 1/4 and 3/4, ‖a‖ = 2.9 and 13.1441.
    """
    shared = {"devices": 2, "partition": Deal(rows={0: 12, 1: 36}), "validation_share": 0.0, "momentum": 0.9}
    nova = played("fednova", 1, **shared)
    mean = played("fedavg", 1, aggregation_weights="per_step", **shared)
    effective = 0.25 * 2.9 + 0.75 * 13.1441
    factor = effective * (0.25 / 2.9 + 0.75 / 13.1441)
    assert factor > 1
    start = initial(nova.learner)["fusion"].weights
    expected = factor * (mean.parts()["fusion"].weights - start)
    torch.testing.assert_close(nova.parts()["fusion"].weights - start, expected, rtol=1e-4, atol=1e-6)


def test_fednova_with_a_proximal_term_takes_steps_for_tau() -> None:
    """Authors' code: τ_eff = Σ p τ = 3 where all take 3 steps, ‖a‖ = 1 + 0.95 + 0.9025 at η μ = 0.05."""
    play = played("fednova", 1, **{**AUDIO, **PLAIN}, mu=1.0, last_batch="drop")
    results = play.results(play.turns[0])
    norm = 1 + 0.95 + 0.95**2
    assert results[0].normaliser == pytest.approx(norm)
    start = initial(play.learner)["fusion"].weights
    mean = sum(results[k].state["fusion"].weights for k in range(3)) / 3
    expected = start + 3 / norm * (mean - start)
    torch.testing.assert_close(play.parts()["fusion"].weights, expected, rtol=1e-4, atol=1e-6)


def test_fedatt_noise_is_on_weights_and_the_same_again() -> None:
    one, other, quiet = (played("fedatt", 1, noise=noise).parts() for noise in (0.01, 0.01, 0.0))
    assert fingerprint(one) == fingerprint(other)
    name = "trunk/visual"
    layout = one[name].layout
    noise = (one[name].row.tensor - quiet[name].row.tensor)[: layout.sent]
    assert 0.008 < float(noise[: layout.weights].std()) < 0.012 and not noise[layout.weights :].any()


# FedHGB.


class Unblended(FedHGB):
    """Both halves switched off."""

    blends_heads = False
    blends_clients = False


def test_hgb_without_blending_is_fedavg_of_equal_clients_on_the_mean_of_all_losses() -> None:
    learner = Unblended(make_setup("fedhgb", devices=3, partition=MIXED, has_server=True, **SMALL))
    learner.prepare(None)
    ours = Play(learner)
    ours.play()
    plain = played("fedavg", partition=MIXED, aggregation_weights="uniform", losses="mean")
    assert fingerprint(ours.parts()) == fingerprint(plain.parts())
    assert [t.costs for t in ours.turns] == [t.costs for t in plain.turns]


def test_mgb_averages_uniformly_and_cgb_keeps_z() -> None:
    clients = played("mgb", 1, partition=Deal(rows={0: 8}))
    (turn,) = clients.turns
    assert clients.metrics(turn)[clients.server, "client_weight_max", ""] == 1 / 3
    results = clients.results(turn)
    mean = sum(results[k].state["fusion"].weights for k in range(3)) / 3
    torch.testing.assert_close(clients.parts()["fusion"].weights, mean, rtol=1e-5, atol=1e-6)
    assert set(clients.model().head_weights.values()) != {1 / 3}

    heads = played("cgb")
    for turn in heads.turns:
        told = heads.metrics(turn)
        assert {told[heads.server, "modality_weight", m] for m in ("audio", "visual", "")} == {1 / 3}
        assert told[heads.server, "client_weight_max", ""] > 1 / 3


def measured(learner: Any, k: int, changes: dict[str, tuple[float, float]]) -> Upload:
    """Of a client that has measured these (ΔG, ΔO), and that ends where it began plus its number."""
    before = {head: Losses(1.0, 1.0) for head in changes}
    after = {head: Losses(1.0 - gain - over, 1.0 - gain) for head, (gain, over) in changes.items()}
    state, first = {}, initial(learner)
    for name in learner._federation.architecture.parts(learner._clients[k].modalities):
        part = first[name]
        row = part.row.tensor + float(k)
        state[name] = type(part)(type(part.row)(row[None], 0), part.layout)
    return Upload(0, first, Trained(state, 0.0, {}, 1, 1.0, before, after))


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
        play = Play(learner)
        turn = play.begin([0, 1])
        arrived = {
            0: measured(learner, 0, {"audio": (0.3, 0.2), "fusion": (0.1, 0.1)}),
            1: measured(learner, 1, {"audio": (0.2, 0.1), "fusion": (0.0, 0.1)}),
        }
        play.combine(turn, arrived)
        told = play.metrics(turn)
        assert told[play.server, "modality_weight", "audio"] == pytest.approx(z * 2 / 3)
        assert told[play.server, "modality_weight", ""] == pytest.approx((1 - z) * 2 / 3)
        moved = play.parts()["fusion"].weights - initial(learner)["fusion"].weights
        torch.testing.assert_close(moved, torch.full_like(moved, rise), rtol=1e-4, atol=1e-5)
        second = play.begin([0, 1])
        play.results(second)
        inputs = play.executor.jobs[0].inputs
        assert inputs["head_weights"] == pytest.approx({"audio": z, "fusion": 1 - z})


def test_hgb_blends_the_holders_of_a_part_only() -> None:
    """Client 1 holds no audio: audio parts are client 0's and 2's. Client 2 has not generalised: they are client 0's.

    Of the fused head clients 0 and 1 have the same ratio, a half each, (0 + 1)/2. z: client 0 votes (1/2, -, 1/2),
    client 1 (-, 1/2, 1/2), and client 2, whose heads cannot be told apart, thirds: (5/6, 5/6, 4/3)/3.
    """
    learner = make("fedhgb", partition=Deal({0: ("audio",), 1: ("visual",), 2: ("audio", "visual")}))
    play = Play(learner)
    turn = play.begin([0, 1, 2])
    arrived = {
        0: measured(learner, 0, {"audio": (0.2, 0.1), "fusion": (0.2, 0.1)}),
        1: measured(learner, 1, {"visual": (0.2, 0.1), "fusion": (0.2, 0.1)}),
        2: measured(learner, 2, dict.fromkeys(("audio", "visual", "fusion"), (-0.1, 0.0))),
    }
    play.combine(turn, arrived)
    new, old, told = play.parts(), initial(learner), play.metrics(turn)
    for part, rise in (("trunk/audio", 0.0), ("head/visual", 1.0), ("fusion", 0.5)):
        torch.testing.assert_close(new[part].weights, old[part].weights + rise, rtol=1e-4, atol=1e-5)
    z = {m: told[play.server, "modality_weight", m] for m in ("audio", "visual", "")}
    assert z == pytest.approx({"audio": 5 / 18, "visual": 5 / 18, "": 8 / 18})
    assert told[play.server, "blending_floor_hits", ""] == 3 + 1  # its three heads, and itself
    assert told[play.server, "blending_fallbacks", ""] == 1


def measured_alike(learner: Any, k: int, gain: float, over: float) -> Upload:
    return measured(learner, k, dict.fromkeys(("audio", "fusion"), (gain, over)))


def test_hgb_expects_what_clients_did_over_their_rounds() -> None:
    """C-GB, z = 1/2. Client 0 has (ΔG, ΔO) = (0.2, 0.1), then (0.1, 0.3); client 1 has (0.4, 0.2), then (-0.2, 0.2).

    Of all four: ΔG 0.5/4 = 0.125, ΔO² 0.18/4 = 0.045. Client 0: (0.3 + 0.25)/4 = 0.1375 and (0.1 + 0.09)/4 = 0.0475;
    client 1: (0.2 + 0.25)/4 = 0.1125 and (0.08 + 0.09)/4 = 0.0425. p = (55/19, 45/17)/(55/19 + 45/17) in round 2,
    where the round alone gives (1, 0). In round 1: ΔG (0.2 + 0.6)/3 and (0.4 + 0.6)/3, ΔO² (0.01 + 0.05)/3 and
    (0.04 + 0.05)/3: 0.8/0.06 beside 1/0.09, p = (6, 5)/11.
    """
    rounds = [{0: (0.2, 0.1), 1: (0.4, 0.2)}, {0: (0.1, 0.3), 1: (-0.2, 0.2)}]
    a, b = 55 / 19, 45 / 17
    cases = {"expected": (5 / 11, b / (a + b), 0.0), "round": (10 / 30, 0.0, 0.5)}
    for estimate, (first, second, lost) in cases.items():
        learner = make("cgb", devices=2, blending_estimate=estimate, **EARS)
        play, rises = Play(learner), []
        for seen in rounds:
            turn = play.begin([0, 1])
            play.combine(turn, {k: measured_alike(learner, k, *own) for k, own in seen.items()})
            moved = play.parts()["fusion"].weights - initial(learner)["fusion"].weights
            rises.append(float(moved.mean()))  # client k ends k above the first weights
        assert rises == pytest.approx([first, second], abs=1e-5)
        told = play.metrics(turn)
        effective = 1 / (second**2 + (1 - second) ** 2)
        assert told[play.server, "effective_clients", ""] == pytest.approx(effective)
        assert told[play.server, "effective_share", ""] == pytest.approx(effective / 2)
        assert told[play.server, "not_generalising", ""] == lost


def test_hgb_expects_heads_as_the_population_has_them() -> None:
    """Audio: ΔG (0.3, 0.1), ΔO 0.2; fused: (0.1, 0.3), 0.1; of one round, with two pseudo-observations.

    Client 0: audio 0.7/3 over 0.04 beside fused 0.5/3 over 0.01, z = 7/27.
    Client 1: audio 0.5/3 over 0.04 beside fused 0.7/3 over 0.01, z = 5/33.
    """
    learner = make("mgb", devices=2, blending_estimate="expected", **EARS)
    play = Play(learner)
    turn = play.begin([0, 1])
    gains = {0: (0.3, 0.1), 1: (0.1, 0.3)}
    play.combine(
        turn,
        {k: measured(learner, k, {"audio": (a, 0.2), "fusion": (f, 0.1)}) for k, (a, f) in gains.items()},
    )
    told = play.metrics(turn)
    assert told[play.server, "modality_weight", "audio"] == pytest.approx((7 / 27 + 5 / 33) / 3)
    assert told[play.server, "effective_clients", ""] == pytest.approx(2.0)


def test_hgb_remembers_a_clients_own_last_rounds() -> None:
    """Client 1 is away in round 2 and keeps its place; of three rounds of client 0 a window of two has the last."""
    learner = make("fedhgb", devices=2, blending_estimate="expected", blending_window=2, **EARS)
    play = Play(learner)
    for round, devices in enumerate(([0, 1], [0], [0, 1]), 1):
        turn = play.begin(devices)
        play.combine(turn, {k: measured_alike(learner, k, 0.1 * round, 0.1) for k in devices})
    memory = play.model().memory
    gains = {k: [one["audio"].generalisation for one in own] for k, own in memory.items()}
    assert gains == {0: pytest.approx([0.2, 0.3]), 1: pytest.approx([0.1, 0.3])}


def test_hgb_warns_where_fewer_than_a_quarter_of_the_clients_count() -> None:
    learner = make("fedhgb", **EARS)
    assert learner.notes({}) == learner.notes({"effective_share": 0.25, "effective_clients": 2.5}) == ()
    (note,) = learner.notes({"effective_share": 0.06, "effective_clients": 2.4})
    assert "2.4 clients counted, 6 % of those that answered" in note and "blending_estimate: expected" in note


def test_hgb_a_device_shares_z_among_the_heads_that_it_has() -> None:
    """Of z = (1/3, 1/3, 1/3) received, two heads: 1/2 each, so that its steps are as large as everybody's.

    Of z = (1/2, 1/2, 0) two heads have 0 in all: thirds of nothing are halves; of (0.2, 0.5, 0.3): 2/5 and 3/5.
    """
    job = job_of(make("fedhgb", partition=MIXED))
    assert job.inputs["head_weights"] == pytest.approx({"audio": 0.5, "fusion": 0.5})
    heads = ("audio", "fusion")
    received = [{"audio": 0.0, "visual": 1.0, "fusion": 0.0}, {"audio": 0.2, "visual": 0.5, "fusion": 0.3}]
    nothing, some = own_shares([{"z": z, "heads": heads} for z in received])
    assert nothing == {"audio": 0.5, "fusion": 0.5} and some == pytest.approx({"audio": 0.4, "fusion": 0.6})


# Asynchronous servers.


def late_upload(name: str, **changes: Any) -> tuple[Play, Turn, dict[int, Trained], torch.Tensor]:
    """Device 1 begins with version 0 and arrives in round 2, when device 0 has made version 1 and comes again."""
    play = Play(make(name, devices=2, **AUDIO, **changes))
    first = play.begin([0, 1])
    play.combine(first, {0: first.uploads[0]})
    between = play.parts()["fusion"].weights.clone()
    second = play.begin([0])
    play.combine(second, {0: second.uploads[0], 1: first.uploads[1]})
    return play, second, {**play.results(first), **play.results(second)}, between


def test_fedasync_mixes_a_late_model_less() -> None:
    """α = 0.6, s = (staleness + 1)^-0.5: device 0 mixes 0.6 of itself, then device 1, one version late, 0.6/√2."""
    play, turn, results, before = late_upload("fedasync")
    own, late = (results[k].state["fusion"].weights for k in (0, 1))
    expected = 0.4 * before + 0.6 * own
    share = 0.6 / 2**0.5
    expected = (1 - share) * expected + share * late
    torch.testing.assert_close(play.parts()["fusion"].weights, expected, rtol=1e-5, atol=1e-6)
    assert play.metrics(turn)[play.server, "staleness", ""] == 0.5


def test_fedbuff_steps_by_what_clients_changed_of_what_they_had() -> None:
    """From w to w + ½ (Δ_0 + Δ_1/√2), Δ_1 from version 0."""
    play, _, results, before = late_upload("fedbuff")
    own = results[0].state["fusion"].weights - before
    late = results[1].state["fusion"].weights - initial(play.learner)["fusion"].weights
    expected = before + 0.5 * (own + late / 2**0.5)
    torch.testing.assert_close(play.parts()["fusion"].weights, expected, rtol=1e-5, atol=1e-6)


# Trouble.


def test_a_client_that_diverges_stops_the_run() -> None:
    play = Play(make("fedavg", **{**AUDIO, "learning_rate": 1e12, "local_epochs": 4}))
    turn = play.begin([0])
    with pytest.raises(ScenarioError, match="training of device 0 diverged in round 1"):
        play.metrics(turn)


def test_or_is_left_out() -> None:
    play = played("fedavg", 1, **{**AUDIO, "learning_rate": 1e12, "local_epochs": 4}, on_nan="drop")
    assert play.metrics(play.turns[0])[play.server, "dropped", ""] == 3
    assert fingerprint(play.parts()) == fingerprint(initial(play.learner))


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
    play = played("fedavg", 1, evaluation=Evaluation(batch_size=7))
    federation, told = play.learner._federation, play.metrics(play.turns[0])
    net = federation.architecture.build().eval()
    for name, module in net.parts().items():
        module.load_state_dict(dict(play.parts()[name]))
    store, rows = federation.store.value, torch.as_tensor(np.asarray(federation.test_rows.value))
    with torch.no_grad():
        outputs = net({m: store.seen(m, rows, torch.float32) for m in net.modalities}, len(rows))
    labels, server = store.labels[rows], play.server
    assert told[server, "loss_test", ""] == pytest.approx(
        F.cross_entropy(outputs.fused, labels).item(), rel=1e-5
    )
    right = {"": outputs.fused, **outputs.heads}
    for modality, logits in right.items():
        share = (logits.argmax(1) == labels).double().mean().item()
        assert told[server, "accuracy", modality] == pytest.approx(share)
