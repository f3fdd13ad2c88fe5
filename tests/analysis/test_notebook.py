"""Notebooks are committed clean and run from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from run_folders import simulate

FOLDER = Path(__file__).parents[2] / "analysis" / "notebooks"
NOTEBOOK = FOLDER / "energy_latency.ipynb"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.ipynb")), ids=lambda file: file.stem)
def test_it_is_committed_without_outputs(file: Path) -> None:
    cells = nbformat.read(file, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_it_takes_a_run_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = simulate(tmp_path / "runs" / "crema_d" / "1", rounds=10, count=4)
    monkeypatch.setenv("NETSIM_RUN", str(folder))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    root = str(NOTEBOOK.parents[2])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": root}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 5


@pytest.mark.parametrize(("name", "images"), [("methods", 1), ("bring_your_own", 1)])
def test_it_makes_its_own_runs(name: str, images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETSIM_ROUNDS", "2")
    monkeypatch.setenv("NETSIM_SEEDS", "2")
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(FOLDER.parents[1])}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == images
    assert any("text/html" in output.get("data", {}) for output in outputs)
