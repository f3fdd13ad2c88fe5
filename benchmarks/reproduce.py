"""Runs a scenario for several learners and seeds, side by side, and compares them: the tables of docs/reproduction.md.

    python benchmarks/reproduce.py ravdess_12dev --seeds 5
    python benchmarks/reproduce.py crema_12dev --learners dmml --seeds 10 \
        --set jobs.executor.name=learners.algorithms.dry_run:DryRun

Runs that are there already are not run again, so that a broken-off reproduction goes on where it stopped.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import typer
from differences import error_of
from matplotlib.figure import Figure
from typer.testing import CliRunner

from analysis.compare import compare, comparison_figure
from analysis.runs.run import Run, load_run
from netsim.app.commands.cli import app
from netsim.app.sweeping import finished

ROOT = Path(__file__).parent.parent
LEARNERS = "isolated,dmml,dmml_kd,dmml_kd_balance"
TOOK = "processor_s.txt"
"""In a run's folder: seconds of processor time that it took."""


def run(
    scenario: str,
    learner: str,
    seed: int,
    settings: Sequence[str],
    runs: Path,
    name: str | None = None,
    here: bool = False,
) -> Path:
    """One run on one core, in a process of its own or ``here``, where Python has started and what it needs is loaded.

    ``name``, or else the learner, and the seed name its folder.
    """
    folder = runs / scenario / f"{name or learner}-seed{seed}"
    if finished(folder):
        return folder
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}-broken-{os.getpid()}"))
    words = [
        "run",
        str(ROOT / "scenarios" / f"{scenario}.yaml"),
        "--quiet",
        "--no-plots",
    ]
    words += ["--runs", str(runs), "--run-id", folder.name, "--seed", str(seed)]
    # One core each: two runs at a time are faster than one run on two cores.
    alone = ("jobs.executor.name=inline", "jobs.stacking=off", "jobs.threads=1")  # the same bytes everywhere
    for setting in (*alone, f"learner.name={learner}", *settings):
        words += ["--set", setting]
    if here:
        began = time.process_time()
        invoked = CliRunner().invoke(app, words)
        status, complaint = invoked.exit_code, invoked.output
        if not status:
            (folder / TOOK).write_text(f"{time.process_time() - began:.2f}\n")
    else:
        done = subprocess.run(
            [sys.executable, "-m", "netsim", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        status, complaint = done.returncode, done.stderr
    if status:
        raise SystemExit(f"{folder.name}: {complaint.strip()}")
    print(f"{scenario} {folder.name}: {load_accuracy(folder)}", file=sys.stderr, flush=True)
    return folder


def load_accuracy(folder: Path) -> str:
    """Last and best accuracy of a run, and its energy, for the progress line."""
    summary = json.loads((folder / "summary.json").read_text())
    fused = summary["accuracy"].get("fused", {"final": float("nan"), "best": float("nan")})
    return (
        f"last {fused['final']:.3f}, best {fused['best']:.3f}, {summary['energy_per_device_j']['mean']:.4g} J"
    )


def together(one: Callable[..., Path], calls: Iterable[tuple[Any, ...]], workers: int) -> list[Path | None]:
    """Call ``one`` with each of ``calls`` in ``workers`` processes, each of which loads PyTorch once for all its runs.

    ``one`` is a function of a module that does a run ``here``. A run that fails says why and does not take the others
    with it: None.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pool, folders = _processes(workers), []
    try:
        for waiting in [pool.submit(one, *call) for call in calls]:
            try:
                folders.append(waiting.result())
            except SystemExit as error:
                print(error, file=sys.stderr)
                folders.append(None)
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.kill()
        raise SystemExit("stopped; the same command goes on from here") from None
    return folders


@cache
def _processes(count: int) -> ProcessPoolExecutor:
    """Return the processes that do all runs of a command."""
    return ProcessPoolExecutor(count)


def core_minutes(folders: Iterable[Path]) -> str:
    """Say how long runs took on one core, whenever they were done, without Python's start.

    It is processor time, or wall-clock time of runs that had a process of their own.
    """
    seconds = []
    for folder in folders:
        if (folder / TOOK).exists():
            seconds.append(float((folder / TOOK).read_text()))
        else:
            told = json.loads((folder / "metadata.json").read_text())
            seconds.append(told["build_wall_s"] + told["wall_s"])
    return f"{len(seconds)} runs, {sum(seconds) / 60:.0f} minutes of one core\n"


def late_accuracy(run: Run) -> pd.Series:
    """Accuracy in per cent by modality: mean over the devices and the last quarter of the evaluated rounds."""
    accuracy = run.metrics[run.metrics.name == "accuracy"]
    rounds = sorted(accuracy["round"].unique())
    late = accuracy[accuracy["round"] >= rounds[-max(1, len(rounds) // 4)]]
    return 100 * late.groupby("modality").value.mean()


def by_modality(runs: list[Run]) -> pd.DataFrame:
    """Late accuracy of each learner, mean ± standard error over seeds."""
    rows = []
    for one in runs:
        rows += [(one.learner, one.seed, m or "fused", v) for m, v in late_accuracy(one).items()]
    table = pd.DataFrame(rows, columns=["learner", "seed", "modality", "accuracy"])
    grouped = table.groupby(["learner", "modality"]).accuracy
    text = grouped.mean().map("{:.1f}".format) + " ± " + grouped.sem().map("{:.1f}".format)
    order = list(dict.fromkeys(one.learner for one in runs))
    return text.unstack().reindex(order)


def paired(runs: list[Run]) -> pd.DataFrame:
    """Differences of late fused accuracy between learners on the same seeds, in points: mean ± standard error."""
    values: dict[str, dict[int, float]] = {}
    for one in runs:
        values.setdefault(one.learner, {})[one.seed] = late_accuracy(one)[""]
    table = pd.DataFrame(values)
    names = list(table.columns)
    rows = []
    for before, after in itertools.pairwise(names):
        difference = (table[after] - table[before]).dropna()
        rows.append((f"{after} - {before}", f"{difference.mean():+.1f} ± {difference.sem():.1f}"))
    return pd.DataFrame(rows, columns=["difference", "points"])


def energy_figure(runs: list[Run], paper_j: Sequence[float]) -> Figure:
    """Draw what a device spends in each run, with the mean ± standard error of each learner.

    Args:
        runs: Of any learners and seeds.
        paper_j: What the paper says [J]; a line each.
    """
    found: dict[str, list[float]] = {}
    for one in runs:
        spent = one.rounds[["compute_j", "sending_j", "receiving_j", "idle_j"]].to_numpy().sum()
        found.setdefault(one.learner, []).append(float(spent) / len(one.devices))
    figure, axes = plt.subplots(figsize=(7, 1.4 + 0.6 * len(found)), layout="constrained")
    for place, own in enumerate(found.values()):
        axes.plot(own, [place] * len(own), "o", color="tab:gray", alpha=0.5, label="a seed" * (not place))
        mean = float(np.mean(own))
        axes.errorbar(
            *(mean, place + 0.2),
            xerr=error_of(own),
            fmt="D",
            color="tab:blue",
            capsize=3,
            label="mean ± standard error" * (not place),
        )
    for number, value in enumerate(paper_j):
        axes.axvline(value, color="tab:red", linestyle="--", label="the paper's" * (not number))
    axes.set_yticks(range(len(found)), list(found))
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel("energy per device [J]")
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    return figure


def main(
    scenario: Annotated[str, typer.Argument(help="Name of a scenario in scenarios/, without .yaml.")],
    learners: Annotated[str, typer.Option(help="Names, separated by commas.")] = LEARNERS,
    seeds: Annotated[int, typer.Option(help="Seeds 0 to this minus 1.")] = 5,
    settings: Annotated[list[str] | None, typer.Option("--set", help="As for netsim run.")] = None,
    runs: Annotated[Path, typer.Option(help="Where the run folders go.")] = Path("runs/reproduction"),
    workers: Annotated[int, typer.Option(help="Runs at a time.")] = os.cpu_count() or 1,
    figure: Annotated[Path | None, typer.Option(help="Where the figure goes.")] = None,
    energy: Annotated[Path | None, typer.Option(help="Where the figure of energies goes.")] = None,
    paper_j: Annotated[list[float] | None, typer.Option(help="The paper's energy per device [J].")] = None,
) -> None:
    """Run, compare, and print tables."""
    cases = [(learner, seed) for seed in range(seeds) for learner in learners.split(",")]
    calls = [(scenario, *case, settings or [], runs, None, True) for case in cases]
    folders = [folder for folder in together(run, calls, workers) if folder]
    folders.sort(key=lambda f: learners.split(",").index(f.name.rpartition("-seed")[0]))
    print(core_minutes(folders))
    loaded = [load_run(folder) for folder in folders]
    print(compare(loaded).to_string(index=False))
    if any(len(one.metrics) for one in loaded):
        print(by_modality(loaded).to_string())
        print(paired(loaded).to_string(index=False))
    drawn = comparison_figure(loaded)
    if figure and drawn is not None:
        drawn.savefig(figure, dpi=150)
    if energy:
        energy_figure(loaded, paper_j or []).savefig(energy, dpi=110)


if __name__ == "__main__":
    typer.run(main)
