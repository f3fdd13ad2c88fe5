"""What the default does for a learner whose jobs do not stack, on a machine that others use as well.

    python -m benchmarks.newcomer                # next to as many busy processes as there are cores
    python -m benchmarks.newcomer --busy 0       # alone

Each line is one run of the same scenario: federated averaging of a small CNN on scikit-learn's digits.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from netsim.scenario.yaml_file import write_yaml

SCENARIO = {
    "rounds": 3,
    "devices": {"count": 8},
    "protocol": "server_rounds",
    "data": {"name": "digits", "size": 8},
    "partition": "iid",
    "learner": {"name": "fedavg", "networks": {"image": "cnn"}, "local_epochs": 1, "batch_size": 16},
}


def spin() -> None:
    """Keep a core busy."""
    while True:
        pass


def wall_s(folder: Path, run_id: str, threads: str) -> tuple[float, str]:
    """Run it; real seconds from the first event to the last, and what was chosen by kind of work."""
    words = ["run", str(folder / "newcomer.yaml"), "--runs", str(folder / "runs"), "--run-id", run_id]
    words += ["--quiet", "--no-plots", "--set", f"jobs.threads={threads}"]
    subprocess.run([sys.executable, "-m", "netsim", *words], check=True, stdout=subprocess.DEVNULL)
    metadata = json.loads((folder / "runs" / "newcomer" / run_id / "metadata.json").read_text())
    chosen = {row["label"]: row["chosen"] for row in metadata["execution"]["threads"]["measured"]}
    return metadata["wall_s"], ", ".join(f"{label}: {number}" for label, number in chosen.items())


def main() -> None:
    """Measure."""
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--busy", type=int, default=cores, help="processes that do nothing but use a core")
    busy = [multiprocessing.Process(target=spin, daemon=True) for _ in range(parser.parse_args().busy)]
    for process in busy:
        process.start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "newcomer.yaml").write_text(write_yaml(SCENARIO))
        for threads in ("1", str(cores), "null"):
            seconds, chosen = wall_s(folder, threads, threads)
            print(f"jobs.threads {threads:>4}: {seconds:7.1f} s  {chosen}")
    for process in busy:
        process.kill()


if __name__ == "__main__":
    main()
