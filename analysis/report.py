"""Tables of a run, or of several, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from analysis.compare import compare, compare_runs
from analysis.runs.run import Run
from analysis.runs.terminal import cell, show_table, with_error
from analysis.runs.units import readable
from analysis.tables import (
    FUSED,
    accuracy_summary,
    energy_by_category,
    energy_per_accuracy,
    energy_quantiles,
    latency_quantiles,
    metric_summary,
    straggler_counts,
    time_by_category,
    to_target,
)

SURROGATE = "[bold red]surrogate data: accuracies say nothing about the real data set[/]"
TARGETS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def print_report(run: Run, console: Console, targets: Sequence[float] | None = None) -> None:
    """Print every table of one run.

    Args:
        run: The run.
        console: Console to print to.
        targets: Accuracies to report time and energy to; None for those of ``TARGETS`` that were reached.
    """
    console.print(f"[bold]{escape(run.name)}[/]  {escape(run.learner)}, seed {run.seed}, {run.progress}")
    if "wall_s" in run.metadata:
        wall_s, work_s = run.metadata["wall_s"], run.metadata.get("work_wall_s", 0.0)
        console.print(f"{cell(wall_s)} s of wall-clock time, {cell(work_s)} s of them in training jobs")
    if run.surrogate:
        console.print(SURROGATE)
    learned, reached = accuracy_summary(run), to_target(run, TARGETS).dropna()
    if learned.empty:
        console.print("no accuracy was measured")
    else:
        show_table(console, learned, "Accuracy, mean over devices; energy per device")
        show_table(
            console,
            reached if targets is None else to_target(run, targets),
            "Time and energy per device to a target accuracy",
        )
        show_table(
            console, energy_per_accuracy(run).tail(5), "Price of the last gains (joules of one device)"
        )
    others = metric_summary(run)
    if len(others):
        if set(others["modality"]) == {FUSED}:
            others = others.drop(columns="modality")
        show_table(console, others, "Everything else that was measured, mean over devices")
    show_table(console, energy_by_category(run), "Energy by device")
    show_table(console, time_by_category(run), "Time by device (compute + radio + idle = total)")
    show_table(
        console, energy_quantiles(run), "Energy of one device in one round that it was asked to take part in"
    )
    show_table(console, latency_quantiles(run), "Latency; unfinished ones count as infinite in the quantiles")
    show_table(
        console,
        straggler_counts(run),
        "Stragglers: how often a device was last, and the delay",
    )


def print_comparison(runs: Sequence[Run], console: Console) -> None:
    """Print runs side by side, then learners with the error over their seeds."""
    show_table(console, compare_runs(runs), "Runs")
    table = readable(compare(runs))
    shown = table[["learner", "seeds"]].copy()
    for name in [name for name in table.columns if f"se {name}" in table.columns]:
        errors = table[f"se {name}"]
        shown[name] = [with_error(mean, error) for mean, error in zip(table[name], errors, strict=True)]
    show_table(console, shown, "Learners: mean ± standard error over seeds")
    if any(run.surrogate for run in runs):
        console.print(SURROGATE)
