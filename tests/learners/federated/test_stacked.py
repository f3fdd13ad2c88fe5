"""Local updates of several clients as one batch: those of each client alone, up to rounding."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from odd_networks import odd_run
from server_play import AUDIO, SMALL, Play, Together, initial, make
from server_play import jobs_of as first_jobs
from tiny_task import Deal, run_job

from learners.data.dataset import MultimodalDataset, Share
from learners.training.dual_form import DualForm
from learners.training.late_fusion.local_update import Trained, local_updates
from netsim.core.errors import ScenarioError

LEARNERS = [
    "fedavg", "fedprox", "fednova", "fedatt", "fedhgb", "cgb", "mgb", "fedasync", "fedbuff",
]  # fmt: skip
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


class Lacking(Deal):
    """Clients with 10, 17 and 24 samples; some of each lack one modality or the other."""

    FIRST, MORE = 10, 7

    def deal(self, data: MultimodalDataset, device_count: int, seed: int) -> list[Share]:
        rows = [data.train[k::device_count][: self.FIRST + self.MORE * k] for k in range(device_count)]
        return [
            Share(own, data.modalities, {"visual": own[::2][: 3 + k], "audio": own[1::2][:3]})
            for k, own in enumerate(rows)
        ]


class FewLacking(Lacking):
    """Clients with 8, 10 and 12 samples."""

    FIRST, MORE = 8, 2


UNEVEN = Deal(rows={0: 5, 1: 17, 2: 30})
FEW = {
    "partition": Deal(rows={0: 4, 1: 8, 2: 12}),
    "networks": {"audio": {"name": "mlp", "hidden": [8]}, "visual": {"name": "mlp", "hidden": [3, 4]}},
}
"""So few samples that the first layer of images, 64 inputs, is trained in dual form."""
CASES: dict[str, dict[str, Any]] = {
    "numbers of samples differ": {"partition": UNEVEN},
    "and of epochs": {"partition": UNEVEN, "epochs_range": (1, 4)},
    "the last batch is dropped": {"partition": UNEVEN, "last_batch": "drop", "local_epochs": 2},
    "without BatchNorm": {**AUDIO, "partition": UNEVEN, "local_epochs": 2},
    "no momentum": {"momentum": 0.0, "weight_decay": 0.1, "partition": UNEVEN},
    "strong momentum and decay": {"momentum": 0.95, "weight_decay": 0.1, "local_epochs": 3},
    "samples lack modalities": {"partition": Lacking(), "local_epochs": 2},
    "clients lack modalities": {"partition": Deal({0: ("audio",), 1: ("audio", "visual"), 2: ("audio",)})},
    "padded samples lack modalities": {
        "partition": Lacking(),
        "networks": {"audio": {"name": "mlp", "hidden": [8]}, "visual": {"name": "mlp", "hidden": [8]}},
        "local_epochs": 2,
    },
    "the fused loss alone": {"losses": "fused", "partition": Lacking()},
    "adam, clipped, and slower in round 2": {
        "partition": UNEVEN,
        "optimizer": "adam",
        "clip_norm": 0.5,
        "schedule": {"name": "step", "every": 1, "factor": 0.5},
    },
    "adamw of clients that lack modalities": {
        "partition": Lacking(),
        "optimizer": "adamw",
        "learning_rate": 1e-3,
    },
    "convolutions": {
        "modalities": ("visual",),
        "networks": {"visual": {"name": "cnn", "channels": [4], "hidden": 8}},
        "partition": UNEVEN,
    },
}


def distance(one: Any, other: Any) -> float:
    """Over parts, ‖one − other‖ relative to ‖other‖."""
    assert one.keys() == other.keys()
    return max(
        float(torch.linalg.vector_norm(one[part].row.tensor - other[part].row.tensor))
        / max(float(torch.linalg.vector_norm(other[part].row.tensor)), 1e-30)
        for part in one
    )


def assert_same(name: str, tolerance: float, **changes: Any) -> None:
    alone, together = Play(make(name, **changes)), Play(make(name, **changes), Together())
    for one, other in zip(together.play(), alone.play(), strict=True):
        ours, theirs = together.results(one), alone.results(other)
        assert ours.keys() == theirs.keys()
        for k, trained in ours.items():
            assert distance(trained.state, theirs[k].state) < tolerance
            assert list(trained.losses) == list(theirs[k].losses)  # rows of a run's records keep their order
        told, expected = together.metrics(one), alone.metrics(other)
        assert list(told) == list(expected)
        # Weights of clients are quotients of small differences of losses.
        assert [*told.values()] == pytest.approx([*expected.values()], rel=100 * tolerance, abs=tolerance)
    assert distance(together.parts(), alone.parts()) < tolerance


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", LEARNERS)
def test_two_rounds_stacked_are_two_rounds_alone(name: str, precision: str) -> None:
    assert_same(name, TOLERANCE[precision], precision=precision, partition=UNEVEN)


@pytest.mark.parametrize("case", CASES)
def test_in_any_company(case: str) -> None:
    assert_same("fedavg", TOLERANCE["float64"], precision="float64", **CASES[case])


def test_proximal_terms_pull_back_to_what_each_client_has_received() -> None:
    """With μ they move less; alone and stacked alike, also where the steps of a client are over."""
    assert_same(
        "fedprox", TOLERANCE["float64"], precision="float64", mu=2.0, partition=UNEVEN, local_epochs=3
    )


@pytest.fixture
def dual_forms(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The weights that were trained in dual form, one for each batch of clients."""
    found, parts = [], DualForm.parts
    monkeypatch.setattr(DualForm, "parts", lambda self: found.append(self.name) or parts(self))
    return found


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", LEARNERS)
def test_few_samples_with_many_inputs_are_trained_in_dual_form(
    name: str, precision: str, dual_forms: list[str]
) -> None:
    assert_same(name, TOLERANCE[precision], precision=precision, **FEW)
    assert dual_forms == 2 * ["layers.0.weight"]


