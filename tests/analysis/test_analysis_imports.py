"""The analysis knows the records and nothing else."""

import subprocess
import sys
from pathlib import Path

FOREIGN = ("netsim", "learners", "torch", "simpy", "matplotlib.pyplot")


def test_it_imports_neither_the_simulator_nor_the_learners_nor_the_global_state_of_pyplot() -> None:
    code = f"import sys, analysis, analysis.__main__; print([m for m in {FOREIGN} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_folder_with_files_called_like_libraries_breaks_nothing(tmp_path: Path) -> None:
    for name in ("json", "random", "yaml", "typer"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('shadow')")
    words = [sys.executable, "-m", "analysis", "nowhere"]
    result = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 2 and result.stderr.startswith("nowhere: no such folder")
