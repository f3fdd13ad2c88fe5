r"""Accuracy over joules and bits of compressed learning on narrow, fading links: docs/learners/compression.md.

    python benchmarks/reproduce_compression.py --figure docs/figures/compression.png

Methods on the same seed have the same placement, fading, partition and first weights. Runs that are there already are
not run again, so the command can be stopped and given again.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import reproduce
from matplotlib.figure import Figure
from reproduce_server import with_error

from analysis.runs.run import Run, load_run

SERVER, MESH = "protocol={name: server_rounds, participants: 5}", "protocol={name: decentralized_rounds}"
METHODS = {
    "none": (SERVER, "none"),
    "top-k 5 %": (SERVER, "{name: top_k, ratio: 0.05, error_feedback: true}"),
    "quantise": (SERVER, "{name: quantise, levels: 16}"),
    "sign": (SERVER, "{name: sign, error_feedback: true}"),
    "D-PSGD": (MESH, "none"),
    "CHOCO top-k 10 %": (MESH, "{name: top_k, ratio: 0.1, gossip_step: 0.5}"),
}
NARROW = (
    "radio.bandwidth_hz=2e4",
    "server.uplink.bandwidth_hz=5e4",
    "learner.validation_share=0",
    "learner.weight_decay=0",
    "learner.momentum=0",
)
SCENARIOS: dict[str, tuple[str, ...]] = {
    "fedavg_fashion": (
        "rounds=16",
        "data.train_samples=2000",
        "data.test_samples=1000",
        "evaluation.every=2",
    ),
    "avdigits_12dev": (
        "rounds=6",
        "evaluation.every=2",
        "learner.optimizer=adam",
        "learner.learning_rate=2e-3",
        "costs.bits_per_parameter=32",
    ),
}
"""Scenarios of scenarios/, made short."""


def course(run: Run) -> np.ndarray:
    """Return accuracy, joules and sent bits a device after each evaluated round [3, rounds]."""
    accuracy = run.metrics[(run.metrics["name"] == "accuracy") & (run.metrics["modality"] == "")]
    accuracy = accuracy.groupby("round")["value"].mean()
    kinds = ["compute_j", "sending_j", "receiving_j", "idle_j"]
    joules = run.rounds.groupby("round")[kinds].sum().sum(axis=1).cumsum()
    sent = run.transfers[run.transfers["sender"] < len(run.devices)]
    bits = sent.groupby("round")["size_bits"].sum().cumsum()
    at = accuracy.index
    return np.array([accuracy, joules.reindex(at) / len(run.devices), bits.reindex(at) / len(run.devices)])


def draw(found: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Draw a row of two panels for each scenario; lines are means over seeds, bands a standard error each way.

    Args:
        found: By scenario and method, courses [seeds, 3, rounds].
    """
    figure, panels = plt.subplots(
        len(found), 2, figsize=(9, 3.2 * len(found)), squeeze=False, layout="constrained"
    )
    for (scenario, methods), row in zip(found.items(), panels, strict=True):
        for (name, runs), (column, panel) in itertools.product(methods.items(), enumerate(row, start=1)):
            accuracy, x = 100 * runs[:, 0], runs[:, column].mean(0)
            mean, error = (
                accuracy.mean(0),
                accuracy.std(0, ddof=1) / len(runs) ** 0.5 if len(runs) > 1 else 0.0,
            )
            style = "--" if METHODS[name][0] == MESH else "-"
            (line,) = panel.plot(x, mean, style, marker=".", label=name)
            panel.fill_between(x, mean - error, mean + error, color=line.get_color(), alpha=0.15, linewidth=0)
            panel.set_xscale("log")
        row[0].set(xlabel="energy per device [J]", ylabel=f"{scenario}\naccuracy [%]")
        row[1].set(xlabel="bits sent per device")
    lines, names = panels[0, 1].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=len(names), fontsize=8)
    return figure


def table(methods: Mapping[str, np.ndarray]) -> str:
    """Return final accuracy, joules and bits, and those spent until an accuracy that all methods reach."""
    target = 0.9 * min(float(runs[:, 0, -1].mean()) for runs in methods.values())
    rows = [
        f"To the same accuracy: {100 * target:.1f} %\n",
        "| method | seeds | accuracy [%] | J per device | kbit per device | J to the same | kbit to the same |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, runs in methods.items():
        reached = [one[:, one[0] >= target][:, :1] for one in runs]
        there = [one[:, 0] if one.size else np.full(3, np.nan) for one in reached]
        cells = [
            with_error((100 * runs[:, 0, -1]).tolist(), 1),
            with_error(runs[:, 1, -1].tolist(), 2),
            with_error((runs[:, 2, -1] / 1e3).tolist(), 0),
            with_error([float(one[1]) for one in there], 2),
            with_error([float(one[2]) / 1e3 for one in there], 0),
        ]
        rows.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def run(scenario: str, method: str, seed: int, settings: Sequence[str], runs: Path) -> Path:
    """One run, unless it is there."""
    protocol, compression = METHODS[method]
    learner = [f"learner.compression={compression}", protocol, *NARROW, *SCENARIOS[scenario], *settings]
    name = method.replace(" ", "_").replace("%", "percent")
    return reproduce.run(scenario, "fedavg", seed, learner, runs, name, here=True)


def main() -> None:
    """Run what is missing, print the tables, and draw."""
    parser = argparse.ArgumentParser(description="Compression on fading links.")
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--runs", type=Path, default=Path("runs/compression"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--figure", type=Path, help="where the figure goes")
    parser.add_argument("--set", action="append", default=[], help="key=value, passed on")
    words = parser.parse_args()
    keys = list(itertools.product(words.scenarios, range(words.seeds), words.methods))
    folders = [run(scenario, method, seed, words.set, words.runs) for scenario, seed, method in keys]
    print(reproduce.core_minutes(folders))
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for (scenario, _, method), folder in zip(keys, folders, strict=True):
        found.setdefault(scenario, {}).setdefault(method, []).append(course(load_run(folder)))
    courses = {scenario: {m: np.array(c) for m, c in methods.items()} for scenario, methods in found.items()}
    for scenario, methods in courses.items():
        print(f"{scenario}\n\n{table(methods)}")
    if words.figure:
        draw(courses).savefig(words.figure, dpi=110)


if __name__ == "__main__":
    main()