@pytest.mark.parametrize(
    "changes",
    [
        {"momentum": 0.9, "weight_decay": 0.1, "mu": 0.5, "local_epochs": 3},
        {"momentum": 0.0, "weight_decay": 0.2, "epochs_range": (1, 4)},
        {"partition": FewLacking(), "local_epochs": 2, "batch_size": 3},
    ],
)
def test_so_they_are_with_decay_momentum_a_proximal_term_and_missing_modalities(
    changes: dict[str, Any], dual_forms: list[str]
) -> None:
    assert_same("fedprox", TOLERANCE["float64"], precision="float64", **{**FEW, **changes})
    assert dual_forms == 2 * ["layers.0.weight"]


def test_clipped_gradients_are_not_trained_in_dual_form(dual_forms: list[str]) -> None:
    """The norm of a gradient of coefficients is not that of a gradient of weights."""
    assert_same("fedavg", TOLERANCE["float64"], precision="float64", **FEW, clip_norm=0.1)
    assert dual_forms == []


def test_a_diverging_client_in_dual_form_is_dropped(dual_forms: list[str]) -> None:
    learner = make("fedavg", on_nan="drop", **FEW)
    learner._federation.store.value.inputs["visual"][learner._clients[1].train] *= 1e30
    play = Play(learner, Together())
    (turn,) = play.play(1)
    assert [play.results(turn)[k].finite for k in range(3)] == [True, False, True]
    assert dual_forms and math.isfinite(sum(part.weights.sum() for part in play.parts().values()))


def test_losses_are_measured_on_each_clients_own_samples() -> None:
    assert_same("fedhgb", TOLERANCE["float64"], precision="float64", partition=Lacking(), measured_share=0.7)


def test_heads_that_only_some_clients_weigh_move_only_there() -> None:
    """A head without weight keeps its numbers: no decay, no momentum; and so does a client that weighs none."""
    learner = make("fedavg", precision="float64", weight_decay=0.1, devices=4)
    weights = [
        {"audio": 0.0, "visual": 1.0, "fusion": 0.0},
        {"audio": 0.5, "visual": 0.25, "fusion": 0.25},
        {"audio": 0.0, "visual": 0.0, "fusion": 1.0},
        {"audio": 0.0, "visual": 0.0, "fusion": 0.0},
    ]
    inputs = [
        {**job.inputs, "head_weights": own} for job, own in zip(first_jobs(learner), weights, strict=True)
    ]
    found = local_updates(inputs)
    for own, job, one in zip(inputs, first_jobs(learner), found, strict=True):
        expected = job.function(**own)
        assert distance(one.state, expected.state) < TOLERANCE["float64"]
        assert one.loss == pytest.approx(expected.loss) and one.losses == pytest.approx(expected.losses)
    moved = [
        {part for part in one.state if not one.state[part].weights.equal(initial(learner)[part].weights)}
        for one in found
    ]
    assert moved[0] == {"trunk/visual", "head/visual"}
    assert moved[1] == set(initial(learner))
    assert moved[2] == {"trunk/audio", "trunk/visual", "fusion"}
    assert moved[3] == set() and found[3].losses == {}


