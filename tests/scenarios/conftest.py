"""Runs shipped scenarios in short form."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from shipped import ROOT
from typer.testing import CliRunner

from netsim.app.commands.cli import app

ALONE = ("jobs.device=cpu", "jobs.executor.name=inline", "jobs.threads=1", "jobs.stacking=off")
"""One job at a time: the same bytes on every machine."""


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def run_into(cache):
    """Runs ``scenarios/<name>.yaml`` with changes, into a folder of runs; returns the run's own."""

    def run(runs: Path, name: str, *settings: str, run_id: str = "a") -> Path:
        words = ["run", f"{ROOT}/scenarios/{name}.yaml", "--runs", str(runs), "--run-id", run_id]
        words += ["--cache", str(cache), "--no-plots", "--quiet"]
        for setting in (*ALONE, *settings):
            words += ["--set", setting]
        with pytest.MonkeyPatch.context() as patch:
            for variable in ("CREMA_D_ROOT", "NETSIM_DATA_ROOT"):
                patch.delenv(variable, raising=False)
            result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        return Path(result.stdout.strip())

    return run


@pytest.fixture
def run_scenario(tmp_path, run_into):
    """The same into a folder of the test."""
    return partial(run_into, tmp_path)


@pytest.fixture
def summary_of():
    return lambda folder: json.loads((folder / "summary.json").read_text())
