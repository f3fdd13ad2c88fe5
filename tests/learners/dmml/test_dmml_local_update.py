"""The local update: what moves, what must not, and that a job is a function of its inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_task import UNLIMITED, Deal, make_learner, play_of, run_job

from learners.checks import fingerprint
from learners.training.batches import active_modalities, batch_sizes, iterations_per_epoch, mini_batches
from netsim.core.streams import derive_seed


def job_inputs(name: str = "dmml_kd", round: int = 2, **changes: Any) -> tuple[Any, dict[str, Any]]:
    learner = make_learner(name, **changes)
    job = play_of(learner).job(0, round)
    return job.function, dict(job.inputs)


def test_the_same_job_gives_the_same_bits() -> None:
    function, inputs = job_inputs()
    torch.manual_seed(1)
    one = function(**inputs)
    torch.manual_seed(2)
    assert fingerprint(function(**inputs)) == fingerprint(one)
    assert fingerprint(function(**{**inputs, "seed": inputs["seed"] + 1})) != fingerprint(one)


def test_a_job_leaves_the_global_generator_alone() -> None:
    function, inputs = job_inputs()
    before = torch.random.get_rng_state()
    function(**inputs)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_modality_that_takes_no_part_stays_bit_for_bit() -> None:
    """P = 0 throughout for visual: weights, Adam's moments and BatchNorm stay; the common classifier moves.

    The moments come from a first update in which visual did take part, so zero gradients would move its weights.
    """
    function, inputs = job_inputs()
    first = function(**inputs)
    inputs |= {"state": first.state, "memories": first.memories, "iterations": {"audio": 3, "visual": 0}}
    then = function(**inputs)
    for part in ("trunk/visual", "specific/visual"):
        assert fingerprint(then.state[part]) == fingerprint(first.state[part])
        assert fingerprint(then.memories[part]) == fingerprint(first.memories[part])
    for part in ("trunk/audio", "specific/audio", "common"):
        assert fingerprint(then.state[part]) != fingerprint(first.state[part])
    assert "loss_similarity" not in then.losses, "one active modality has nothing to be similar to"


def test_without_any_modality_nothing_moves_not_even_the_bias() -> None:
    function, inputs = job_inputs("dmml")
    first = function(**inputs)
    inputs |= {"state": first.state, "memories": first.memories, "iterations": {"audio": 0, "visual": 0}}
    then = function(**inputs)
    assert fingerprint(then.state) == fingerprint(first.state)
    assert fingerprint(then.memories) == fingerprint(first.memories)
    assert then.losses == {}


def test_steps_are_counted_by_weight() -> None:
    """Adam's bias correction must know how often a weight was really stepped: 3 times audio, 1 time visual."""
    function, inputs = job_inputs()
    memories = function(**{**inputs, "iterations": {"audio": 3, "visual": 1}}).memories
    steps = {part: float(memory["step"]) for part, memory in memories.items()}
    assert steps["trunk/audio"] == 3.0 and steps["trunk/visual"] == 1.0 and steps["common"] == 3.0


def test_the_generators_update_leaves_the_network_alone_and_the_other_way_round() -> None:
    function, inputs = job_inputs()
    plan = inputs["plan"]
    still = replace(plan, generator=replace(plan.generator, iterations=0))
    with_generator = function(**inputs).state
    without = function(**{**inputs, "plan": still}).state
    for part in without:
        same = fingerprint(with_generator[part]) == fingerprint(without[part])
        assert same == (part != "generator")
    assert fingerprint(without["generator"]) == fingerprint(inputs["state"]["generator"])


def test_distillation_waits_for_a_trained_generator() -> None:
    learner = make_learner("dmml_kd")
    losses = [run_job(play_of(learner).job(0, t)).losses for t in (1, 2)]
    assert "loss_distillation" not in losses[0] and "loss_distillation" in losses[1]
    eager = make_learner("dmml_kd", distillation_in_first_round=True)
    job = play_of(eager).job(0, 1)
    assert "loss_distillation" in run_job(job).losses


def test_the_weight_of_distillation_decays_from_round_to_round() -> None:
    """α4 = 2, decay ½: 1 in round 2, ¼ in round 4; without decay the second round's plan is that of all later ones."""
    learner = make_learner("dmml_kd", alpha_kd=2.0, alpha_kd_decay=0.5)
    plans = {t: play_of(learner).job(0, t).inputs["plan"] for t in (1, 2, 4)}
    assert {t: plan.losses.distillation for t, plan in plans.items()} == {1: 0.0, 2: 1.0, 4: 0.25}
    steady = play_of(make_learner("dmml_kd"))
    assert steady.job(0, 2).inputs["plan"] is steady.job(0, 9).inputs["plan"]


def test_a_loss_of_weight_zero_is_not_computed() -> None:
    """With the auxiliary classification alone the total is F_k + F_cls, and nobody asks the generator."""
    alone = make_learner("dmml_kd", alpha_sim=0.0, alpha_dif=0.0, alpha_kd=0.0)
    losses = run_job(play_of(alone).job(0, 2)).losses
    assert set(losses) == {"loss_task", "loss_auxiliary", "loss_total", "loss_generator"}
    assert losses["loss_total"] == pytest.approx(losses["loss_task"] + losses["loss_auxiliary"], rel=1e-6)


