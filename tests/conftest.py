"""Few fixtures: a clock, devices, a scenario as a dictionary that can be written and run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import simpy

import netsim.records.metadata
from netsim.scenario.yaml_file import write_yaml
from netsim.world.devices import Battery, Device, Processor


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """A shell has what runs in its background ignore Ctrl-C, and all that this starts: a test would wait for ever."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def known_versions() -> Iterator[None]:
    """Nobody asks Git and the packages anew for each of thousands of runs."""
    with pytest.MonkeyPatch.context() as patch:
        for fact in ("commit", "versions"):
            patch.setattr(netsim.records.metadata, fact, cache(getattr(netsim.records.metadata, fact)))
        yield


@pytest.fixture
def env() -> simpy.Environment:
    return simpy.Environment()


@pytest.fixture
def make_device(env: simpy.Environment) -> Callable[..., Device]:
    """Devices of 1 FLOP/s and 1 J/FLOP that send with 1 W, so that seconds and joules need no calculator."""

    def make(number: int = 0, capacity_j: float = float("inf"), **radio: Any) -> Device:
        processor = Processor(frequency_hz=1.0, flops_per_cycle=1.0, effective_capacitance_f=1.0)
        battery = radio.pop("battery", None) or Battery(capacity_j)
        return Device(env, number, processor, battery, **{"tx_power_w": 1.0, **radio})

    return make


@pytest.fixture
def write_scenario(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small scenario of the stub learner; keyword arguments replace top-level blocks."""

    def write(name: str = "small", **blocks: Any) -> Path:
        tree: dict[str, Any] = {
            "rounds": 2,
            "devices": {"count": 3},
            "topology": {
                "placement": {"name": "coordinates", "positions_m": [[0, 0], [20, 0], [0, 20]]},
                "links": {"name": "range", "range_m": 50.0},
            },
            "learner": {"name": "stub", "flops": 4e9, "bits": 1e6},
        }
        tree.update(blocks)
        path = tmp_path / f"{name}.yaml"
        path.write_text(write_yaml({k: v for k, v in tree.items() if v is not None}))
        return path

    return write
