"""Every averaging learner, whole simulations: its clients trained alone, in threads, in processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_task import NETWORKS, Kept

from learners.checks import fingerprint
from netsim.app.build import build
from netsim.scenario.loading import load_plan

IN_ROUNDS = [
    "cgb",
    "fedatt",
    "fedavg",
    "fedhgb",
    "fednova",
    "fedprox",
    "mgb",
]
WAITS_FOR_NOBODY = ["fedasync", "fedbuff"]
ALONE = ["fedavg", "fedprox"]
"""Those that need no server."""

CASES = [
    *((learner, "server_rounds") for learner in IN_ROUNDS),
    *((learner, "asynchronous_server") for learner in WAITS_FOR_NOBODY),
    *((learner, "decentralized_rounds") for learner in ALONE),
]


@pytest.fixture
def run(write_scenario: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[str, list[Any]]]:
    def run(learner: str, protocol: str, executor: str) -> tuple[str, list[Any]]:
        band = {"bandwidth_hz": 1e6}
        path = write_scenario(
            devices={"count": 4},
            topology={
                "placement": {"name": "coordinates", "positions_m": [[50, 0], [-70, 0], [0, 90], [0, -80]]},
                "links": {"name": "range", "range_m": 150.0},
            },
            protocol={"name": protocol},
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
        return fingerprint(dict(simulation.states)), kept.rows

    return run


@pytest.mark.parametrize(("learner", "protocol"), CASES)
def test_workers_give_the_same_bytes(learner: str, protocol: str, run: Any) -> None:
    states, metrics = run(learner, protocol, "inline")
    assert metrics and {row.round for row in metrics} == {1, 2}
    for executor in ("threads", "processes"):
        same_states, same_metrics = run(learner, protocol, executor)
        assert repr(same_metrics) == repr(metrics), executor
        assert same_states == states, executor
