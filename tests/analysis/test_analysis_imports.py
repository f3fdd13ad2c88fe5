"""The analysis knows the records and nothing else."""

import subprocess
import sys

FOREIGN = ("netsim", "learners", "torch", "simpy", "matplotlib.pyplot")


def test_it_imports_neither_the_simulator_nor_the_learners_nor_the_global_state_of_pyplot() -> None:
    code = f"import sys, analysis, analysis.__main__; print([m for m in {FOREIGN} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
