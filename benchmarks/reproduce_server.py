r"""Federated learning through an edge server: methods by non-IID case, several seeds, as tables.

    python benchmarks/reproduce_server.py --scenario fedhgb_utd --rounds 30
    python benchmarks/reproduce_server.py --scenario fedhgb_ravdess --rounds 40 --cases mixed-B A 1M-B C
    python benchmarks/reproduce_server.py --scenario fedhgb_utd --rounds 30 --cases mixed-B \
        --methods fedavg:inertial fedavg:skeleton fedavg:depth --set protocol.participants=null

A method is a learner, or a learner on one modality alone. Runs of the same seed have the same placement, fading,
partition and first weights. Runs that are there already are not run again, so the command can be stopped and given
again.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import reproduce
from differences import draw

from analysis.runs.run import Run, load_run
from analysis.tables import FUSED, accuracy_by_round, to_target

CASES = ("mixed-B", "A", "2M-B", "1M-B", "C")
METHODS = ("fedavg", "fednova", "fedatt", "fedhgb", "mgb", "cgb")
EVERY = ("evaluation.every=2", "jobs.stacking=on")
"""Settings of all runs."""
TARGET = 0.9
"""Of the lowest mean final accuracy in a case: an accuracy that all methods reach."""


def run(scenario: str, case: str, method: str, seed: int, settings: Sequence[str], runs: Path) -> Path:
    """One run, unless it is there."""
    learner, _, modality = method.partition(":")
    alone = [f"learner.modalities=[{modality}]"] if modality else []
    name = f"{case}-{method.replace(':', '-')}"
    return reproduce.run(
        scenario, learner, seed, [f"partition.case={case}", *alone, *settings], runs, name, True
    )


def final(run: Run) -> float:
    """Accuracy of the fused head at the end."""
    table = accuracy_by_round(run)
    return float(table[table["modality"] == FUSED]["mean"].iloc[-1])


def when(run: Run, accuracy: float, column: str) -> float:
    """Round, time [s] or joules per device at which the fused head first reached ``accuracy``; NaN if it never did."""
    table = to_target(run, [accuracy])
    return float(table[table["modality"] == FUSED][column].iloc[0])


def with_error(values: Sequence[float], digits: int) -> str:
    """Mean ± standard error; how many runs never got there is said."""
    there = np.array([value for value in values if not math.isnan(value)])
    if not len(there):
        return "never"
    error = there.std(ddof=1) / len(there) ** 0.5 if len(there) > 1 else math.nan
    missing = f" ({len(values) - len(there)} never)" if len(there) < len(values) else ""
    return f"{there.mean():.{digits}f} ± {error:.{digits}f}{missing}"


def table(case: str, found: dict[str, list[Run]]) -> str:
    """Of one case: runs by method."""
    finals = {method: [final(one) for one in runs] for method, runs in found.items()}
    target = TARGET * min(float(np.mean(values)) for values in finals.values())
    rows = [
        f"Case {case}; to the same accuracy: {100 * target:.1f} %\n",
        "| method | seeds | accuracy [%] | rounds to 90 % of its final | hours to the same | joules to the same |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for method, runs in found.items():
        to_own = [when(one, 0.9 * value, "round") for one, value in zip(runs, finals[method], strict=True)]
        hours = [when(one, target, "time_s") / 3600 for one in runs]
        joules = [when(one, target, "energy_j") * len(one.devices) for one in runs]
        rows.append(
            f"| {method} | {len(runs)} | {with_error([100 * v for v in finals[method]], 1)} "
            f"| {with_error(to_own, 0)} | {with_error(hours, 4)} | {with_error(joules, 1)} |"
        )
    return "\n".join(rows) + "\n"


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description="Federated methods by non-IID case.")
    parser.add_argument("--scenario", default="fedhgb_utd", help="name of a scenario, without .yaml")
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduction"))
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument(
        "--figure", type=Path, help="where a figure of all differences to the first method goes"
    )
    parser.add_argument("--set", action="append", default=[], help="key=value, passed on")
    words = parser.parse_args()
    settings = [f"rounds={words.rounds}", *EVERY, *words.set]
    keys = list(itertools.product(words.cases, words.methods, range(words.seeds)))

    calls = [(words.scenario, *key, settings, words.runs) for key in keys]
    folders = reproduce.together(run, calls, words.workers)  # a table has a seed less where a run diverged
    print(reproduce.core_minutes(folder for folder in folders if folder))
    loaded = {key: load_run(folder) for key, folder in zip(keys, folders, strict=True) if folder}
    for case in words.cases:
        found = {
            method: [
                loaded[case, method, seed] for seed in range(words.seeds) if (case, method, seed) in loaded
            ]
            for method in words.methods
        }
        print(table(case, {method: runs for method, runs in found.items() if runs}))
    if words.figure:
        first, *others = words.methods
        gained = {
            f"case {case}": {
                f"{method} − {first}": [
                    100 * (final(loaded[case, method, seed]) - final(loaded[case, first, seed]))
                    for seed in range(words.seeds)
                    if (case, method, seed) in loaded and (case, first, seed) in loaded
                ]
                for method in others
            }
            for case in words.cases
        }
        draw(gained, "fused accuracy").savefig(words.figure, dpi=110)


if __name__ == "__main__":
    main()
