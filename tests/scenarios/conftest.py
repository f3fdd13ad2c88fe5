"""Runs shipped scenarios in short form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shipped import ROOT
from typer.testing import CliRunner

from netsim.app.cli import app

ALONE = ("jobs.device=cpu", "jobs.executor.name=inline", "jobs.threads=1", "jobs.stacking=off")
"""One job at a time: the same bytes on every machine."""


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run_scenario(tmp_path, cache, monkeypatch):
    """Runs ``scenarios/<name>.yaml`` with changes; returns its folder."""
    for variable in ("CREMA_D_ROOT", "NETSIM_DATA_ROOT"):
        monkeypatch.delenv(variable, raising=False)

    def run(name: str, *settings: str, run_id: str = "a") -> Path:
        words = ["run", f"{ROOT}/scenarios/{name}.yaml", "--runs", str(tmp_path), "--run-id", run_id]
        words += ["--cache", str(cache), "--no-plots", "--quiet"]
        for setting in (*ALONE, *settings):
            words += ["--set", setting]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        return Path(result.stdout.strip())

    return run


@pytest.fixture
def summary_of():
    return lambda folder: json.loads((folder / "summary.json").read_text())
