"""report, compare, plot, watch: what they write, and what they say of wrong input."""

import json
import resource
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from netsim.app.commands.cli import app

ROOT = Path(__file__).parents[2]


def said(*words: object) -> tuple[int, str]:
    """Exit code and everything printed, in one line."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of two bandwidths, without learning."""
    folder = tmp_path_factory.mktemp("look")
    scenario = folder / "tiny.yaml"
    scenario.write_text("rounds: 2\ndevices: {count: 3}\nlearner: {name: stub}\n")
    for band in ("1e5", "1e6"):
        for seed in ("0", "1"):
            words = ["run", str(scenario), "--set", f"radio.bandwidth_hz={band}", "--seed", seed]
            words += ["--runs", str(folder), "--run-id", f"{band}-{seed}", "--no-plots", "-q"]
            assert CliRunner().invoke(app, words).exit_code == 0
    return folder / "tiny"


def test_a_page_is_written_into_the_run_or_where_it_is_said(runs: Path, tmp_path: Path) -> None:
    code, text = said("report", runs / "1e5-0")
    assert code == 0 and (runs / "1e5-0" / "report.html").is_file() and "report.html" in text
    code, _ = said("report", runs / "1e*-0", "--out", tmp_path / "both.html")
    assert code == 0 and "Pareto" not in (tmp_path / "both.html").read_text()[:20_000], "nothing was learnt"
    assert said("verify", runs / "1e5-0")[0] == 0, "a page in its folder does not make a run a damaged one"


def test_runs_are_compared_by_what_is_asked_for(runs: Path, tmp_path: Path) -> None:
    code, text = said("compare", runs / "*", "--by", "radio.bandwidth_hz", "--format", "csv")
    assert code == 0 and "group,seeds," in text and "100000.0,2," in text
    code, text = said("compare", runs / "*")
    assert code == 2 and "differ in radio.bandwidth_hz; compare them --by radio.bandwidth_hz" in text
    code, text = said("compare", runs / "*", "--by", "radio.bandwidth_hz", "--against", "3")
    assert code == 2 and "no such group; there are 100000.0, 1000000.0" in text
    code, text = said("compare", runs / "nothing*")
    assert code == 2 and "matches no run folder" in text


def test_figures_are_drawn_by_name_for_a_journal(runs: Path, tmp_path: Path) -> None:
    words = ("--style", "ieee", "--columns", "1", "--format", "svg", "--out", tmp_path)
    code, _ = said("plot", runs / "1e5-0", "network", "anatomy", *words)
    assert code == 0 and {file.name for file in tmp_path.iterdir()} == {"network.svg", "anatomy.svg"}
    code, text = said("plot", runs / "1e5-0", "networks")
    assert code == 2 and "no such figure; there are accuracy" in text
    code, text = said("plot", runs / "1e5-0", "accuracy")
    assert code == 2 and "has no records for accuracy" in text


def test_a_run_that_has_ended_is_watched_once(runs: Path) -> None:
    code, text = said("watch", runs / "1e5-1")
    assert code == 0 and "finished, 2 of 2 rounds" in text
    code, text = said("watch", runs / "none")
    assert code == 2 and "no such folder" in text


def test_where_there_is_no_room_a_line_says_so_and_what_was_there_stays(runs: Path, tmp_path: Path) -> None:
    """No file may be larger than 1,000 bytes, which a full disk is like; Matplotlib fails otherwise there."""
    page = tmp_path / "page.html"
    page.write_text("the old one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    asked = [("report", runs / "1e5-0", "--out", page)]
    asked += [
        ("plot", runs / "1e5-0", "network", "--format", kind, "--out", tmp_path)
        for kind in ("pdf", "png", "svg")
    ]
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        found = [said(*words) for words in asked]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for code, text in found:
        assert code == 2 and "File too large; --out names" in text and "Traceback" not in text
    assert page.read_text() == "the old one" and list(tmp_path.iterdir()) == [page]


def test_a_run_of_another_version_is_refused_by_its_version(runs: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(runs / "1e5-0", old)
    metadata = json.loads((old / "metadata.json").read_text())
    (old / "metadata.json").write_text(json.dumps(metadata | {"schema": 0}))
    for command in ("report", "compare", "plot", "watch"):
        code, text = said(command, old)
        assert code == 2 and "schema: 0 is not one that this version can read (1)" in text
