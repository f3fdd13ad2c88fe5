"""What the guards of a run cost: records written while it goes on, checksums, handlers of signals; side by side.

    python benchmarks/guards.py 10

A long run that learns nothing and a short one that learns are done with and without, in turns, each way first in every
other turn. Without, records are written at the end alone. Printed are medians and quartiles, over turns, of the ratio
of times with and without.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from typer.testing import CliRunner

from netsim.app.commands.cli import app
from netsim.scenario.yaml_file import write_yaml

NETWORK: dict[str, Any] = {
    "devices": {"count": 12},
    "topology": {"placement": {"name": "disc", "diameter_m": 20}},
    "jobs": {"executor": "inline", "stacking": "off", "threads": 1},
}
SCENARIOS: dict[str, dict[str, Any]] = {
    "learns nothing": NETWORK | {"rounds": 1500, "learner": {"name": "stub", "flops": 4e9, "bits": 1e6}},
    "learns": NETWORK
    | {
        "rounds": 15,
        "data": {"name": "generated", "samples": 1200, "test_samples": 100, "shape": [16]},
        "partition": "iid",
        "learner": {
            "name": "dmml",
            "batch_size": 8,
            "networks": {"features": {"name": "mlp", "hidden": [32]}},
        },
    },
}


@contextlib.contextmanager
def without() -> Iterator[None]:
    """Do without the guards in the block."""

    def nothing(*arguments: Any) -> None:
        pass

    with contextlib.ExitStack() as stack:
        for name in ("netsim.app.said.heard", "netsim.app.recorded.held", "netsim.records.run_folder.held"):
            stack.enter_context(patch(name, contextlib.nullcontext))
        stack.enter_context(patch("netsim.app.recorded.write_checksums", nothing))
        stack.enter_context(patch("netsim.records.run_folder.Recorder.on_round_closed", nothing))
        yield


def times_s(scenario: Path, guarded: bool) -> tuple[float, float]:
    """Run once; return processor time and wall-clock time [s]."""
    with tempfile.TemporaryDirectory() as folder, contextlib.nullcontext() if guarded else without():
        begin = time.process_time(), time.perf_counter()
        words = ["run", str(scenario), "--runs", folder, "--no-plots", "--quiet"]
        result = CliRunner().invoke(app, words)
        end = time.process_time(), time.perf_counter()
        assert result.exit_code == 0, result.output
    return end[0] - begin[0], end[1] - begin[1]


def main(turns: int) -> None:
    """Print the ratios for each scenario."""
    for name, tree in SCENARIOS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "s.yaml")
            path.write_text(write_yaml(tree))
            times_s(path, True)  # imports
            ratios, took_s = [], []
            for turn in range(turns):
                pair = {guarded: times_s(path, guarded) for guarded in (turn % 2 == 0, turn % 2 == 1)}
                ratios.append([a / b for a, b in zip(pair[True], pair[False], strict=True)])
                took_s.append(pair[True][0])
        print(f"{name}: {turns} turns, {statistics.median(took_s):.2f} s of processor time")
        for kind, column in zip(("processor", "wall clock"), zip(*ratios, strict=True), strict=True):
            low, middle, high = statistics.quantiles(column, n=4)
            print(f"    {kind}: {middle:.3f} ({low:.3f} to {high:.3f})", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
