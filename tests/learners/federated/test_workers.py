"""Every learner with a server, whole simulations: its clients trained alone, in threads, in processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_task import NETWORKS, Kept

from learners.checks import fingerprint
from netsim.app.simulation import build
from netsim.scenario.loading import load_plan

IN_ROUNDS = [
    "cgb",
    "centralized_server",
    "fedatt",
    "fedavg",
    "fedhgb",
    "fednova",
    "fedprox",
    "isolated_clients",
    "mgb",
]
WITHOUT = ["fedasync", "fedbuff"]


@pytest.fixture
def run(write_scenario: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[str, list[Any]]]:
    def run(learner: str, executor: str) -> tuple[str, list[Any]]:
        protocol: dict[str, Any] = {"name": "server_rounds"}
        if learner in WITHOUT:
            protocol = {"name": "asynchronous_server"}
        band = {"bandwidth_hz": 1e6}
        path = write_scenario(
            devices={"count": 4},
            topology={
                "placement": {"name": "coordinates", "positions_m": [[50, 0], [-70, 0], [0, 90], [0, -80]]}
            },
            protocol=protocol,
            server={"uplink": band, "downlink": {**band, "mode": "unicast"}},
            data={"name": "tiny_task:TinyData"},
            partition={"name": "iid"},
            learner={"name": learner, "networks": NETWORKS, "batch_size": 4, "head_hidden": 6},
            jobs={"device": "cpu", "threads": 1, "stacking": "off", "executor": executor},
        )
        simulation = build(load_plan(path), tmp_path, lambda text: None)
        kept = Kept()
        simulation.watch(kept)
        simulation.run()
        versions = simulation.learner._versions  # type: ignore[attr-defined]
        return fingerprint(dict(versions[max(versions)].state)), kept.rows

    return run


@pytest.mark.parametrize("executor", ["threads", "processes"])
@pytest.mark.parametrize("learner", IN_ROUNDS + WITHOUT)
def test_workers_give_the_same_bytes(learner: str, executor: str, run: Any) -> None:
    model, metrics = run(learner, "inline")
    same_model, same_metrics = run(learner, executor)
    assert metrics and {row.round for row in metrics} == {1, 2}
    assert repr(same_metrics) == repr(metrics)
    assert same_model == model
