"""What snapshots of a run cost: 100 rounds of 100 devices with and without, in turns; docs/reliability.md.

    python benchmarks/snapshots.py 6

Each pair of runs is done in processes of their own, with a network of 50,890 weights.
Every other pair begins with the other run. Printed are the medians, over pairs, of the ratios of processor time and of
wall clock, from the first event to the end of the records, with the least and the largest; and what metadata.json says
that snapshots have taken.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from netsim.app.running import Running
from netsim.scenario.loading import load_plan
from netsim.scenario.yaml_file import write_yaml

SCENARIO: dict[str, Any] = {
    "rounds": 100,
    "devices": {"count": 100},
    "topology": {"placement": {"name": "disc", "diameter_m": 200}, "links": {"name": "regular", "degree": 4}},
    "data": {"name": "generated", "samples": 2000, "test_samples": 200, "shape": [784], "classes": 10},
    "partition": "iid",
    "learner": {
        "name": "fedavg",
        "batch_size": 10,
        "local_epochs": 1,
        "validation_share": 0,
        "networks": {"features": {"name": "mlp", "hidden": [64]}},
    },
    "evaluation": {"every": 10},
    "jobs": {"device": "cpu", "executor": "inline", "stacking": "off", "threads": 1},
}


class Taken(NamedTuple):
    """What a run took.

    Attributes:
        processor_s: Processor time [s].
        wall_s: Wall clock [s].
        snapshots: How many there were.
        snapshots_s: Wall clock that metadata.json has for them [s].
        largest_mb: Size of the largest [MB].
    """

    processor_s: float
    wall_s: float
    snapshots: int
    snapshots_s: float
    largest_mb: float


def taken(scenario: dict[str, Any]) -> Taken:
    """Run a scenario here."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "hundred.yaml").write_text(write_yaml(scenario))
        running = Running.new(
            load_plan(folder / "hundred.yaml"), folder, folder / "runs", "a", lambda text: None
        )
        begin = time.process_time(), time.monotonic()
        running.run(contextlib.nullcontext())
        end = time.process_time(), time.monotonic()
        facts = running._recorder.metadata.get("snapshots", {})
    return Taken(
        end[0] - begin[0],
        end[1] - begin[1],
        facts.get("count", 0),
        facts.get("wall_s", 0.0),
        facts.get("largest_bytes", 0) / 1e6,
    )


def main() -> None:
    """Run in pairs, and print."""
    parser = argparse.ArgumentParser(description="What snapshots cost.")
    parser.add_argument("pairs", type=int)
    parser.add_argument("--protocol", default="decentralized_rounds")
    parser.add_argument("--rounds", type=int, default=100)
    words = parser.parse_args()
    scenario = SCENARIO | {"protocol": words.protocol, "rounds": words.rounds}
    found: list[dict[str, Taken]] = []
    context = multiprocessing.get_context("spawn")
    for pair in range(words.pairs):
        of: dict[str, Taken] = {}
        for every in ("auto", "off") if pair % 2 else ("off", "auto"):
            with context.Pool(1) as one:
                of[every] = one.apply(taken, (scenario | {"snapshots": {"every": every}},))
        found.append(of)
        with_, without = of["auto"], of["off"]
        share = 100 * with_.snapshots_s / with_.wall_s
        print(
            f"processor time {with_.processor_s:.1f} s with and {without.processor_s:.1f} s without; wall clock "
            f"{with_.wall_s:.1f} s and {without.wall_s:.1f} s; {with_.snapshots} snapshots of at most "
            f"{with_.largest_mb:.0f} MB took {with_.snapshots_s:.2f} s, {share:.2f} % of the wall clock",
            flush=True,
        )
    for what, key in (("processor time", "processor_s"), ("wall clock", "wall_s")):
        ratios = sorted(getattr(of["auto"], key) / getattr(of["off"], key) for of in found)
        print(
            f"{what} with over without, median of {len(ratios)} pairs: {statistics.median(ratios):.3f} "
            f"({ratios[0]:.3f} to {ratios[-1]:.3f})"
        )


if __name__ == "__main__":
    main()
