"""Federated averaging of small models: this version, another, a plain loop in PyTorch, and Flower's simulation.

    python benchmarks/server.py --before ../before
    python benchmarks/server.py --before ../before --flower ~/.cache/netsim/flower      # keeps Flower's environment

100 clients, all in every round, 20,000 samples of 57 features and 10 classes, batches of 32, one local epoch, 100
rounds. Here with radio and records; seconds are from the first event to the last record. The loop (plain_fedavg.py)
and Flower (flower_fedavg.py) have neither. Reading data and making networks count for nobody; what they take here is
told apart. All in turns, so that a slow moment of the machine meets all of them; ratios are those of each turn. Flower
has an environment of its own, made here once; its rounds are few, for each costs the same, and its first one, in which
its workers start, is left out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import plain_fedavg
import torch
from measured import ratios, run, spread
from versions import HERE, Version, add_before, version

SCENARIO = """
rounds: {rounds}
devices: {{count: {case.clients}}}
protocol: server_rounds
data:
  name: generated
  samples: {case.samples}
  test_samples: {case.test_samples}
  shape: [57]
  classes: 10
  separation: {case.separation}
partition: iid
learner:
  name: fedavg
  batch_size: {case.batch_size}
  learning_rate: {case.learning_rate}
  momentum: 0
  weight_decay: 0
  validation_share: 0
  networks: {{features: {network}}}
