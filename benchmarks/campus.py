"""Who the straggler of scenarios/umi_campus.yaml is: a figure of its links and uploads, from runs that are there.

python benchmarks/questions.py umi_campus
python benchmarks/campus.py --figure docs/figures/umi_campus.png

Links and uploads are those of all seeds together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from analysis.runs.run import Run, load_run

CASES = {"free space": "free-space", "clear view": "clear-view", "drawn sight": "drawn-sight"}
"""By name, what the folders of its runs begin with."""


def uploads(run: Run) -> pd.DataFrame:
    """Return the run's uploads, with seconds, and distance and path loss of their links."""
    found = run.transfers[run.transfers["kind"] == "upload"]
    links = run.links.assign(sender=run.links[["a", "b"]].min(axis=1))
    found = found.merge(links[["sender", "distance_m", "path_loss_db"]], on="sender")
    return found.assign(seconds=found["end_s"] - found["start_s"])


def main() -> None:
    """Draw path loss over distance, and how many uploads have arrived after how long."""
    parser = argparse.ArgumentParser(description="The straggler of a campus.")
    parser.add_argument("--runs", type=Path, default=Path("runs/questions"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--figure", type=Path, required=True, help="where the figure goes")
    words = parser.parse_args()
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for (name, folder), marker in zip(CASES.items(), ".x+", strict=True):
        runs = [load_run(words.runs / "umi_campus" / f"{folder}-seed{seed}") for seed in range(words.seeds)]
        found = pd.concat([uploads(run).assign(seed=run.seed) for run in runs])
        links = found.drop_duplicates(["seed", "sender"])
        left.plot(links["distance_m"], links["path_loss_db"], marker, label=name)
        seconds = np.sort(found["seconds"].to_numpy())
        right.step(seconds, np.arange(1, len(seconds) + 1) / len(seconds), where="post", label=name)
    left.set(xlabel="distance from the base station [m]", ylabel="path loss [dB]")
    right.set(xlabel="time of an upload [s]", ylabel="share of uploads that took no longer", xscale="log")
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    figure.savefig(words.figure, dpi=110)


if __name__ == "__main__":
    main()
