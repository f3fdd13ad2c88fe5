"""Studies: points that Optuna chooses, against functions whose best point is known."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from netsim.app.commands.cli import app
from netsim.app.studying import Numbers, Search, numbers
from netsim.core.errors import ScenarioError
from netsim.scenario.sweep import Case, load_sweep

BITS = {"learner.bits": {"low": 1e4, "high": 1e8, "log": True}}


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study of two devices, and returns its file."""
    (tmp_path / "two.yaml").write_text("rounds: 1\ndevices: {count: 2}\nlearner: {name: stub}\n")

    def write(seeds: int = 1, **keys: Any) -> Path:
        file = tmp_path / "search.yaml"
        file.write_text(
            yaml.safe_dump({"scenario": "two.yaml", "seeds": seeds, "study": {"keys": BITS, **keys}})
        )
        return file

    return write


def played(file: Path, outcome: Callable[[Case], Numbers | None]) -> tuple[Search, list[Case]]:
    """A study whose runs end as ``outcome`` says at once, and the runs that it asked for."""
    search = Search(load_sweep(file))
    return search, [case for batch in search.batches(outcome) for case in batch]


def distance(case: Case) -> Numbers:
    """Decades from a million bits."""
    return {"joules": abs(math.log10(case.changed["learner.bits"]) - 6)}


def test_a_study_comes_close_to_the_best_point(study: Callable[..., Path]) -> None:
    pytest.importorskip("optuna")
    search, cases = played(study(trials=40, minimise="joules", seed=1), distance)
    found = [distance(case)["joules"] for case in cases]
    assert len(cases) == 40
    assert sum(found[20:]) < 0.6 * sum(found[:20]), "it learns where to look"
    (best,) = search.best()
    assert best["joules"] == min(found) < 0.1
    mirrored, _ = played(study(trials=40, maximise="joules", seed=1), distance)
    assert mirrored.best()[0]["joules"] > 1.8, "the ends are two decades away"


def test_the_same_study_asks_for_the_same_points_whoever_ends_first(study: Callable[..., Path]) -> None:
    """So a study that was killed finds again what it has done."""
    pytest.importorskip("optuna")
    file = study(trials=13, minimise="joules", batch=3, seeds=2)
    (_, first), (_, again) = played(file, distance), played(file, distance)
    assert [case.name for case in first] == [case.name for case in again]
    assert len(first) == len({case.name for case in first}) == 26


def test_several_aims_give_the_points_that_no_other_beats(study: Callable[..., Path]) -> None:
    """Joules and hours that fall and rise with the bits: all points are on the front; where both rise, only one is."""
    pytest.importorskip("optuna")
    file = study(trials=6, minimise=["joules", "hours"])
    search, cases = played(
        file, lambda case: {"joules": case.changed["learner.bits"], "hours": 1 / case.changed["learner.bits"]}
    )
    assert len(search.best()) == len(cases) == 6
    search, cases = played(
        file, lambda case: dict.fromkeys(("joules", "hours"), case.changed["learner.bits"])
    )
    assert [row["learner.bits"] for row in search.best()] == [
        min(case.changed["learner.bits"] for case in cases)
    ]


def test_a_point_counts_with_the_median_of_its_seeds_and_not_if_one_failed(
    study: Callable[..., Path],
) -> None:
    pytest.importorskip("optuna")
    file = study(trials=2, minimise="joules", seeds=3, batch=1)
    search, _ = played(file, lambda case: {"joules": (1.0, 100.0, 3.0)[case.seed]})
    assert search.best()[0]["joules"] == 3.0
    search, cases = played(file, lambda case: None if case.seed == 1 else {"joules": 1.0})
    assert search.best() == [] and len(cases) == 6


def test_a_value_of_a_list_that_comes_again_is_not_run_again(study: Callable[..., Path]) -> None:
    pytest.importorskip("optuna")
    keys = {"radio.channel": ["none", {"name": "rician", "k_db": 6}]}
    _, cases = played(study(trials=12, minimise="joules", keys=keys), lambda case: {"joules": 1.0})
    assert len(cases) == 2 and {"name": "rician", "k_db": 6} in [
        case.changed["radio.channel"] for case in cases
    ]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"minimise": "joules"}, "study.trials: is missing"),
        ({"trials": 2}, "minimise and maximise must name at least one number"),
        ({"trials": 2, "minimise": "joules", "maximise": ["joules"]}, "each once"),
        ({"trials": 2, "minimise": "joules", "keys": {"learner.bitz": [1, 2]}}, "learner.bitz: unknown"),
        (
            {"trials": 2, "minimise": "joules", "keys": {"rounds": {"low": 0, "high": 9, "whole": True}}},
            "rounds=0",
        ),
        ({"trials": 99_999, "minimise": "joules", "seeds": 2}, "at most 100,000 runs"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    study: Callable[..., Path], keys: dict[str, Any], told: str
) -> None:
    with pytest.raises(ScenarioError, match=told):
        load_sweep(study(**keys))


def test_a_number_that_no_run_has_is_one_line(study: Callable[..., Path]) -> None:
    pytest.importorskip("optuna")
    with pytest.raises(
        ScenarioError, match=r"study: maximise: no run has a number 'acuracy'; there are joules"
    ):
        played(study(trials=2, maximise="acuracy"), distance)


def test_without_optuna_the_line_says_what_to_install(
    study: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    words = ["sweep", str(study(trials=2, minimise="joules")), "--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2 and "pip install 'netsim[study]'" in done.output
    assert not (tmp_path / "runs").exists()


def test_a_study_that_was_stopped_ends_like_one_that_was_not(
    study: Callable[..., Path], tmp_path: Path
) -> None:
    """Of two runs the second is lost; it is done again, the first is not, and the table is the same."""
    pytest.importorskip("optuna")
    words = ["sweep", str(study(trials=2, minimise="hours", batch=1)), "--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "best point" in done.output, done.output
    folder = tmp_path / "runs" / "search"
    table = (folder / "sweep.csv").read_text()
    rows = pd.read_csv(folder / "sweep.csv")
    first, second = map(Path, rows["folder"])
    assert rows["hours"].is_monotonic_increasing == rows["learner.bits"].is_monotonic_increasing
    shutil.rmtree(second)
    (folder / "sweep.csv").unlink()
    known = (first / "summary.json").stat().st_mtime_ns
    assert CliRunner().invoke(app, words).exit_code == 0
    assert (folder / "sweep.csv").read_text() == table
    assert (first / "summary.json").stat().st_mtime_ns == known


def test_numbers_are_called_as_the_table_of_a_sweep_calls_them() -> None:
    summary = {
        "simulated_h": 2.0,
        "energy_per_device_j": {"mean": 3.0},
        "accuracy": {"fused": {"final": 0.5, "best": 0.6}},
        "metrics": {"loss": {"audio": {"first": 2.0, "last": 1.0}}},
    }
    assert numbers(summary) == {
        "hours": 2.0, "joules": 3.0, "accuracy fused": 0.5, "best accuracy fused": 0.6, "loss audio": 1.0
    }  # fmt: skip
