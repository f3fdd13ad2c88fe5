"""What simulating costs where nothing is trained: events, radio, batteries, records.

python benchmarks/simulator.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

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


def main(repeats: int = 3) -> None:
    """Print seconds from the first event to the last record, build and plots not counted, and transfers."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in CASES.items():
            path = Path(folder) / "case.yaml"
            path.write_text(text)
            seconds, transfers = [], 0
            for _ in range(repeats):
                words = [
                    sys.executable,
                    "-m",
                    "netsim",
                    "run",
                    str(path),
                    "--quiet",
                    "--no-plots",
                    "--runs",
                    folder,
                ]
                run = Path(subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip())
                seconds.append(json.loads((run / "metadata.json").read_text())["wall_s"])
                transfers = sum(json.loads((run / "summary.json").read_text())["transfers"].values())
            middle = statistics.median(seconds)
            print(
                f"{name}: median {middle:.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), "
                f"{transfers:,} transfers, {1e6 * middle / transfers:.0f} µs each"
            )


if __name__ == "__main__":
    main()
