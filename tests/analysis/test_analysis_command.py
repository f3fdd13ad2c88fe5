"""``python -m analysis``: what a person sees."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from run_folders import simulate
from typer.testing import CliRunner

from analysis import Run
from analysis.__main__ import app
from analysis.runs.terminal import cell, show_table, with_error
from analysis.runs.units import readable


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*words: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, list(words))
        return result.exit_code, result.stdout, result.stderr

    return run


def test_one_folder_gives_tables_and_plots(command: Callable, tmp_path: Path) -> None:
    folder = simulate(tmp_path / "runs" / "crema_d" / "1", rounds=12, count=4)
    code, out, _ = command(str(folder))
    assert code == 0
    for text in ("dmml, seed 1", "surrogate data", "Energy by device", "[kJ]", "p99", "Stragglers"):
        assert text in out
    assert (folder / "plots" / "accuracy.png").exists()


def test_several_folders_are_compared(command: Callable, tmp_path: Path) -> None:
    folders = [simulate(tmp_path / "runs" / str(seed), seed=seed, rounds=3, count=4) for seed in (1, 2)]
    code, out, _ = command(*map(str, folders))
    assert code == 0
    assert "±" in out
    assert (tmp_path / "runs" / "comparison.png").exists()
    command(*map(str, folders), "--output", str(tmp_path / "mine.svg"))
    assert (tmp_path / "mine.svg").exists()


def test_a_run_without_metrics_is_shown_without_them(command: Callable, make_run: Callable[..., Run]) -> None:
    code, out, _ = command(str(make_run().folder))
    assert code == 0
    assert "no accuracy was measured" in out


def test_a_wrong_folder_is_one_line_and_exit_code_2(command: Callable, tmp_path: Path) -> None:
    code, out, err = command(str(tmp_path / "nowhere"))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and "no such folder" in err


def test_help_explains_both_uses(command: Callable) -> None:
    code, out, _ = command("--help")
    assert code == 0
    assert "RUN_FOLDER" in out and "Several folders" in out and "--target" in out


def test_a_narrow_terminal_cuts_nothing_short(capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.DataFrame(
        {"learner": ["dmml_kd_balance"], "seeds": [3], "best": ["0.622 ± 0.002"], "p99": [1234.5]}
    )
    show_table(Console(width=20), table, "Narrow")
    out = capsys.readouterr().out
    for text in ("dmml_kd_balance", "seeds", "0.622 ± 0.002", "1234"):
        assert text in out


def test_numbers_are_written_for_readers() -> None:
    assert [cell(value) for value in (0.61234, 12345.6, 3.0, float("inf"), float("nan"), "x")] == [
        *("0.6123", "12,346", "3", "∞", "–", "x"),
    ]
    assert with_error(0.62214, 0.0023) == "0.622 ± 0.002"
    assert with_error(17.7, float("nan")) == "17.7"


def test_units_fit_the_usual_value_not_the_largest() -> None:
    table = readable(
        pd.DataFrame({"wait_s": [7200.0, 3600.0, 1e9], "spent_j": [2000.0, 4000.0, float("inf")]})
    )
    assert list(table.columns) == ["wait [h]", "spent [kJ]"]
    assert list(table["wait [h]"][:2]) == [2.0, 1.0]
