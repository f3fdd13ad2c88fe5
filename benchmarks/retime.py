"""What ``netsim retime`` takes, seen from the shell: the first time, and again; next to importing PyTorch.

    python benchmarks/retime.py runs/crema_12dev/base 5
    python benchmarks/retime.py runs/crema_12dev/base 5 .cache devices.tx_power_w=0.2

The first time is measured with the cache that the run has left, in which there is its replay if it took minutes, and
with an empty one. User and system time are added, so that other work on the machine matters less; a ratio is to the
median import of PyTorch.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from measured import spread
from start import IMPORT, processor_s


def main(run: str, times: int, cache: str = ".cache", setting: str = "radio.bandwidth_hz=1e6") -> None:
    """Retime ``run`` three times, ``times`` times, and print a table."""
    names = "the first time after the run", "the first time, empty cache", "again"
    seconds: dict[str, list[float]] = {name: [] for name in (*names, "import torch")}
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            words = ["-m", "netsim", "retime", run, "--set", setting, "--no-plots", "-q", "--runs", folder]
            left, empty = Path(folder, "left"), Path(folder, "empty")
            shutil.copytree(cache, left)
            for name, where in zip(names, (left, empty, empty), strict=True):
                seconds[name].append(processor_s([*words, "--cache", str(where)]))
        seconds["import torch"].append(processor_s(IMPORT))
    whole = statistics.median(seconds["import torch"])
    print("| | processor time [s] | to importing PyTorch |\n| --- | --- | --- |")
    for name, taken in seconds.items():
        print(f"| {name} | {spread(taken)} | {statistics.median(taken) / whole:.2f} |")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
