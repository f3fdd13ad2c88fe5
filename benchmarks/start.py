"""What a command takes before anything is simulated: processor time, next to that of importing PyTorch.

    python benchmarks/start.py
    python benchmarks/start.py --times 15 scenarios/*.yaml

Each command is run in a process of its own, all in turn and several times; its user and system time are added,
so that other work on the machine matters little. A ratio is the median command's to the median import of PyTorch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measured import spread

IMPORT = ["-c", "import torch"]
TELLING = [["--version"], ["--help"], ["list"], ["list", "learners"], ["keys"]]
SCENARIOS = [f"scenarios/{name}.yaml" for name in ("two_devices", "fedavg_fashion", "mhd_fashion")]


def processor_s(words: list[str]) -> float:
    """Run Python with ``words``; its user and system time [s]."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([sys.executable, *words], stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(words)}: {output.read().decode()}")
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scenarios", nargs="*", default=SCENARIOS, help="scenarios to check")
    parser.add_argument("--times", type=int, default=7, help="how often each command is run")
    given = parser.parse_args()
    commands = {f"netsim {' '.join(words)}": ["-m", "netsim", *words] for words in TELLING}
    commands |= {f"netsim check {Path(p).name}": ["-m", "netsim", "check", str(p)] for p in given.scenarios}
    commands["import torch"] = IMPORT
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(given.times):
        for name, words in commands.items():
            seconds[name].append(processor_s(words))
    whole = statistics.median(seconds["import torch"])
    print("| command | processor time [s] | to importing PyTorch |\n| --- | --- | --- |")
    for name, taken in seconds.items():
        print(f"| `{name}` | {spread(taken)} | {statistics.median(taken) / whole:.2f} |")


if __name__ == "__main__":
    main()
