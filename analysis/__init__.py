"""Analysis of a run's records: tables, plots, comparison, notebooks; it uses the records and nothing else."""

from analysis.compare import compare, comparison_figure
from analysis.plots.save import save_plots
from analysis.runs.run import Run, RunError, latest_run, load_run

__all__ = ["Run", "RunError", "compare", "comparison_figure", "latest_run", "load_run", "save_plots"]
