"""Many devices: time and memory.

python benchmarks/scale.py
python benchmarks/scale.py --simulation 100 1000 10000 100000 --figure docs/figures/scale.png
python benchmarks/scale.py --moving 1000 10000
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from measured import run

from netsim.app.running import Running
from netsim.scenario import load_plan

SCENARIO = """
rounds: {rounds}
devices: {{count: {devices}}}
topology: {{links: {{name: regular, degree: 6}}}}
data: {{name: generated, samples: {samples}, test_samples: 200, shape: [57]}}
partition: iid
learner:
  name: dmml
  architecture: concat
  batch_size: 10
  learning_rate: 1e-2
  networks: {{features: {{name: mlp, hidden: [{hidden}]}}}}
evaluation: {{every: {rounds}}}
jobs: {{device: cpu, threads: 1, executor: {executor}, stacking: on}}
"""
CASES = {
    "1,000 devices, 20 rounds": {"devices": 1000, "rounds": 20, "samples": 40_000, "hidden": 64},
    "10,000 devices, 3 rounds": {"devices": 10_000, "rounds": 3, "samples": 200_000, "hidden": 16},
}


SIMULATION = """
rounds: {rounds}
devices: {{count: {devices}}}
topology:
  placement: {{name: disc, diameter_m: {diameter_m}}}
  links: {{name: range, range_m: 141.4}}
  require_connected: false
learner: {{name: stub}}
"""
"""Devices with six neighbours in the mean, but for those at the edge."""


MOVING = SIMULATION + "mobility: {{name: random_waypoint, diameter_m: {diameter_m}, speed_mps: [1, 10]}}\n"
"""The same devices, which walk; links and path losses are updated every second."""


class Cost(NamedTuple):
    """Processor time and simulated time [s], peak memory [GiB] and transfers of a simulation without learning."""

    devices: int
    rounds: int
    build_s: float
    run_s: float
    simulated_s: float
    peak_gib: float
    transfers: int


def simulate(devices: int, moving: bool = False) -> Cost:
    """Simulate rounds of ``devices`` devices, ten where they move; all records are written."""
    rounds = 10 if moving else max(3, min(100, 100_000 // devices)) if devices < 1_000_000 else 2
    text = (MOVING if moving else SIMULATION).format(
        rounds=rounds, devices=devices, diameter_m=115.5 * math.sqrt(devices)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scale.yaml").write_text(text)
        begin_s = time.process_time()
        running = Running.new(load_plan(folder / "scale.yaml"), folder, folder, "scale", print)
        built_s = time.process_time()
        ended = running.run(nullcontext())
    return Cost(
        devices,
        rounds,
        built_s - begin_s,
        time.process_time() - built_s,
        ended.summary["simulated_s"],
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        sum(ended.summary["transfers"].values()),
    )


def simulations(sizes: Sequence[int], figure: Path | None) -> None:
    """Print a table of simulations without learning, and draw their cost per transfer over the number of devices."""
    print("| devices | rounds | building [s] | a round [s] | per transfer | peak memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    simulate(2)  # imports
    costs = []
    for devices in sorted(sizes):
        costs.append(
            cost := min((simulate(devices) for _ in range(3 if devices < 1e5 else 1)), key=lambda c: c.run_s)
        )
        print(
            f"| {devices:,} | {cost.rounds} | {cost.build_s:.2f} | {cost.run_s / cost.rounds:.3g} "
            f"| {1e6 * cost.run_s / cost.transfers:.1f} µs | {cost.peak_gib:.2f} GiB |",
            flush=True,
        )
    if figure:
        import matplotlib.pyplot as plt

        axes = plt.figure(figsize=(5, 3), layout="constrained").gca()
        axes.loglog([c.devices for c in costs], [1e6 * c.run_s / c.transfers for c in costs], "o-")
        axes.set(xlabel="devices", ylabel="processor time a transfer [µs]", ylim=(1, 100))
        plt.savefig(figure, dpi=120)


def movements(sizes: Sequence[int]) -> None:
    """Print a table of simulations of ten rounds in which devices move and nothing is learnt."""
    print("| devices | updates | processor time [s] | wall-clock time [s] | transfers | peak memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    for devices in sorted(sizes):
        begin_s = time.perf_counter()
        cost = simulate(devices, moving=True)
        print(
            f"| {devices:,} | {cost.simulated_s:.0f} | {cost.build_s + cost.run_s:.1f} "
            f"| {time.perf_counter() - begin_s:.1f} | {cost.transfers:,} | {cost.peak_gib:.2f} GiB |",
            flush=True,
        )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Time and memory of many devices.")
    parser.add_argument("--simulation", type=int, nargs="+", help="numbers of devices that learn nothing")
    parser.add_argument(
        "--moving", type=int, nargs="+", help="numbers of devices that move and learn nothing"
    )
    parser.add_argument("--figure", type=Path, help="where the cost per transfer is drawn")
    asked = parser.parse_args()
    if asked.moving:
        return movements(asked.moving)
    if asked.simulation:
        return simulations(asked.simulation, asked.figure)
    print("| case | network | executor | seconds | outside training | peak memory | transfers | accuracy |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, sizes in CASES.items():
        for executor in ("inline", "forked"):
            done = run(SCENARIO.format(executor=executor, **sizes))
            peak_gib = done.peak_gib + (done.worker_gib if executor == "forked" else 0.0)
            print(
                f"| {name} | MLP 57-{sizes['hidden']}-2, Adam | {executor} | {done.seconds:.1f} "
                f"| {100 * done.metadata['outside_training_share']:.0f} % | {peak_gib:.2f} GiB "
                f"| {sum(done.summary['transfers'].values()):,} "
                f"| {100 * done.summary['accuracy']['fused']['final']:.1f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
