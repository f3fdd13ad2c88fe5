"""Runs small scenarios and keeps what observers saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netsim.app.build import build
from netsim.app.simulation import Simulation
from netsim.events import Observer
from netsim.scenario import load_plan


class Log(Observer):
    """Keeps every row."""

    def __init__(self) -> None:
        self.rounds: list[Any] = []
        self.outside: list[Any] = []
        self.transfers: list[Any] = []
        self.metrics: list[Any] = []
        self.server: list[Any] = []
        self.edges: list[Any] = []
        self.charges: list[Any] = []
        self.revivals: list[tuple[int, float]] = []
        self.deaths: list[tuple[int, float]] = []
        self.closed: list[tuple[int, float]] = []
        self.iterations: list[dict[str, int]] = []

    def on_transfers(self, batch):
        self.transfers.extend(batch.rows())

    def on_metrics(self, rows):
        self.metrics.extend(rows)

    def on_round_end(self, row, iterations):
        self.rounds.append(row)
        self.iterations.append(iterations)

    def on_outside(self, row):
        self.outside.append(row)

    def on_server_round(self, row):
        self.server.append(row)

    def on_edge_round(self, row):
        self.edges.append(row)

    def on_charge(self, row):
        self.charges.append(row)

    def on_revival(self, device, time_s):
        self.revivals.append((device, time_s))

    def on_death(self, device, time_s):
        self.deaths.append((device, time_s))

    def on_round_closed(self, round, time_s):
        self.closed.append((round, time_s))


@pytest.fixture
def make_log() -> type[Log]:
    """Makes observers that keep every row."""
    return Log


@pytest.fixture
def simulate(
    write_scenario: Callable[..., Path], tmp_path: Path, by_workers: Callable[[Simulation], Simulation]
) -> Callable[..., tuple[Simulation, Log]]:
    """Builds and runs a scenario of the stub learner; returns the simulation and what happened."""

    def run(settings: tuple[str, ...] = (), **blocks: Any) -> tuple[Simulation, Log]:
        plan = load_plan(write_scenario(**blocks), settings)
        simulation = by_workers(build(plan, tmp_path / "cache", lambda text: None))
        log = Log()
        simulation.watch(log)
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