evaluation: {{every: {case.evaluate_every}}}
jobs: {jobs}
"""
NETWORKS = {"logistic": "identity", "mlp": "{name: mlp, hidden: [64]}"}
AUTO = "{device: cpu}"
STACKED = "{device: cpu, threads: 1, executor: inline, stacking: on}"
FORKED = "{device: cpu, threads: 1, executor: forked, stacking: on}"
FLOWER = ("flwr[simulation]==1.42.0", "ray==2.55.1")
ATTEMPTS = 3
"""How often Flower is tried: Ray gives up where a busy machine does not start it within half a minute."""


class Measured(NamedTuple):
    """Seconds a round, the final accuracy, and the seconds before the first round, where they are known."""

    seconds: float
    accuracy: float
    before: float = math.nan


def flower_environment(folder: Path) -> Path:
    """Return the Python of an environment that has Flower; make it if it is not there.

    PyTorch is that of this environment, by a line in a .pth file. It is written last: pip would take what it finds
    through it for its own, and remove it.
    """
    python = folder / "bin" / "python"
    if not list(folder.glob("lib/python*/site-packages/shared.pth")):
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *FLOWER], check=True)
        packages = next(folder.glob("lib/python*/site-packages"))
        (packages / "shared.pth").write_text(f"{Path(torch.__file__).parent.parent}\n")
    return python


def simulated(model: str, rounds: int, jobs: str, which: Version) -> Measured:
    """Run it in ``which`` version of the program."""
    text = SCENARIO.format(rounds=rounds, network=NETWORKS[model], jobs=jobs, case=plain_fedavg.Case())
    done = run(text, version=which)
    took = done.metadata
    accuracy = done.summary["accuracy"]["fused"]["final"]
    return Measured(took["wall_s"] / rounds, accuracy, took["build_wall_s"])


def looped(model: str, rounds: int) -> Measured:
    """Run the plain loop."""
    done = plain_fedavg.simulate(plain_fedavg.Case(model=model, rounds=rounds))
    return Measured(done.seconds / rounds, done.accuracy)


def flowered(python: Path, model: str, rounds: int, *sizes: int) -> Measured:
    """Run Flower's simulation; ``sizes`` are clients, samples of all, and clients a round, if not the usual ones."""
    for _ in range(ATTEMPTS):
        with tempfile.TemporaryDirectory() as home:
            done = subprocess.run(
                [
                    str(python),
                    "-W",
                    "ignore",
                    str(HERE / "benchmarks" / "flower_fedavg.py"),
                    model,
                    *map(str, (rounds, *sizes)),
                ],
                env={
                    **os.environ,
                    "PYTHONPATH": str(HERE / "benchmarks"),
                    "FLWR_HOME": home,
                    "FLWR_TELEMETRY_ENABLED": "0",
                    "RAY_USAGE_STATS_ENABLED": "0",
                    "RAY_worker_niceness": "0",  # else Ray's workers give way to whatever else runs
                },
                capture_output=True,
                text=True,
                check=False,
            )
        if not done.returncode:
            break
    else:
        raise SystemExit(f"Flower failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Measured(found["seconds"], found["accuracy"])


def main() -> None:
    """Print two tables per model: seconds and ratios, and accuracies after as many rounds as Flower does."""
    parser = argparse.ArgumentParser(description="Federated averaging of small models.")
    add_before(parser)
    parser.add_argument(
        "--flower", type=Path, metavar="FOLDER", help="where Flower's environment is, or is to be made"
    )
    parser.add_argument("--without-flower", action="store_true", help="leave Flower out")
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--before-rounds", type=int, help="fewer for the other version; default: as many")
    parser.add_argument("--flower-rounds", type=int, default=5)
    words = parser.parse_args()
    os.sched_setaffinity(
        0, sorted(os.sched_getaffinity(0))[:2]
    )  # two cores, also for all that is started here
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        after, before = version(HERE, scratch / "after"), version(words.before, scratch / "before", old=True)
        python = None if words.without_flower else flower_environment(words.flower or scratch / "flower")
        print(
            f"after: {after.commit}, before: {before.commit}, PyTorch {torch.__version__}, {', '.join(FLOWER)}"
        )
        print(
            f"{words.rounds} rounds (before {words.before_rounds or words.rounds}, Flower {words.flower_rounds}); "
            f"median (lowest to highest) of {words.repeats} turns"
        )
        for model in words.models:
            compare(model, words, after, before, python)


def compare(
    model: str, words: argparse.Namespace, after: Version, before: Version, python: Path | None
) -> None:
    """Print the tables of one model."""
    ways = {
        "after, auto": lambda rounds: simulated(model, rounds or words.rounds, AUTO, after),
        "after, stacked": lambda rounds: simulated(model, rounds or words.rounds, STACKED, after),
        "after, forked": lambda rounds: simulated(model, rounds or words.rounds, FORKED, after),
        "before, auto": lambda rounds: simulated(
            model, rounds or words.before_rounds or words.rounds, AUTO, before
        ),
        "plain loop": lambda rounds: looped(model, rounds or words.rounds),
    }
    if python:
        ways["Flower"] = lambda rounds: flowered(python, model, rounds or words.flower_rounds)
    found: dict[str, list[Measured]] = {way: [] for way in ways}
    for _ in range(words.repeats):
        for way, measure in ways.items():
            found[way].append(measure(None))
    seconds = {way: [one.seconds for one in turns] for way, turns in found.items()}
    print(
        f"\n{model}\n\n| way | seconds a round | times that of auto | times that of stacked | times that of forked "
        "| final accuracy | before the first round [s] |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    for way, turns in found.items():
        print(
            f"| {way} | {spread(seconds[way], 3)} | {ratios(seconds[way], seconds['after, auto'])} "
            f"| {ratios(seconds[way], seconds['after, stacked'])} "
            f"| {ratios(seconds[way], seconds['after, forked'])} "
            f"| {100 * statistics.median(one.accuracy for one in turns):.1f} % "
            f"| {statistics.median(one.before for one in turns):.1f} |",
            flush=True,
        )
    few = words.flower_rounds
    early = {way: 100 * measure(few).accuracy for way, measure in ways.items()}
    told = ", ".join(f"{way} {percent:.1f} %" for way, percent in early.items())
    print(f"\nAccuracy after {few} rounds: {told}", flush=True)
    if max(early.values()) - min(early.values()) > 5:
        print("They are more than five points apart: not the same algorithm.")


if __name__ == "__main__":
    main()
