"""Decentralized learning of small models: this simulator, with its radio and records, against bare PyTorch.

python benchmarks/decentralized.py

100 devices on a random 20-regular graph, 200 samples of 57 features each, batches of 32, one local epoch and
averaging with neighbours a round, 100 rounds, evaluation every 10: once as a loop over devices in PyTorch
(plain_loop.py), once with all devices in each operation (bare_stacked.py), once simulated. All in turns in one run;
ratios are those of each turn.
"""

from __future__ import annotations

import argparse

import bare_stacked
import plain_loop
from measured import run, spread

SCENARIO = """
rounds: {rounds}
devices: {{count: 100}}
topology: {{links: {{name: regular, degree: 20}}}}
data: {{name: generated, samples: 20000, test_samples: 500, shape: [57]}}
partition: iid
learner:
  name: dmml
  architecture: concat
  optimizer: sgd
  learning_rate: 0.05
  batch_size: 32
  last_batch: drop
  networks: {{features: {network}}}
evaluation: {{every: 10}}
jobs: {{device: cpu, threads: 2, executor: {executor}, stacking: {stacking}}}
"""
NETWORKS = {"logistic": "identity", "mlp": "{name: mlp, hidden: [64]}"}
WAYS = {"stacked": ("inline", "on"), "forked": ("forked", "on"), "auto": ("auto", "auto")}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="This simulator against bare PyTorch.")
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    print(f"{arguments.rounds} rounds, median (lowest to highest) of {arguments.repeats} turns\n")
    print(
        "| model | plain loop [s] | bare stacked [s] | simulated | seconds | times faster than the loop "
        "| times bare stacked | outside training | accuracy |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for model in arguments.models:
        network, case = NETWORKS[model], plain_loop.Case(model=model, rounds=arguments.rounds)
        plain_s: list[float] = []
        bare_s: list[float] = []
        found: dict[str, list[tuple[float, float, float, float, float]]] = {way: [] for way in WAYS}
        for _ in range(arguments.repeats):
            plain_s.append(plain_loop.seconds(case))
            bare_s.append(bare_stacked.simulate(case).seconds)
            for way, (executor, stacking) in WAYS.items():
                done = run(
                    SCENARIO.format(
                        rounds=arguments.rounds, network=network, executor=executor, stacking=stacking
                    )
                )
                accuracy = done.summary["accuracy"]["fused"]["final"]
                outside = done.metadata["outside_training_share"]
                seconds = done.metadata["wall_s"]  # from the first event on, as the loop's
                ratios = plain_s[-1] / seconds, seconds / bare_s[-1]
                found[way].append((seconds, *ratios, outside, accuracy))
        for way, rows in found.items():
            seconds, faster, times, outside_, accuracies = zip(*rows, strict=True)
            print(
                f"| {model} | {spread(plain_s, 1)} | {spread(bare_s)} | {way} | {spread(seconds)} "
                f"| {spread(faster, 1)} | {spread(times)} "
                f"| {100 * sum(outside_) / len(outside_):.0f} % | {100 * accuracies[-1]:.1f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