def test_total_loss_is_the_weighted_sum_of_its_terms() -> None:
    """Eq. (12) with all weights 1 and one iteration: the total is the sum of the five terms."""
    function, inputs = job_inputs()
    losses = function(**{**inputs, "iterations": {"audio": 1, "visual": 1}, "total_iterations": 1}).losses
    terms = [v for name, v in losses.items() if name not in ("loss_total", "loss_generator")]
    assert len(terms) == 5
    assert losses["loss_total"] == pytest.approx(sum(terms), rel=1e-6)


def test_optimizer_memory_can_be_reset() -> None:
    for choice, kept in (("keep", True), ("reset", False)):
        learner = make_learner("dmml_kd", optimizer_state=choice)
        play_of(learner).train(0, 1)
        assert bool(play_of(learner).job(0, 2).inputs["memories"]) == kept


def test_active_modalities_take_part_as_often_as_decided() -> None:
    for seed in range(20):
        active = active_modalities({"audio": 5, "visual": 12}, 12, seed)
        assert len(active) == 12
        assert sum("audio" in a for a in active) == 5
        assert sum("visual" in a for a in active) == 12
    assert active_modalities({"audio": 5}, 12, 0) != active_modalities({"audio": 5}, 12, 1)


def test_mini_batches_may_drop_what_an_epoch_leaves_over() -> None:
    """558 samples in batches of 16 are 34 iterations; the next epoch is a new order."""
    assert iterations_per_epoch(558, 16, "drop") == 34
    batches = torch.stack(mini_batches(558, 16, 68, 3, "drop"))
    assert batches.shape == (68, 16)
    for epoch in (batches[:34], batches[34:]):
        assert len(set(epoch.flatten().tolist())) == 34 * 16
    assert not torch.equal(batches[:34], batches[34:])


def test_mini_batches_keep_what_an_epoch_leaves_over() -> None:
    """41 samples in batches of 32 are two steps, of 32 and 9; an epoch sees each sample once."""
    assert iterations_per_epoch(41, 32, "keep") == 2
    assert batch_sizes(41, 32, 5, "keep") == (32, 9, 32, 9, 32)
    batches = mini_batches(41, 32, 5, 3, "keep")
    assert [len(batch) for batch in batches] == [32, 9, 32, 9, 32]
    for first in (0, 2):
        assert sorted(torch.cat(batches[first : first + 2]).tolist()) == list(range(41))
    assert not torch.equal(batches[0], batches[2])


@pytest.mark.parametrize("samples, batch_size", [(64, 32), (32, 32), (1, 32), (7, 1)])
def test_nothing_is_left_over_where_batches_fit(samples: int, batch_size: int) -> None:
    kept, dropped = (mini_batches(samples, batch_size, 9, 0, last) for last in ("keep", "drop"))
    assert all(torch.equal(one, other) for one, other in zip(kept, dropped, strict=True))


def test_a_step_on_the_short_batch_is_one_on_its_samples() -> None:
    """11 samples at batch 8, two steps of SGD without momentum: the second is a gradient step on the mean of 3."""
    learner = make_learner(
        "dmml", partition=Deal(rows=11), precision="float64", optimizer="sgd", learning_rate=0.1,
        modalities=("audio",),
    )  # fmt: skip
    job = play_of(learner).job(0, 1)
    function, inputs = job.function, dict(job.inputs)
    assert inputs["total_iterations"] == 2
    first = function(**{**inputs, "total_iterations": 1, "iterations": {"audio": 1}}).state
    both = function(**inputs).state
    rows = inputs["store"].rows(0)
    seen = mini_batches(11, 8, 2, derive_seed(inputs["seed"], "batches"), "keep")[1]
    assert len(seen) == 3
    weights = {
        f"{part}.{name}": t.clone().requires_grad_() for part, p in first.items() for name, t in p.items()
    }
    x = inputs["store"].inputs["audio"][rows[seen]].double()
    for layer in (0, 2):
        x = (
            x @ weights[f"trunk/audio.layers.{layer}.weight"].T + weights[f"trunk/audio.layers.{layer}.bias"]
        ).relu()
    logits = x @ weights["specific/audio.weight"].T + weights["common.bias"]
    torch.nn.functional.cross_entropy(logits, inputs["store"].labels[rows[seen]]).backward()
    for part, own in both.items():
        for name, value in own.items():
            before = weights[f"{part}.{name}"]
            torch.testing.assert_close(value, before.detach() - 0.1 * before.grad)


def test_a_device_with_little_data_has_one_smaller_batch() -> None:
    for last in ("keep", "drop"):
        assert iterations_per_epoch(5, 16, last) == 1
        assert [len(batch) for batch in mini_batches(5, 16, 2, 0, last)] == [5, 5]
    learner = make_learner("dmml", partition=Deal(rows=4))
    full = make_learner("dmml")
    few, many = (x.cost(0, 1, (), UNLIMITED, None) for x in (learner, full))
    assert few.iterations == {"audio": 1, "visual": 1}
    assert few.flops["audio"] == pytest.approx(many.flops["audio"] / 3 * 4 / 8), (
        "half the samples, one of 3 steps"
    )
