"""``netsim retime`` of runs that learn: as if they had been trained again, or a line that says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from retiming import refused, remembered, retime, retimed_as, run
from tiny_task import NETWORKS

from netsim.records.checksums import write_checksums

Tree = dict[str, Any]
TOPOLOGY = {
    "placement": {"name": "grid", "spacing_m": 20.0},
    "links": {"name": "range", "range_m": 30.0},
}
MULTIMODAL = {
    "data": {"name": "tiny_task:TinyData"},
    "partition": {"name": "iid", "gamma": 0.5},
    "learner": {"networks": NETWORKS, "batch_size": 16},
}
MLP = {"features": {"name": "mlp", "hidden": [6]}}
PLAIN = {
    "data": {"name": "generated", "samples": 48, "test_samples": 12, "shape": [1, 6, 6], "classes": 3},
    "partition": {"name": "iid", "public_share": 0.2},
    "learner": {"networks": MLP, "batch_size": 8},
}
DISTILLED = {"generator_hidden": 8, "noise_size": 4, "generator_iterations": 2}
SERVER = {"protocol": {"name": "server_rounds", "participants": 3}}
LEARNERS: dict[str, tuple[Tree, Tree]] = {
    "dmml": (MULTIMODAL, {}),
    "dmml_kd": (MULTIMODAL, DISTILLED),
    "dmml_kd_balance": ({**MULTIMODAL, "jobs": {"device": "cpu", "executor": "forked"}}, DISTILLED),
    "fedavg": ({**PLAIN, **SERVER}, {"head_hidden": 4}),
    "dmml, hierarchical": (
        {
            **MULTIMODAL,
            "protocol": {"name": "hierarchical_rounds", "edge_rounds": 2, "backhaul": {"rate_bps": 1e6}},
        },
        {},
    ),
    "dmml, gossip": (
        {**MULTIMODAL, "protocol": {"name": "asynchronous_gossip", "staleness": "polynomial"}},
        {},
    ),
    "fedhgb": ({**PLAIN, **SERVER}, {"head_hidden": 4}),
    "fedbuff": ({**PLAIN, "protocol": {"name": "asynchronous_server", "buffer": 2}}, {"head_hidden": 4}),
    "isolated": (MULTIMODAL, {}),
    "mhd": (PLAIN, {"local_steps": 2, "public_batch_size": 8}),
    "fedzkt": (
        {**PLAIN, **SERVER, "partition": {"name": "iid"}},
        {
            "distillation_iterations": 2,
            "server_batch_size": 4,
            "noise_size": 3,
            "generator_channels": [4, 2],
            "local_epochs": 1,
            "global_network": MLP["features"],
        },
    ),
}


@pytest.fixture
def first(write_scenario: Callable[..., Path]) -> Callable[..., Path]:
    """Runs two rounds of a learner on four devices; returns the run's folder."""

    def go(name: str, *settings: str, **options: Any) -> Path:
        tree, own = LEARNERS[name]
        jobs = {"device": "cpu", "threads": 1, "executor": "inline", "stacking": "off"}
        learner = {**tree["learner"], "name": name.partition(",")[0], **own, **options}
        blocks = {"jobs": jobs, "devices": {"count": 4}, "topology": TOPOLOGY, **tree, "learner": learner}
        return run(write_scenario(**blocks), "first", *settings)

    return go


@pytest.mark.parametrize("name", [name for name in LEARNERS if "gossip" not in name])
def test_it_is_a_run_that_was_trained_again(
    name: str, first: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [
        "radio.bandwidth_hz=1e6",
        "devices.processor.frequency_hz=5e8",
        "server.uplink.bandwidth_hz=3e7",
        "costs.flops_per_mac=1",
    ]
    folder = first(name)
    assert (folder / "answers.parquet").is_file() == (name == "dmml_kd_balance")
    retimed_as(run(folder / "scenario.yaml", "fresh", *settings), folder, *settings)
    monkeypatch.setattr("netsim.app.remembered.loaded_from", lambda folders: {})
    monkeypatch.setattr("netsim.app.remembered.OURS", ("netsim", "learners", "tiny_task"))
    assert retime(folder, "radio.bandwidth_hz=3e6").exit_code == 0
    assert remembered(folder, *settings[:3])


def test_gossip_while_messages_come_in_the_same_rounds(first: Callable[..., Path]) -> None:
    """Other joules change nothing that is learnt; where a device is slower, others hear it later."""
    folder = first("dmml, gossip", "costs.flops_per_mac=1e6")
    joules = "devices.processor.effective_capacitance_f=1e-28"
    retimed_as(run(folder / "scenario.yaml", "fresh", joules), folder, joules)
    line = refused(folder, "devices.stragglers={name: given, factors: {0: 9}}")
    assert "round 2, device" in line and "would combine what device" in line


@pytest.mark.parametrize("name", ["dmml, gossip", "dmml, hierarchical"])
def test_moving_devices_that_meet_the_same_ones(name: str, first: Callable[..., Path]) -> None:
    """Other joules change nothing that is learnt; other ways bring other devices, or other edge servers, together."""
    walk = "mobility={name: random_waypoint, diameter_m: 80, speed_mps: [SPEED]}"
    slow, fast = walk.replace("SPEED", "1, 2"), walk.replace("SPEED", "20, 40")
    folder = first(name, "costs.flops_per_mac=1e6", slow)
    joules = "devices.processor.effective_capacitance_f=1e-28"
    retimed_as(run(folder / "scenario.yaml", "fresh", joules), folder, joules)
    line = refused(folder, fast)
    assert "round " in line and "something else would be learnt" in line


def test_a_battery_for_fewer_iterations_stops_it(first: Callable[..., Path]) -> None:
    """Where a device trains only as much as its battery affords, less energy is less training."""
    folder = first("dmml", "devices.battery.capacity_j=10", spare_battery=True)
    line = refused(folder, "devices.processor.effective_capacitance_f=2e-23")
    assert "round 1, device 0: would compute iterations: " in line
    assert "in the run it did compute iterations: 2 of audio, 2 of visual" in line


def test_values_of_one_moment_are_not_given_to_two(first: Callable[..., Path]) -> None:
    """Devices that send nothing and are equally fast train and combine in one moment; a slow one makes it two."""
    line = refused(first("isolated"), "devices.stragglers={name: exponential, mean: 2.0}")
    assert "measured twice in one moment of the run, and now in two moments" in line


def test_values_that_the_clock_waited_for_and_that_are_not_there_are_missed(
    first: Callable[..., Path],
) -> None:
    folder = first("dmml_kd_balance")
    (folder / "answers.parquet").unlink()
    write_checksums(folder)
    line = refused(folder, "radio.bandwidth_hz=1e6")
    assert "the learner asks for a value that was learnt (work.value)" in line and "table answers" in line
