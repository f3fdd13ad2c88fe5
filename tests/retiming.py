"""Runs of ``netsim run`` and ``netsim retime``, as a person starts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from typer.testing import CliRunner, Result

from netsim.app.commands.cli import app
from netsim.core.errors import ScenarioError


def netsim(*words: Any) -> Result:
    """The end of a command."""
    return CliRunner().invoke(app, [str(word) for word in words])


def run(file: Path, run_id: str, *settings: str) -> Path:
    """The folder of a run of the scenario in ``file``, beside the other runs of a test."""
    runs = file.parents[2] if file.name == "scenario.yaml" else file.parent / "runs"
    done = netsim("run", file, *_set(settings), "--runs", runs, "--run-id", run_id, "--no-plots", "-q")
    assert done.exit_code == 0, done.output
    return Path(done.output.strip().splitlines()[-1])


def retime(folder: Path, *settings: str, cache: str = "cache") -> Result:
    """The end of ``netsim retime``; the new folder lies beside the old one."""
    runs = folder.parents[1]
    words = ("--runs", runs, "--cache", runs.parent / cache, "--no-plots", "-q")
    return netsim("retime", folder, *_set(settings), *words)


def retimed_as(fresh: Path, first: Path, *settings: str) -> Path:
    """The folder of ``first`` retimed, of which all that was simulated is what it is in ``fresh``, byte for byte."""
    done = retime(first, *settings)
    assert done.exit_code == 0, done.output
    folder = Path(done.output.strip().splitlines()[-1])  # after notes
    assert folder == first.with_name(f"{first.name}-retimed")
    assert differing(folder, fresh) == {"metadata.json", "checksums.sha256"}
    assert differing(folder, first) & {"rounds.parquet", "transfers.parquet"}
    assert netsim("verify", folder).exit_code == 0
    return folder


def remembered(first: Path, *settings: str) -> bool:
    """Whether ``first``, which was retimed, is retimed again without its learner; it is as with it, byte for byte."""
    asked = retime(first, *settings, cache="another")
    with patch("netsim.app.retime._Again.by_learner", side_effect=ScenarioError("asked")):
        recalled = retime(first, *settings)
    if recalled.exit_code:
        assert recalled.output == "error: asked\n"
        return False
    folders = [Path(done.output.strip()) for done in (asked, recalled)]
    assert differing(*folders) == {"metadata.json", "checksums.sha256"}
    return True


def differing(one: Path, other: Path) -> set[str]:
    """Names of the files that are not the same in two runs."""
    names = {file.name for folder in (one, other) for file in folder.iterdir()}
    return {name for name in names if (one / name).read_bytes() != (other / name).read_bytes()}


def refused(folder: Path, *settings: str) -> str:
    """The one line with which it is refused; nothing is written."""
    before = sorted(folder.parent.iterdir())
    done = retime(folder, *settings)
    assert done.exit_code == 2 and done.output.startswith("error: "), done.output
    assert sorted(folder.parent.iterdir()) == before
    (line,) = done.output.splitlines()
    return line


def _set(settings: tuple[str, ...]) -> list[str]:
    return [word for text in settings for word in ("--set", text)]
