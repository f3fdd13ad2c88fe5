"""Analysis of a run's records: tables, plots, comparison, notebooks; it uses the records and nothing else."""

import os
import sys

# ``python -m analysis`` looks in the current folder first, where a json.py would take the place of Python's own.
if sys.argv[:1] == ["-m"] and sys.path[0] == os.getcwd() != os.path.dirname(os.path.dirname(__file__)):
    del sys.path[0]


from analysis.compare import compare, comparison_figure
from analysis.notebook import load_run
from analysis.plots.save import save_plots
from analysis.runs.files import RunError
from analysis.runs.run import Run, latest_run

__all__ = ["Run", "RunError", "compare", "comparison_figure", "latest_run", "load_run", "save_plots"]
