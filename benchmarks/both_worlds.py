"""Decentralized learning and learning through a server on one figure: accuracy by round, by hours, by joules.

    python benchmarks/both_worlds.py --figure docs/figures/both_worlds.png

Devices, places, processors, stragglers, samples and modalities are the same in both worlds, and so is the spectrum in
all; see scenarios/decentralized_ravdess.yaml. Joules are those of the devices; the server's are in the table.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Annotated

import pandas as pd
import reproduce
import reproduce_server
import typer

from analysis.compare import compare, comparison_figure
from analysis.runs.run import load_run

DECENTRALIZED = ("isolated", "dmml", "dmml_kd", "dmml_kd_balance")
SERVER = ("fedavg", "mgb", "fedhgb")
CASE = "mixed-B"
SETTINGS = ("rounds=40", *reproduce_server.EVERY)


def run(learner: str, seed: int, runs: Path) -> Path:
    """One run, unless it is there."""
    if learner in SERVER:
        return reproduce_server.run("fedhgb_ravdess", CASE, learner, seed, SETTINGS, runs)
    settings = (*SETTINGS, f"partition.case={CASE}")
    return reproduce.run("decentralized_ravdess", learner, seed, settings, runs, here=True)


def main(
    seeds: Annotated[int, typer.Option(help="Seeds 0 to this minus 1.")] = 3,
    runs: Annotated[Path, typer.Option(help="Where the run folders go.")] = Path("runs/reproduction"),
    workers: Annotated[int, typer.Option(help="Runs at a time.")] = os.cpu_count() or 1,
    figure: Annotated[Path | None, typer.Option(help="Where the figure goes.")] = None,
) -> None:
    """Run what is missing, print a table, draw the figure."""
    keys = itertools.product((*DECENTRALIZED, *SERVER), range(seeds))
    folders = [
        folder for folder in reproduce.together(run, [(*key, runs) for key in keys], workers) if folder
    ]
    print(reproduce.core_minutes(folders))
    loaded = [load_run(folder) for folder in folders]
    print(compare(loaded).to_string(index=False))
    server_j = pd.DataFrame(
        [(one.learner, (one.summary or {}).get("server_energy_j", {}).get("all", 0.0)) for one in loaded],
        columns=["learner", "server_j"],
    )
    print(server_j.groupby("learner", sort=False).mean().to_string())
    drawn = comparison_figure(loaded)
    if figure and drawn is not None:
        drawn.savefig(figure, dpi=150)


if __name__ == "__main__":
    typer.run(main)
