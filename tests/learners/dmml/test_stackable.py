"""Networks that can be stacked are, with the loop's results; others are run one by one, and the run says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from odd_networks import odd_run
from tiny_task import models_of
from typer.testing import CliRunner

from netsim.app.commands.cli import app
from netsim.core.errors import ScenarioError

STACKABLE = [
    "plain", "frozen", "tied", "unused", "scalar", "lazy", "constant", "boolean", "integer", "complex", "bn",
    "bn_plain", "gn", "prelu", "weight_norm", "lstm", "gru", "rnn", "weightless",
]  # fmt: skip
OTHERS = {
    "bn_cumulative": r"\.item\(\)",
    "spectral_norm": "cannot vectorise",
    "branch": "data-dependent",
    "item": r"\.item\(\)",
    "replaced": "buffers are not those",
    "dropout": "draws random numbers",
    "rrelu": "draws random numbers",
    "noise": "draws random numbers",
}


def distance(one: Any, other: Any) -> float:
    """Over devices and parts, ‖one − other‖ relative to ‖other‖."""
    return max(
        float(torch.linalg.vector_norm(state[part].row.tensor - other[k][part].row.tensor))
        / max(float(torch.linalg.vector_norm(other[k][part].row.tensor)), 1e-30)
        for k, state in one.items()
        for part in state
    )


def learnt(folder: Path, kind: str, **jobs: Any) -> tuple[Any, Any]:
    simulation: Any = odd_run(folder, kind, **jobs)
    simulation.run()
    return models_of(simulation), simulation.execution["stacking"]


@pytest.mark.parametrize("kind", STACKABLE)
def test_stacked_is_the_loop_up_to_rounding(kind: str, tmp_path: Path) -> None:
    alone, _ = learnt(tmp_path, kind, precision="float64")
    stacked, facts = learnt(tmp_path, kind, precision="float64", stacking="on")
    assert distance(stacked, alone) < 1e-12
    assert facts["obstacles"] == []


@pytest.mark.parametrize("kind", ["lstm", "tied", "frozen", "bn", "weightless"])
def test_what_auto_chooses_is_the_loop_up_to_rounding(kind: str, tmp_path: Path) -> None:
    alone, _ = learnt(tmp_path, kind)
    auto, _ = learnt(tmp_path, kind, stacking="auto", executor="auto")
    assert distance(auto, alone) < 1e-5


def test_a_running_mean_that_is_rounding_is_no_obstacle(tmp_path: Path) -> None:
    _, facts = learnt(tmp_path, "centred", stacking="on")
    assert facts["obstacles"] == []


@pytest.mark.parametrize("kind", OTHERS)
def test_a_network_that_cannot_be_stacked_is_run_in_the_loop_and_the_run_says_why(
    kind: str, tmp_path: Path
) -> None:
    alone, _ = learnt(tmp_path, kind)
    auto, facts = learnt(tmp_path, kind, stacking="auto", executor="auto")
    assert distance(auto, alone) < 1e-6  # evaluations alone may be stacked
    found = {one["label"]: one["reason"] for one in facts["obstacles"]}
    assert "'odd_networks:OddNet' (modality features)" in found["training features"]
    with pytest.raises(ScenarioError, match=rf"jobs\.stacking: training features.*OddNet.*{OTHERS[kind]}"):
        learnt(tmp_path, kind, stacking="on")


@pytest.mark.parametrize("executor", ["threads", "processes", "forked"])
def test_workers_do_without_stacks_too(executor: str, tmp_path: Path) -> None:
    alone, _ = learnt(tmp_path, "item")
    away, facts = learnt(tmp_path, "item", stacking="auto", executor=executor)
    assert distance(away, alone) == 0.0
    assert [one["label"] for one in facts["obstacles"]] == ["training features", "evaluation features"]


def test_the_command_line_ends_with_one_line(tmp_path: Path) -> None:
    odd_run(tmp_path, "item", stacking="on")
    found = CliRunner().invoke(
        app, ["run", str(tmp_path / "odd.yaml"), "--runs", str(tmp_path), "--no-plots"]
    )
    lines = [line for line in found.output.splitlines() if "jobs.stacking" in line]
    assert found.exit_code == 2 and len(lines) == 1 and "Traceback" not in found.output


def test_lazy_layers_that_find_no_sizes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from odd_networks import Odd

    def broken(self: Odd, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("no such shape")

    monkeypatch.setattr(Odd, "forward", broken)
    with pytest.raises(ScenarioError, match=r"learner\.networks\.features: .*lazy layers.*no such shape"):
        odd_run(tmp_path, "lazy")
