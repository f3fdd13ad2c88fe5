"""The notebook and the plots on a run that the engine made, and the account of its joules."""

import nbformat
import pytest
from nbclient import NotebookClient
from shipped import ROOT
from typer.testing import CliRunner

from analysis.__main__ import app as analysis_app
from analysis.runs.run import load_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run_into):
    return run_into(tmp_path_factory.mktemp("runs"), "two_devices", "rounds=3")


def test_the_notebook_takes_a_real_run_apart(folder, monkeypatch):
    monkeypatch.setenv("NETSIM_RUN", str(folder))
    notebook = nbformat.read(ROOT / "analysis" / "notebooks" / "energy_latency.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_the_analysis_command_draws_and_prints(folder):
    result = CliRunner().invoke(analysis_app, [str(folder)])
    assert result.exit_code == 0, result.output
    assert {p.stem for p in (folder / "plots").glob("*.png")} >= {"accuracy", "network"}


def test_the_account_of_a_run_that_learns_is_closed(folder):
    """Capacity - remaining = computing + sending + receiving + idle, per device, from the records alone."""
    run = load_run(folder)
    for device, rows in run.rounds.groupby("device"):
        spent = rows[["compute_j", "sending_j", "receiving_j", "idle_j"]].to_numpy().sum()
        capacity = float(run.devices.set_index("device").battery_j[device])
        assert capacity - rows.battery_j.iloc[-1] == pytest.approx(spent, rel=1e-12)
        sent = run.transfers[run.transfers.sender == device].energy_j.sum()
        assert sent == pytest.approx(rows.sending_j.sum(), rel=1e-12)


def test_a_run_that_learns_reports_surrogate_data(folder):
    assert load_run(folder).surrogate
