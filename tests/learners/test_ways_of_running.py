"""Every learner, two rounds of a whole simulation: alone, stacked, in workers, in a forked process, on Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_task import NETWORKS, Kept, models_of

from netsim.app.build import build
from netsim.scenario.loading import load_plan

LEARNERS = ["dmml", "dmml_kd", "dmml_kd_balance", "isolated", "centralized"]
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


@pytest.fixture(scope="module")
def done() -> dict[str, tuple[dict[int, Any], pd.DataFrame]]:
    """What inline runs gave, by what was asked of them: many tests compare with the same."""
    return {}


@pytest.fixture
def run(
    write_scenario: Callable[..., Path],
    tmp_path: Path,
    done: dict[str, tuple[dict[int, Any], pd.DataFrame]],
) -> Callable[..., tuple[dict[int, Any], pd.DataFrame]]:
    def run(learner: str, **jobs: Any) -> tuple[dict[int, Any], pd.DataFrame]:
        jobs = {"device": "cpu", "threads": 1, "memory_gib": 4, "precision": "float32", **jobs}
        asked = repr((learner, sorted(jobs.items())))
        if asked not in done or jobs.get("executor") != "inline":
            done[asked] = anew(learner, jobs)
        return done[asked]

    def anew(learner: str, jobs: dict[str, Any]) -> tuple[dict[int, Any], pd.DataFrame]:
        options: dict[str, Any] = {"name": learner, "networks": NETWORKS, "batch_size": 4}
        if "kd" in learner:
            options |= {"generator_hidden": 8, "noise_size": 4, "generator_iterations": 3}
        path = write_scenario(
            devices={"count": 4},
            topology={
                "placement": {"name": "grid", "spacing_m": 20.0},
                "links": {"name": "range", "range_m": 30.0},
            },
            data={"name": "tiny_task:TinyData"},
            partition={"name": "iid", "gamma": 0.5},
            learner=options,
            jobs=jobs,
        )
        simulation = build(load_plan(path), tmp_path, lambda text: None)
        kept = Kept()
        simulation.watch(kept)
        simulation.run()
        return models_of(simulation), pd.DataFrame(kept.rows)

    return run


def largest_distance(one: dict[int, Any], other: dict[int, Any]) -> float:
    """Over devices and parts, ‖one − other‖ relative to ‖other‖."""
    assert one.keys() == other.keys()
    return max(
        float(
            torch.linalg.vector_norm(state[part].row.tensor - other[k][part].row.tensor)
            / torch.linalg.vector_norm(other[k][part].row.tensor).clamp(min=1e-30)
        )
        for k, state in one.items()
        for part in state
    )


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_stacked_gives_the_same_parameters_up_to_rounding(learner: str, precision: str, run: Any) -> None:
    alone, measured = run(learner, executor="inline", stacking="off", precision=precision)
    stacked, same = run(learner, executor="inline", stacking="on", precision=precision)
    assert largest_distance(stacked, alone) < TOLERANCE[precision]
    assert list(same.columns) == list(measured.columns)
    assert same.drop(columns="value").equals(measured.drop(columns="value"))
    assert same.value.tolist() == pytest.approx(measured.value.tolist(), rel=1e-3, nan_ok=True)


@pytest.mark.parametrize("executor", ["threads", "processes"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_workers_give_the_same_bytes(learner: str, executor: str, run: Any) -> None:
    alone, measured = run(learner, executor="inline", stacking="off")
    away, same = run(learner, executor={"name": executor, "workers": 2}, stacking="off")
    assert largest_distance(away, alone) == 0.0
    assert same.equals(measured)


@pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch cannot be forked where it sees a GPU")
@pytest.mark.parametrize("stacking", ["on", "off"])
@pytest.mark.parametrize("learner", ["dmml", "dmml_kd", "dmml_kd_balance", "isolated", "centralized"])
def test_a_forked_process_gives_the_same_bytes(learner: str, stacking: str, run: Any) -> None:
    here, measured = run(learner, executor="inline", stacking=stacking)
    there, same = run(learner, executor="forked", stacking=stacking)
    assert largest_distance(there, here) == 0.0
    assert same.equals(measured)


def test_stacks_in_processes_are_stacks(run: Any) -> None:
    alone, _ = run("dmml_kd", executor="inline", stacking="off", precision="float64")
    away, _ = run("dmml_kd", executor={"name": "processes", "workers": 2}, stacking="on", precision="float64")
    assert largest_distance(away, alone) < TOLERANCE["float64"]


def test_how_far_the_simulation_runs_ahead_changes_nothing(run: Any) -> None:
    alone, measured = run("dmml", executor="inline", stacking="off")
    for max_pending in (0, 1, 100):
        away, same = run("dmml", executor="threads", stacking="off", max_pending=max_pending)
        assert largest_distance(away, alone) == 0.0
        assert same.equals(measured)


def test_auto_gives_the_same_parameters_up_to_rounding(run: Any) -> None:
    alone, _ = run("dmml_kd", executor="inline", stacking="off", precision="float64")
    auto, _ = run("dmml_kd", precision="float64")
    assert largest_distance(auto, alone) < TOLERANCE["float64"]


def test_ray_gives_the_same_bytes(run: Any) -> None:
    pytest.importorskip("ray")
    alone, measured = run("dmml_kd", executor="inline", stacking="off")
    away, same = run("dmml_kd", executor={"name": "ray", "workers": 2}, stacking="off")
    assert largest_distance(away, alone) == 0.0
    assert same.equals(measured)
