"""Convolutional networks: seconds a round of training takes, for each way of running its jobs, and as auto runs them.

python benchmarks/networks.py

The jobs are those of a scenario's first round, as its learner states them, handed to each executor in turn, again and
again, so that a slow moment of the machine meets all of them. What is done once (workers start, auto measures) is
not counted but told.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measured import spread

from netsim.app.build import build
from netsim.scenario.loading import load_plan
from netsim.work.batching import Stacking
from netsim.work.executor import Executor
from netsim.work.executors.auto import Auto
from netsim.work.executors.inline import Inline
from netsim.work.executors.pooled import PooledOptions
from netsim.work.executors.processes import Processes
from netsim.work.executors.threads import Threads
from netsim.work.job import TrainingJob

LENET = """
rounds: 100
devices: {{count: {devices}}}
topology: {{links: {{name: regular, degree: 4}}}}
data: {{name: generated, samples: {samples}, test_samples: 200, shape: [1, 28, 28], classes: 10, separation: 6}}
partition: iid
learner:
  name: dmml
  architecture: concat
  optimizer: sgd
  learning_rate: 0.05
  batch_size: 32
  networks: {{features: lenet}}
jobs: {{device: cpu, threads: 1}}
"""
PAIRS = """
rounds: 100
devices: {count: 12}
data: {name: crema_d, surrogate_clips: 480, audio_shape: [64, 64], image_size: 64, standardise_audio: true}
partition: iid
learner:
  name: dmml
  batch_size: 16
  networks:
    audio: {name: small_resnet, widths: [16, 32, 64, 128], blocks: 2, stem_stride: 4}
    visual: {name: small_resnet, widths: [16, 32, 64, 128], blocks: 2, stem_stride: 4}
jobs: {device: cpu, threads: 1}
"""
CASES = {
    "LeNet 28×28, 10 devices": LENET.format(devices=10, samples=2000),
    "LeNet 28×28, 100 devices": LENET.format(devices=100, samples=20000),
    "ResNet pairs 64×64, 12 devices": PAIRS,
}
WAYS: dict[str, tuple[Callable[[], Executor], int]] = {
    "loop": (lambda: Inline(None, Stacking("off")), 1),
    "loop, 2 threads inside": (lambda: Inline(None, Stacking("off")), 2),
    "stacked": (lambda: Inline(None, Stacking("on")), 1),
    "stacked, 2 threads inside": (lambda: Inline(None, Stacking("on")), 2),
    "threads": (lambda: Threads(PooledOptions(), Stacking("off")), 1),
    "processes": (lambda: Processes(PooledOptions(), Stacking("off")), 1),
    "processes, stacked": (lambda: Processes(PooledOptions(), Stacking("on")), 1),
    "auto": (lambda: Auto(PooledOptions(), Stacking("auto")), 2),
}


class Noting(Inline):
    """Does jobs one by one, and notes those that can be stacked."""

    def __init__(self) -> None:
        super().__init__(None, Stacking("off"))
        self.noted: list[TrainingJob] = []

    def submit(self, job: TrainingJob) -> int:
        """Note ``job`` before it is done."""
        if job.stack is not None:
            self.noted.append(job)
        return super().submit(job)


def jobs_of(scenario: str) -> list[TrainingJob]:
    """The training jobs of the first round."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.yaml"
        path.write_text(scenario)
        once = ("rounds=1", "evaluation.samples=1")
        simulation = build(load_plan(path, once), Path.home() / ".cache" / "netsim", lambda text: None)
    simulation.executor = noting = Noting()
    simulation.run()
    return [job for job in noting.noted if job.stack and job.stack.label.startswith("training")]


def seconds(executor: Executor, jobs: list[TrainingJob], threads: int) -> float:
    """Seconds for all ``jobs``."""
    torch.set_num_threads(threads)
    begin = time.perf_counter()
    tickets = [executor.submit(job) for job in jobs]
    while tickets:
        done = executor.finish(tickets)
        tickets = [ticket for ticket in tickets if ticket not in done]
    return time.perf_counter() - begin


def main() -> None:
    """Print a table per case."""
    parser = argparse.ArgumentParser(description="Ways of running the jobs of convolutional networks.")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--case", default="", help="only cases whose name has this in it")
    arguments = parser.parse_args()
    for name, scenario in CASES.items():
        if arguments.case not in name:
            continue
        jobs = jobs_of(scenario)
        executors = {way: make() for way, (make, _) in WAYS.items()}
        for executor in executors.values():
            executor.prepare("cpu", 100 * len(jobs))
        first = {way: seconds(executors[way], jobs, threads) for way, (_, threads) in WAYS.items()}
        taken: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(arguments.repeats):
            for way, (_, threads) in WAYS.items():
                taken[way].append(seconds(executors[way], jobs, threads))
        print(f"\n{name}; {arguments.repeats} turns, median (lowest to highest)\n")
        print(
            "| way | seconds a round | times faster than the loop | first round [s] |\n| --- | --- | --- | --- |"
        )
        for way, values in taken.items():
            ratios = [loop / value for loop, value in zip(taken["loop"], values, strict=True)]
            print(f"| {way} | {spread(values, 3)} | {spread(ratios)} | {first[way]:.1f} |")
        best = min((way for way in taken if way != "auto"), key=lambda way: statistics.median(taken[way]))
        against = [auto / other for auto, other in zip(taken["auto"], taken[best], strict=True)]
        chosen = executors["auto"].facts()["stacking"]["measured"][0]["chosen"]
        print(
            f"\nfastest: {best}; auto chose: {chosen}; auto against the fastest: {spread(against)}",
            flush=True,
        )
        for executor in executors.values():
            executor.close()


if __name__ == "__main__":
    main()
