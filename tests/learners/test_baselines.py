"""Baselines around any learner: what they name is checked, and whatever it is, nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netsim.app.build import build
from netsim.core.errors import ScenarioError
from netsim.events import Observer
from netsim.scenario.loading import load_plan


class Rows(Observer):
    """Transfers and rounds."""

    def __init__(self) -> None:
        self.transfers: list[Any] = []
        self.rounds: list[Any] = []

    def on_transfers(self, batch: Any) -> None:
        self.transfers.extend(batch.rows())

    def on_round_end(self, row: Any, iterations: Any) -> None:
        self.rounds.append(row)


@pytest.mark.parametrize("protocol", ["decentralized_rounds", "server_rounds", "asynchronous_server"])
def test_isolated_devices_compute_what_the_other_learner_says_and_send_nothing(
    protocol: str, write_scenario: Callable[..., Path], tmp_path: Path
) -> None:
    """The stub, which sends 1 Mbit a message by itself: 3 rounds of 2e8 FLOPs on each of three devices."""
    path = write_scenario(
        rounds=3,
        protocol={"name": protocol},
        learner={"name": "isolated", "of": "stub", "flops": 1e8, "iterations": 2},
    )
    simulation = build(load_plan(path), tmp_path, lambda text: None)
    simulation.watch(rows := Rows())
    simulation.run()
    assert not [row for row in rows.transfers if row.size_bits]
    computed = [row.flops for row in rows.rounds if row.outcome == "finished"]
    assert computed and set(computed) == {2e8}
    if protocol != "asynchronous_server":
        assert len(computed) == 9


@pytest.mark.parametrize(
    ("learner", "expected"),
    [
        ({"of": "dmlm"}, r"learner\.of: unknown name 'dmlm'. Did you mean 'dmml'\?"),
        ({"of": "isolated"}, r"learner\.of: 'isolated' cannot be a baseline.*use one of: .*dmml"),
        ({"of": "dmml", "alpha_kd": 1.0}, r"learner\.alpha_kd: unknown key"),
        ({"of": "dmml_kd", "alpha_kd": -1.0}, r"learner\.alpha_kd: must be at least 0"),
        ({"batch_sise": 8}, r"learner\.batch_sise: unknown key. Did you mean 'batch_size'\?"),
    ],
)
def test_what_is_wrong_with_a_baseline_s_block_is_said_as_for_the_learner_that_it_names(
    learner: dict[str, Any], expected: str, write_scenario: Callable[..., Path]
) -> None:
    for name in ("isolated", "centralized"):
        with pytest.raises(ScenarioError, match=expected):
            load_plan(write_scenario(learner={"name": name, **learner}))
