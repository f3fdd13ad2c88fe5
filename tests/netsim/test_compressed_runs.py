"""Whole runs with compression and privacy: bits and ε in the records, on any executor, resumed and retimed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from retiming import netsim, retimed_as, run
from test_resume import cut, records, resume

from learners.training.privacy import epsilon

NOISE = {"clip": 1.0, "noise_multiplier": 1.0}
WORLDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gossip": ({"compression": {"name": "top_k", "ratio": 0.25}, "privacy": NOISE}, {}),
    "gossip of dmml": ({"name": "dmml", "compression": {"name": "top_k", "ratio": 0.25}}, {}),
    "error feedback": (
        {"compression": {"name": "quantise", "error_feedback": True}},
        {"name": "server_rounds", "participants": 2},
    ),
    "by sample": (
        {"compression": "random_k", "privacy": {**NOISE, "mode": "sample"}},
        {"name": "asynchronous_server", "buffer": 2},
    ),
    "hierarchy": (
        {"compression": {"name": "sign", "error_feedback": True}},
        {"name": "hierarchical_rounds", "edge_rounds": 2, "backhaul": {"rate_bps": 1e6}},
    ),
}


@pytest.fixture
def write(write_scenario: Callable[..., Path]) -> Callable[..., Path]:
    def scenario(world: str, **others: Any) -> Path:
        learner, protocol = WORLDS[world]
        networks = {"features": {"name": "mlp", "hidden": [6]}}
        return write_scenario(
            rounds=5,
            data={"name": "generated", "samples": 48, "test_samples": 12, "shape": [1, 6, 6], "classes": 3},
            partition={"name": "iid"},
            learner={"name": "fedavg", "networks": networks, "batch_size": 8, **learner},
            jobs={"device": "cpu", "threads": 1, "executor": "inline", "stacking": "off"},
            **({"protocol": protocol} if protocol else {}),
            **others,
        )

    return scenario


@pytest.mark.parametrize("world", WORLDS)
def test_a_killed_run_goes_on_to_the_same_records(write: Callable[..., Path], world: str) -> None:
    whole, (late,) = cut(write(world, snapshots={"every": 2}), 4)
    assert resume(late).exit_code == 0
    assert records(late) == records(whole)
    assert netsim("verify", whole).exit_code == 0


@pytest.mark.parametrize("world", WORLDS)
def test_it_is_the_same_run_elsewhere_and_retimed(write: Callable[..., Path], world: str) -> None:
    """A forked process; and other processors, with the training done again or not."""
    first = run(write(world), "first")
    forked = run(write(world), "forked", "jobs.executor.name=forked")
    assert records(forked).keys() == records(first).keys()
    for name in ("metrics.parquet", "transfers.parquet", "rounds.parquet"):
        assert records(forked)[name] == records(first)[name]
    if world == "by sample":  # when uploads come decides what is learnt
        return
    retimed_as(
        run(write(world), "fresh", "devices.processor.frequency_hz=3e9"),
        first,
        "devices.processor.frequency_hz=3e9",
    )


def test_bits_and_epsilon_are_in_the_records(write: Callable[..., Path]) -> None:
    """36 · 6 + 6 = 222 weights of the trunk and 6 · 3 + 3 = 21 of the head; k is 56 and 6, with maps of places."""
    folder = run(write("gossip"), "first")
    transfers, metrics = (pd.read_parquet(folder / f"{name}.parquet") for name in ("transfers", "metrics"))
    assert set(transfers["size_bits"]) == {56 * 32 + 222 + 6 * 32 + 21}
    told = metrics[metrics["name"] == "epsilon"]
    expected = {t: epsilon(1.0, 1.0, t, 1e-5) for t in range(1, 6)}
    assert len(told) == 15
    assert all(row.value == pytest.approx(expected[row.round]) for row in told.itertuples())