def test_a_client_whose_training_diverges_is_dropped_and_disturbs_nobody() -> None:
    learners = [make("fedavg", **AUDIO, on_nan="drop", local_epochs=2, precision="float64") for _ in range(2)]
    for learner in learners:
        learner._federation.store.value.inputs["audio"][learner._clients[1].train] *= 1e200
    alone, together = Play(learners[0]), Play(learners[1], Together())
    for play in (alone, together):
        for turn in play.play():
            assert [play.results(turn)[k].finite for k in range(3)] == [True, False, True]
            assert play.metrics(turn)[3, "dropped", ""] == 1.0
    assert distance(together.parts(), alone.parts()) < TOLERANCE["float64"]
    assert math.isfinite(together.parts()["fusion"].weights.sum())


def test_shortened_jobs_have_so_many_steps_and_no_more() -> None:
    learner = make("fedavg", partition=UNEVEN, local_epochs=3)
    jobs = first_jobs(learner)
    for steps in (1, 4, 100):
        for job in jobs:
            result: Trained = run_job_of(job, steps)
            assert result.steps == min(steps, job.inputs["steps"])


def run_job_of(job: Any, steps: int) -> Any:
    return job.function(**job.stack.shorten(job.inputs, steps))


def test_only_clients_of_one_architecture_and_plan_are_done_together() -> None:
    mixed = Deal({0: ("audio",), 1: ("audio", "visual"), 2: ("audio",)})
    jobs = first_jobs(make("fedavg", partition=mixed))
    assert jobs[0].stack.key == jobs[2].stack.key != jobs[1].stack.key
    other = first_jobs(make("fedavg", partition=mixed, learning_rate=0.01))
    assert other[0].stack.key != jobs[0].stack.key
    assert jobs[0].stack.row_bytes > 0 and jobs[0].stack.label == "training audio"


def test_dropped_rows_of_augmentation_are_each_clients_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random changes of samples are those that each client draws alone, whatever its company."""
    learners = [make("fedavg", **AUDIO, partition=UNEVEN, precision="float64") for _ in range(2)]
    for learner in learners:
        transform = learner._federation.store.value.transforms["audio"]
        monkeypatch.setattr(
            type(transform), "draw", lambda self, count, random: torch.randn(count, 1, generator=random)
        )
        monkeypatch.setattr(type(transform), "change", lambda self, batch, draws: batch.double() + draws)
    first, second = first_jobs(learners[0]), first_jobs(learners[1])
    found = local_updates([job.inputs for job in second])
    for one, job in zip(found, first, strict=True):
        assert distance(one.state, job.function(**job.inputs).state) < TOLERANCE["float64"]
    monkeypatch.undo()
    assert distance(found[0].state, run_job(first[0]).state) > 1e-3


# Whole runs.


def learnt(folder: Path, kind: str, **jobs: Any) -> tuple[Any, Any]:
    simulation: Any = odd_run(folder, kind, "fedavg", **jobs)
    simulation.run()
    return simulation.states[4].parts, simulation.execution["stacking"]


@pytest.mark.parametrize("kind", ["lstm", "bn", "unused", "frozen"])
def test_networks_that_pytorch_vectorises_are_stacked(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, _ = learnt(tmp_path, kind, precision="float64")
    sizes = []

    def counted(jobs: Any) -> Any:
        sizes.append(len(jobs))
        return local_updates(jobs)

    monkeypatch.setattr("learners.training.late_fusion.local_update.local_updates", counted)
    stacked, facts = learnt(tmp_path, kind, precision="float64", stacking="on")
    assert distance(stacked, alone) < 1e-12
    assert sizes == [4, 4] and facts["obstacles"] == []


@pytest.mark.parametrize(("kind", "reason"), [("dropout", "random numbers"), ("item", r"\.item\(\)")])
def test_others_are_looped_and_the_run_says_why(kind: str, reason: str, tmp_path: Path) -> None:
    alone, _ = learnt(tmp_path, kind)
    auto, facts = learnt(tmp_path, kind, stacking="auto")
    assert distance(auto, alone) == 0.0
    (obstacle,) = facts["obstacles"]
    assert obstacle["label"] == "training features" and "OddNet" in obstacle["reason"]
    with pytest.raises(ScenarioError, match=rf"jobs\.stacking: training features.*{reason}"):
        learnt(tmp_path, kind, stacking="on")


def test_small_is_what_these_tests_say_it_is() -> None:
    """Batches of 8: with 30 samples, six held out, a client has three; with five, one held out, it has one."""
    jobs = first_jobs(make("fedavg", partition=UNEVEN))
    assert SMALL["batch_size"] == 8 and [job.inputs["steps"] for job in jobs] == [1, 2, 3]
    assert np.array_equal(
        [len(job.inputs["samples"].clients[k].train) for k, job in enumerate(jobs)], [4, 14, 24]
    )
