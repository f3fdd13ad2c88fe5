"""Samples that are whole numbers reach networks as whole numbers, under every kind of learner."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from text_task import LENGTH, Reader, Sentences

from learners.data.dataset import as_input
from learners.training.flops import Passes, count
from learners.training.task import store_of
from netsim.app.build import build
from netsim.core.errors import ScenarioError
from netsim.events import Observer
from netsim.scenario.loading import load_plan

LEARNERS: dict[str, dict[str, Any]] = {
    "dmml": {"batch_size": 8, "learning_rate": 0.02},
    "dmml_kd": {"batch_size": 8, "learning_rate": 0.02},
    "fedavg": {"batch_size": 8, "learning_rate": 0.5, "head_hidden": 16},
    "mhd": {"batch_size": 8, "learning_rate": 0.05, "momentum": 0.9, "local_steps": 20, "auxiliary_heads": 1},
    "fedmd": {"public_epochs": 1, "private_epochs": 2, "batch_size": 8, "learning_rate": 0.02},
}


class Judged(Observer):
    """Accuracies in the order in which they were told."""

    def __init__(self) -> None:
        self.accuracies: list[float] = []

    def on_metrics(self, rows: Any) -> None:
        self.accuracies += [row.value for row in rows if row.name == "accuracy" and not row.modality]


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("name", LEARNERS)
def test_sentences_are_learnt(write_scenario: Any, name: str, recurrent: bool) -> None:
    """Four classes, of which chance finds a quarter."""
    network = {"name": "text_task:Reading", "recurrent": recurrent}
    server = name in ("fedavg", "fedmd")
    path = write_scenario(
        rounds=6,
        devices={"count": 3},
        data={"name": "text_task:Sentences"},
        partition={"name": "iid", "public_share": 0.2 if name in ("mhd", "fedmd") else 0.0},
        learner={"name": name, "networks": {"text": network}, **LEARNERS[name]},
        jobs={"device": "cpu", "threads": 1, "executor": "inline", "stacking": "off"},
        **({"protocol": {"name": "server_rounds"}} if server else {}),
    )
    simulation, judged = build(load_plan(path), path.parent / "cache", lambda text: None), Judged()
    simulation.watch(judged)
    simulation.run()
    assert max(judged.accuracies[-3:]) > 0.4


def test_two_training_samples_are_tokens_and_so_is_what_a_store_gives() -> None:
    data = Sentences(None).load(0, None, print)  # type: ignore[arg-type]
    store = store_of(data, ["text"], "cpu")
    rows = torch.arange(5)
    draws = torch.Generator()
    for seen in (
        store.seen("text", rows, torch.float64),
        store.trained_on("text", rows, None, torch.bfloat16),
        store.augmented("text", rows, draws, torch.float32),
    ):
        assert seen.dtype == torch.int64 and torch.equal(seen, data.inputs["text"][:5])


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        *(
            (dtype, torch.float64)
            for dtype in (torch.float32, torch.float16, torch.uint8, torch.int16, torch.bool)
        ),
        *((dtype, dtype) for dtype in (torch.int32, torch.int64)),
    ],
)
def test_pixels_and_sound_become_numbers_of_the_working_precision_and_tokens_do_not(
    stored: torch.dtype, given: torch.dtype
) -> None:
    assert as_input(torch.ones(2, 3).to(stored), torch.float64).dtype == given


def test_costs_of_a_network_that_looks_words_up() -> None:
    """Only the linear layer multiplies: 16 x 16, whose input has a gradient since the look-up is trained."""
    words = torch.zeros(2, LENGTH, dtype=torch.int64)
    assert count(Reader(16, recurrent=False), words) == Passes(16 * 16, 2 * 16 * 16)
    # A GRU's inputs have a gradient too; its first state has none.
    forward = LENGTH * 3 * 16 * (16 + 16)
    backward = 2 * forward - 3 * 16 * 16
    assert count(Reader(16, recurrent=True), words) == Passes(forward + 256, backward + 512)


def test_a_network_of_vectors_says_in_one_line_that_it_cannot_take_tokens(write_scenario: Any) -> None:
    path = write_scenario(
        data={"name": "text_task:Sentences"}, partition={"name": "iid"}, learner={"name": "dmml"}
    )
    with pytest.raises(
        ScenarioError, match=r": learner\.networks\.text: the network cannot take .*int64"
    ) as found:
        build(load_plan(path), path.parent / "cache", lambda text: None)
    assert "\n" not in str(found.value)
