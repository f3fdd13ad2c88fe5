"""Many devices as one program: each gets what it would get alone, whatever the others do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_task import Deal, make_learner, play_of, run_job

from learners.networks.state import gather, rows_of
from learners.training.batches import drawn_by_all, mini_batches
from learners.training.decomposed.local_update import local_update, local_updates
from netsim.work.moving import move

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
UNEQUAL = Deal(rows={0: 8, 1: 17, 2: 24, 3: 11})
"""In batches of 8: one, two and a single sample, three, one and three samples."""


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """‖one − other‖ relative to ‖other‖."""
    return float(torch.linalg.vector_norm(one - other) / torch.linalg.vector_norm(other).clamp(min=1e-30))


def assert_same(stacked: Any, alone: Any, precision: str) -> None:
    for part in alone.state:
        assert distance(stacked.state[part].row.tensor, alone.state[part].row.tensor) < TOLERANCE[precision]
    assert stacked.memories.keys() == alone.memories.keys()
    for part, memory in alone.memories.items():
        assert float(stacked.memories[part]["step"]) == float(memory["step"])
        for name in memory:
            # A gradient's rounding is relative to what it is summed from, so memories are a digit less exact.
            assert distance(stacked.memories[part][name], memory[name]) < 100 * TOLERANCE[precision], (
                part,
                name,
            )
    assert stacked.losses == pytest.approx(alone.losses, rel=10 * TOLERANCE[precision])


def jobs_of(learner: Any, round: int, devices: range = range(4)) -> list[Any]:
    return [play_of(learner).job(k, round) for k in devices]


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize(
    "name, options",
    [
        ("dmml", {}),
        ("dmml", {"architecture": "concat", "optimizer": "sgd", "learning_rate": 0.05}),
        ("dmml", {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.01}),
        ("dmml_kd", {"last_batch": "drop"}),
        ("dmml_kd", {"local_epochs": 2}),
        ("dmml_kd", {"difference": "raw", "alpha_dif": 1e-3, "distillation": "fedgen"}),
    ],
)
def test_two_rounds_stacked_are_two_rounds_alone(name: str, options: dict[str, Any], precision: str) -> None:
    """Devices of 8 to 24 samples: iterations and batches of different number and size, and memories that live on."""
    learner = make_learner(name, partition=UNEQUAL, precision=precision, **options)
    for round in (1, 2):
        jobs = jobs_of(learner, round)
        assert len({job.stack.key for job in jobs}) == 1
        alone = [run_job(job) for job in jobs]
        stacked = local_updates([job.inputs for job in jobs])
        for k, (one, other) in enumerate(zip(stacked, alone, strict=True)):
            assert_same(one, other, precision)
            play_of(learner).train(k, round)
            play_of(learner).aggregate(k, round, {})


@pytest.mark.parametrize("last_batch", ["keep", "drop"])
@pytest.mark.parametrize("counts", [(11, 11, 11), (11, 8, 17)])
def test_devices_draw_together_what_each_draws_alone(counts: tuple[int, ...], last_batch: Any) -> None:
    rows = [np.arange(count) + 100 * k for k, count in enumerate(counts)]
    together = drawn_by_all(rows, 8, [3] * 3, [5, 6, 7], last_batch)
    for own, seed, found in zip(rows, (5, 6, 7), together, strict=True):
        alone = torch.from_numpy(own)[torch.cat(mini_batches(len(own), 8, 3, seed, last_batch))]
        assert torch.equal(found[: len(alone)], alone) and np.isin(found, own).all()


@pytest.mark.parametrize("cut", [{0: 0, 1: 1}, {0: 0, 1: 0, 2: 0, 3: 0}, {3: 2}])
def test_modalities_that_are_skipped_stay_bit_for_bit(cut: dict[int, int]) -> None:
    """N^visual differs by device, down to nobody at all; memories of an earlier round would move the weights."""
    learner = make_learner("dmml_kd", partition=UNEQUAL, precision="float64")
    for k in range(4):
        play_of(learner).train(k, 1)
        play_of(learner).aggregate(k, 1, {})
    inputs = []
    for k, job in enumerate(jobs_of(learner, 2)):
        total = job.inputs["total_iterations"]
        iterations = {"audio": total, "visual": min(total, cut.get(k, total))}
        inputs.append({**job.inputs, "iterations": iterations})
    stacked = local_updates(inputs)
    for k, (one, given) in enumerate(zip(stacked, inputs, strict=True)):
        assert_same(one, run_job(learner_job(given)), "float64")
        if given["iterations"]["visual"] == 0:
            for part in ("trunk/visual", "specific/visual"):
                assert torch.equal(one.state[part].row.tensor, given["state"][part].row.tensor), k
                assert torch.equal(one.memories[part]["exp_avg"], given["memories"][part]["exp_avg"])


def test_a_device_without_any_iteration_among_others_stays_as_it_was() -> None:
    learner = make_learner("dmml", precision="float64")
    inputs = [job.inputs for job in jobs_of(learner, 1)]
    inputs[1] = {**inputs[1], "total_iterations": 0, "iterations": {"audio": 0, "visual": 0}}
    stacked = local_updates(inputs)
    for part, given in inputs[1]["state"].items():
        assert torch.equal(stacked[1].state[part].row.tensor, given.row.tensor)
    assert stacked[1].losses == {}
    assert_same(stacked[0], run_job(learner_job(inputs[0])), "float64")


def test_who_is_stacked_with_whom_changes_rounding_at_most() -> None:
    learner = make_learner("dmml_kd", precision="float64")
    jobs = jobs_of(learner, 1)
    together = local_updates([job.inputs for job in jobs])
    pairs = [*local_updates([j.inputs for j in jobs[:2]]), *local_updates([j.inputs for j in jobs[2:]])]
    for one, other in zip(together, pairs, strict=True):
        assert_same(one, other, "float64")


@pytest.mark.parametrize("name", ["dmml", "dmml_kd"])
def test_evaluation_stacked_is_evaluation_alone(name: str) -> None:
    learner = make_learner(name, precision="float64")
    for k in range(4):
        play_of(learner).train(k, 1)
        play_of(learner).aggregate(k, 1, {})
    jobs = [play_of(learner).evaluation_job(k, 1) for k in range(4)]
    stacked = jobs[0].stack.function([job.inputs for job in jobs])
    for one, job in zip(stacked, jobs, strict=True):
        assert one == pytest.approx(run_job(job), rel=1e-12)


def test_rows_of_one_bank_are_gathered_without_a_copy() -> None:
    bank = torch.randn(3, 5)
    rows = rows_of(bank)
    assert gather(rows) is bank
    assert gather(rows, copy=True).data_ptr() != bank.data_ptr()
    assert torch.equal(gather(rows[::-1]), bank.flip(0))
    assert torch.equal(gather([rows[0], *rows_of(torch.ones(1, 5))]), torch.stack([bank[0], torch.ones(5)]))


def test_models_and_memories_stay_what_they_are_on_their_way_to_another_device() -> None:
    """As when one of several GPUs takes a job: ``meta`` stands in for the other device."""
    learner = make_learner("dmml_kd")
    trained = run_job(jobs_of(learner, 1)[0])
    assert move(trained, "cpu") is trained
    moved = move(trained, "meta")
    for part, own in trained.state.items():
        assert moved.state[part].row.tensor.is_meta and moved.state[part].layout == own.layout
    for part, memory in trained.memories.items():
        assert {name: row.tensor.shape for name, row in moved.memories[part].rows.items()} == {
            name: row.tensor.shape for name, row in memory.rows.items()
        }


def learner_job(inputs: dict[str, Any]) -> Any:
    from netsim.work.job import TrainingJob

    return TrainingJob(local_update, inputs)
