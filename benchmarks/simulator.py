"""What simulating costs where nothing is trained: events, radio, batteries, records.

python benchmarks/simulator.py
python benchmarks/simulator.py --before ../before
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from versions import HERE, Version, version

CASES = {
    "12 devices, 80 rounds": """
rounds: 80
devices: {count: 12}
learner: {name: stub, flops: 3.93e12, bits: 1.8e8}
""",
    "12 devices, 80 rounds, finite batteries, shared band, coherence time 1 s": """
rounds: 80
devices: {count: 12, battery: {capacity_j: 1e6}}
radio: {access: shared, channel: {name: rayleigh, coherence_time_s: 1.0}}
learner: {name: stub, flops: 3.93e12, bits: 1.8e7}
""",
    "100 devices, 100 rounds, degree 20": """
rounds: 100
devices: {count: 100}
topology: {links: {name: regular, degree: 20}}
learner: {name: stub, flops: 3.93e12, bits: 1.8e8}
""",
    "1,000 devices, 10 rounds, mean degree about 6": """
rounds: 10
devices: {count: 1000}
topology: {placement: {name: disc, diameter_m: 1250}, links: {name: range, range_m: 50}, require_connected: false}
learner: {name: stub, flops: 3.93e12, bits: 1.8e8}
""",
}

TIMED = """
import runpy, simpy, time
run, begun = simpy.Environment.run, []
def timed(*given, **named):
    begun.append(time.process_time())
    return run(*given, **named)
simpy.Environment.run = timed
try:
    runpy.run_module("netsim", run_name="__main__")
finally:
    print(time.process_time() - begun[0])
"""
"""Runs the command line and prints the processor time [s] from the first event on, when all is written."""


def simulated(case: Path, runs: Path, by: Version) -> tuple[float, int]:
    """Run ``case``; return the processor time from the first event to the last record [s], and its transfers."""
    words = ["run", str(case), "--quiet", "--no-plots", "--runs", str(runs)]
    done = subprocess.run(
        [sys.executable, "-c", TIMED, *words],
        env=by.environment,
        cwd=by.folder,  # from where Python imports first
        capture_output=True,
        text=True,
        check=True,
    )
    folder, seconds = done.stdout.split()[-2:]
    return float(seconds), sum(json.loads((Path(folder) / "summary.json").read_text())["transfers"].values())


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median of ``values``, and the lowest and the highest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    """Print processor times without building; where another version is named, in turns with it."""
    parser = argparse.ArgumentParser(description="What simulating costs where nothing is trained.")
    parser.add_argument("--before", type=Path, help="a checkout to hold this one against")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    before = " before [s] | times faster |" if asked.before else ""
    print(f"| case | processor time [s] | transfers | per transfer |{before}")
    print("| --- | --- | --- | --- |" + (" --- | --- |" if asked.before else ""))
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        versions = [version(HERE, scratch / "now")]
        if asked.before:
            versions.append(version(asked.before, scratch / "before", old=True))
        for title, text in CASES.items():
            (scratch / "case.yaml").write_text(text)
            turns, transfers = [], 0
            for _ in range(asked.repeats):
                found = [simulated(scratch / "case.yaml", scratch / "runs", one) for one in versions]
                turns.append([seconds for seconds, _ in found])
                transfers = found[0][1]
            now, *then = zip(*turns, strict=True)
            each = f"{1e6 * statistics.median(now) / transfers:.1f} µs"
            line = f"| {title} | {spread(now)} | {transfers:,} | {each} |"
            if then:
                line += f" {spread(then[0])} | {spread([b / a for a, b in turns], 1)} |"
            print(line, flush=True)


if __name__ == "__main__":
    main()
