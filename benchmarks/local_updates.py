"""What a federated round's local updates take: each client's job alone, or all of them as one batch.

100 clients with 200 samples of 57 features each, batches of 32, an epoch a round; logistic regression, or a network
with one hidden layer. Loop and stack take turns in one process, on one thread, so the ratio is fair on a noisy machine.

python benchmarks/local_updates.py
python benchmarks/local_updates.py --clients 20 --repeats 9
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import torch

from netsim.app.build import build
from netsim.scenario.loading import load_plan
from netsim.scenario.yaml_file import write_yaml
from netsim.work.job import TrainingJob, run_jobs

NETWORKS: dict[str, dict[str, Any]] = {
    "logistic": {"name": "identity"},
    "mlp": {"name": "mlp", "hidden": [64]},
}


def jobs_of(network: str, clients: int, classes: int) -> list[TrainingJob]:
    """The local updates of FedAvg's first round."""
    scenario = {
        "rounds": 1,
        "devices": {"count": clients},
        "protocol": {"name": "server_rounds"},
        "data": {
            "name": "generated",
            "samples": 200 * clients,
            "test_samples": 500,
            "shape": [57],
            "classes": classes,
        },
        "partition": {"name": "iid"},
        "learner": {
            "name": "fedavg",
            "batch_size": 32,
            "learning_rate": 0.05,
            "momentum": 0.0,
            "weight_decay": 0.0,
            "validation_share": 0.0,
            "networks": {"features": NETWORKS[network]},
        },
        "jobs": {"device": "cpu", "threads": 1, "executor": "inline", "stacking": "off"},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.yaml"
        path.write_text(write_yaml(scenario))
        learner: Any = build(load_plan(path), Path(folder), lambda text: None).learner
    if not hasattr(learner, "_test_rows"):
        learner.begin(nx.star_graph(clients))
    (message,) = learner.download(1, range(clients))
    for device in message.receivers:
        learner.receive(device, 1, message.payload)
    return [learner.training_job(device, 1, None) for device in message.receivers]


def loop(jobs: Sequence[TrainingJob]) -> None:
    """Do each job alone."""
    for job in jobs:
        run_jobs([job])


def seconds(way: Any, jobs: Sequence[TrainingJob]) -> float:
    """Time that ``way`` takes for ``jobs`` [s]."""
    begin = time.perf_counter()
    way(jobs)
    return time.perf_counter() - begin


def main() -> None:
    """Print a table: milliseconds of a round, loop and stacked, and their ratio."""
    parser = argparse.ArgumentParser(description="Local updates of a federated round, loop against stacked.")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("network    loop [ms]   stacked [ms]   ratio: median (lowest to highest)")
    for network, classes in (("logistic", 2), ("mlp", 10)):
        jobs = jobs_of(network, options.clients, classes)
        loop(jobs), run_jobs(jobs)  # what is done once only counts for nothing
        pairs = [(seconds(loop, jobs), seconds(run_jobs, jobs)) for _ in range(options.repeats)]
        ratios = [alone / stacked for alone, stacked in pairs]
        alone, stacked = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"{network:8} {alone:11.1f} {stacked:14.2f}   {statistics.median(ratios):.1f} "
            f"({min(ratios):.1f} to {max(ratios):.1f})"
        )


if __name__ == "__main__":
    main()
