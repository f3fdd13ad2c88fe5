"""Federated averaging of very many clients, a hundred of which take part in each round; Flower with a tenth of them.

python benchmarks/server_large.py --flower ~/.cache/netsim/flower

An MLP 57-64-10, 50 samples a client, batches of 32, one local epoch. Here with radio and records.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import plain_fedavg
from measured import run
from server import NETWORKS, SCENARIO, flower_environment, flowered

SAMPLES, PARTICIPANTS = 50, 100


def main() -> None:
    """Print seconds and memory here, then Flower's seconds a round."""
    parser = argparse.ArgumentParser(description="Federated averaging of very many clients.")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument(
        "--flower", type=Path, metavar="FOLDER", help="where Flower's environment is; without it, no Flower"
    )
    parser.add_argument("--flower-rounds", type=int, default=5)
    words = parser.parse_args()
    case = plain_fedavg.Case("mlp", words.clients, words.rounds, words.clients * SAMPLES)
    text = SCENARIO.format(rounds=case.rounds, network=NETWORKS["mlp"], jobs="{device: cpu}", case=case)
    text = text.replace(
        "protocol: server_rounds", f"protocol: {{name: server_rounds, participants: {PARTICIPANTS}}}"
    )
    done = run(text)
    took = done.metadata
    print(
        f"{case.clients:,} clients, {PARTICIPANTS} a round, {case.rounds} rounds: {took['wall_s']:.1f} s after "
        f"{took['build_wall_s']:.1f} s of reading and building, {took['wall_s'] / case.rounds:.3f} s a round, "
        f"{done.peak_gib:.2f} GiB and {done.worker_gib:.2f} in the largest other process; accuracy "
        f"{100 * done.summary['accuracy']['fused']['final']:.1f} %",
        flush=True,
    )
    if words.flower:
        clients = words.clients // 10
        sizes = clients, clients * SAMPLES, PARTICIPANTS
        found = flowered(flower_environment(words.flower), "mlp", words.flower_rounds, *sizes)
        print(f"Flower, {clients:,} clients, {PARTICIPANTS} a round: {found.seconds:.3f} s a round")


if __name__ == "__main__":
    main()
