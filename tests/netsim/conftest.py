"""Runs small scenarios and keeps what observers saw."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bookkeeping import Log

from netsim.app.build import build
from netsim.app.simulation import Simulation
from netsim.scenario import load_plan

ONE_BY_ONE = {"executor": "inline", "stacking": "off", "threads": 1}


@pytest.fixture
def simulate(write_scenario: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[Simulation, Log]]:
    """Builds and runs a scenario of the stub learner; returns the simulation and what happened.

    Jobs are done one by one where the scenario does not say how: with ``auto`` times decide how sums are rounded.
    """

    def run(settings: tuple[str, ...] = (), **blocks: Any) -> tuple[Simulation, Log]:
        plan = load_plan(write_scenario(**{"jobs": ONE_BY_ONE} | blocks), settings)
        simulation = build(plan, tmp_path / "cache", lambda text: None)
        log = Log()
        simulation.watch(log)
        log.follow(simulation)
        simulation.run()
        return simulation, log

    return run


@pytest.fixture
def late_fusion() -> Callable[..., dict[str, Any]]:
    """Blocks of a scenario in which a small network learns generated data through a server."""

    def blocks(name: str, *hidden: int) -> dict[str, Any]:
        return {
            "data": {"name": "generated", "samples": 75, "test_samples": 40, "shape": [8]},
            "partition": {"name": "iid"},
            "learner": {
                "name": name,
                "batch_size": 8,
                "head_hidden": 4,
                "networks": {"features": {"name": "mlp", "hidden": list(hidden)}},
            },
        }

    return blocks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)
