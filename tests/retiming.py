"""Runs of ``netsim run`` and ``netsim retime``, as a person starts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from netsim.app.cli import app


def netsim(*words: Any) -> Result:
    """The end of a command."""
    return CliRunner().invoke(app, [str(word) for word in words])


def run(file: Path, run_id: str, *settings: str) -> Path:
    """The folder of a run of the scenario in ``file``, beside the other runs of a test."""
    runs = file.parents[2] if file.name == "scenario.yaml" else file.parent / "runs"
    done = netsim("run", file, *_set(settings), "--runs", runs, "--run-id", run_id, "--no-plots", "-q")
    assert done.exit_code == 0, done.output
    return Path(done.output.strip().splitlines()[-1])


def retime(folder: Path, *settings: str) -> Result:
    """The end of ``netsim retime``; the new folder lies beside the old one."""
    return netsim("retime", folder, *_set(settings), "--runs", folder.parents[1], "--no-plots", "-q")


def retimed_as(fresh: Path, first: Path, *settings: str) -> Path:
    """The folder of ``first`` retimed, of which all that was simulated is what it is in ``fresh``, byte for byte."""
    done = retime(first, *settings)
    assert done.exit_code == 0, done.output
    folder = Path(done.output.strip())
    assert folder == first.with_name(f"{first.name}-retimed")
    assert differing(folder, fresh) == {"metadata.json", "checksums.sha256"}
    assert differing(folder, first) & {"rounds.parquet", "transfers.parquet"}
    assert netsim("verify", folder).exit_code == 0
    return folder


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
