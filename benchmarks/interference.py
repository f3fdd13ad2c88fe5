r"""Processor time of transfers that disturb each other (`radio.access: reuse`), over their number.

    python benchmarks/interference.py 50 100 200 400

Pairs of devices, 20 m apart, all over a square with 250 devices a km²; all senders begin at once, on one channel, with
Rayleigh fading that holds for the round. Each end of a transfer changes the rates of all others; with
``negligible_db`` only of those that hear it.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np

from netsim.app.build import build
from netsim.scenario import load_plan

SCENARIO = """
rounds: 1
devices: {{count: {count}}}
topology:
  placement: {{name: coordinates, positions_m: {places}}}
  links: {{name: range, range_m: 20.5}}
  require_connected: false
radio: {{access: {{name: reuse{options}}}, path_loss: {{name: log_distance, exponent: 3.5}}}}
protocol: {{name: asynchronous_gossip, peers: 1}}
learner: {{name: stub, flops: 1, bits: 1e6}}
"""


def places(pairs: int) -> list[list[float]]:
    """Pairs at random places [m]."""
    draw = np.random.default_rng(0)
    first = draw.uniform(0, math.sqrt(2 * pairs / 250) * 1000, (pairs, 2))
    angle = draw.uniform(0, 2 * math.pi, pairs)
    second = first + 20 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.stack([first, second], axis=1).reshape(-1, 2).round(3).tolist()


def measure(pairs: int, options: str) -> tuple[float, float]:
    """Processor time of a round, and its simulated time [s]."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "scenario.yaml"
        text = SCENARIO.format(count=2 * pairs, places=places(pairs), options=options)
        file.write_text(text)
        simulation = build(load_plan(file, ()), Path(name), lambda text: None)
        since_s = time.process_time()
        simulation.run()
        return time.process_time() - since_s, simulation.network.env.now


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Transfers that disturb each other.")
    parser.add_argument("pairs", nargs="*", type=int, default=[50, 100, 200, 400])
    parser.add_argument("--options", default="", help="more of the block radio.access, as ', key: value'")
    words = parser.parse_args()
    print(
        "| transfers at once | processor time [s] | a transfer [ms] | simulated time [s] |\n| --- | --- | --- | --- |"
    )
    for pairs in words.pairs:
        spent_s, simulated_s = measure(pairs, words.options)
        print(
            f"| {2 * pairs} | {spent_s:.2f} | {1000 * spent_s / (2 * pairs):.1f} | {simulated_s:.6f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
