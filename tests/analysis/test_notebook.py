"""The notebook is committed clean and runs from top to bottom on a run folder."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from run_folders import simulate

NOTEBOOK = Path(__file__).parents[2] / "analysis" / "notebooks" / "energy_latency.ipynb"


def test_it_is_committed_without_outputs() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_it_takes_a_run_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = simulate(tmp_path / "runs" / "crema_d" / "1", rounds=10, count=4)
    monkeypatch.setenv("NETSIM_RUN", str(folder))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    root = str(NOTEBOOK.parents[2])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": root}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 5
