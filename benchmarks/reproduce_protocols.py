r"""Synchronous rounds, a deadline, asynchronous gossip and a hierarchy on the same uneven devices.

    python benchmarks/reproduce_protocols.py --seeds 5 --figure docs/figures/protocols.png
    python benchmarks/reproduce_protocols.py --draw "gossip=runs/one/..." "in step=runs/other/..." --figure both.png

All have the same devices, places, samples and learner, and as many simulated seconds. Runs that are there already are
not run again, so the command can be stopped and given again.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import reproduce
from differences import error_of
from matplotlib.figure import Figure
from reproduce_server import with_error

from analysis.runs.run import Run, load_run

DURATION_S = 600.0
TARGET = 0.55
PROTOCOLS = {
    "synchronous": ("protocol={name: server_rounds}", "rounds=20"),
    "deadline": ("protocol={name: server_rounds, deadline_s: 15}", "rounds=40"),
    "gossip": ("protocol={name: asynchronous_gossip, duration_s: 600, staleness: polynomial}", "rounds=200"),
    "hierarchical": ("protocol={name: hierarchical_rounds, edges: 3, edge_rounds: 4}", "rounds=20"),
}
"""The first is what the others are compared with."""

WORLD = ("server.uplink.bandwidth_hz=4e5", "server.downlink.bandwidth_hz=4e5")
GRID_S = np.linspace(0, DURATION_S, 121)

Curves = tuple[np.ndarray, np.ndarray]
"""Accuracy and joules of a device at each time of :data:`GRID_S`."""


def curves(run: Run) -> Curves:
    """Accuracy of the model, or mean over devices of their own; joules, mean over devices.

    A model counts from the moment at which it is evaluated until the next; in a hierarchy it is the cloud's.
    """
    rows = run.metrics[(run.metrics["name"] == "accuracy") & (run.metrics["modality"].fillna("") == "")]
    if len(run.server):
        rows = rows[rows["device"] == run.server["device"].max()]
    by_device = [_last(own["time_s"], own["value"]) for _, own in rows.groupby("device")]
    spending = run.spending
    joules = spending[[column for column in spending if column.endswith("_j") and column != "battery_j"]].sum(
        axis=1
    )
    order = spending["end_s"].argsort()
    spent = _last(spending["end_s"].iloc[order], joules.iloc[order].cumsum()) / len(run.devices)
    return np.mean(by_device, axis=0), spent


def _last(times: Sequence[float], values: Sequence[float]) -> np.ndarray:
    """Return the value at the last of ``times`` that is not later, for each time of the grid; 0 before the first."""
    places = np.searchsorted(np.asarray(times), GRID_S, side="right")
    return np.append(0.0, np.asarray(values))[places]


def at_target(found: Curves) -> tuple[float, float]:
    """Return seconds and joules at which the accuracy first was the target; NaN if it never was."""
    there = np.flatnonzero(found[0] >= TARGET)
    return (float(GRID_S[there[0]]), float(found[1][there[0]])) if len(there) else (np.nan, np.nan)


def table(found: dict[str, list[Curves]]) -> str:
    """Means and standard errors; differences to the first protocol are paired by seed."""
    first = next(iter(found))
    rows = [
        f"| protocol | seeds | accuracy [%] | gained [points] | J a device | s to {100 * TARGET:.0f} % | J to it |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, runs in found.items():
        accuracy = [100 * one[0][-1] for one in runs]
        gained = [value - 100 * other[0][-1] for value, other in zip(accuracy, found[first], strict=True)]
        seconds, joules = zip(*map(at_target, runs), strict=True)
        rows.append(
            f"| {name} | {len(runs)} | {with_error(accuracy, 1)} | {'' if name == first else with_error(gained, 1)} "
            f"| {with_error([one[1][-1] for one in runs], 2)} | {with_error(seconds, 0)} | {with_error(joules, 2)} |"
        )
    return "\n".join(rows)


def figure(found: dict[str, list[Curves]]) -> Figure:
    """Accuracy over minutes and over joules, means over seeds with standard errors."""
    drawn, panels = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
    for name, runs in found.items():
        accuracy = 100 * np.array([one[0] for one in runs])
        mean, error = accuracy.mean(axis=0), np.apply_along_axis(error_of, 0, accuracy)
        joules = np.mean([one[1] for one in runs], axis=0)
        for panel, across in zip(panels, (GRID_S / 60, joules), strict=True):
            panel.plot(across, mean, label=name)
            panel.fill_between(across, mean - error, mean + error, alpha=0.25)
    panels[0].set(xlabel="simulated time [min]", ylabel="test accuracy [%]")
    panels[1].set(xlabel="energy a device [J]")
    panels[0].legend(fontsize=8)
    return drawn


def main() -> None:
    """Run what is missing, print the table and draw the figure."""
    parser = argparse.ArgumentParser(description="Protocols on devices of uneven speed.")
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduction"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--figure", type=Path, help="where the figure goes")
    parser.add_argument("--set", action="append", default=[], help="key=value, passed on")
    parser.add_argument(
        "--draw", nargs="+", metavar="NAME=RUN", help="draw these runs instead, and run nothing"
    )
    words = parser.parse_args()
    if words.draw:
        given = [text.partition("=") for text in words.draw]
        figure({name: [curves(load_run(folder))] for name, _, folder in given}).savefig(words.figure, dpi=110)
        return
    keys = list(itertools.product(range(words.seeds), PROTOCOLS))

    def one(key: tuple[int, str]) -> Path:
        seed, name = key
        settings = [*PROTOCOLS[name], *WORLD, *words.set]
        return reproduce.run("async_gossip_stragglers", "fedavg", seed, settings, words.runs, name)

    with ThreadPoolExecutor(words.workers) as pool:
        folders = dict(zip(keys, pool.map(one, keys), strict=True))
    print(reproduce.core_minutes(folders.values()))
    found = {
        name: [curves(load_run(folders[seed, name])) for seed in range(words.seeds)] for name in PROTOCOLS
    }
    print(table(found))
    if words.figure:
        figure(found).savefig(words.figure, dpi=110)


if __name__ == "__main__":
    main()
