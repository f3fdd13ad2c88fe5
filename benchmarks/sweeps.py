"""Kill a sweep in its middle: it must end with the bytes of one that nobody killed. And what a second worker saves.

    python benchmarks/sweeps.py                    # needs MNIST and FSDD; the folder is NETSIM_DATA
    python benchmarks/sweeps.py --turns 0          # the kill alone

Three learners and three seeds on scenarios/avdigits_12dev.yaml, with few rounds and samples so that it takes minutes.
A sweep with all its runs is killed with SIGKILL when a third of them are done, as by a power cut, and started again;
its ``sweep.csv`` and the tables and summaries of its runs must be those of a sweep that went through. Then one worker
and two take turns.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from netsim.app.sweeping import finished
from netsim.scenario.yaml_file import write_yaml

HERE = Path(__file__).parents[1]
DATA = os.environ.get("NETSIM_DATA", str(HERE.parent / "shared" / "data"))
LEARNERS = ["dmml", "dmml_kd", "dmml_kd_balance"]
SEEDS = 3


def write_sweep(file: Path, rounds: int, pairs: int) -> None:
    """Write the sweep; each run has one core and trains its devices as one batch."""
    short = {"rounds": rounds, "data.train_pairs": pairs, "data.test_pairs": pairs // 8, "data.root": DATA}
    jobs = {"executor": "inline", "threads": 1, "stacking": "on", "device": "cpu"}
    tree = {
        "scenario": str(HERE / "scenarios" / "avdigits_12dev.yaml"),
        "set": short | {"jobs": jobs},
        "grid": {"learner.name": LEARNERS},
        "seeds": SEEDS,
    }
    file.write_text(write_yaml(tree))


def words(file: Path, runs: Path, workers: int) -> list[str]:
    """Return the command."""
    asked = ["sweep", str(file), "--runs", str(runs), "--workers", str(workers), "--quiet"]
    return [sys.executable, "-m", "netsim", *asked, "--cache", str(file.parent / "cache")]


def swept(file: Path, runs: Path, workers: int) -> float:
    """Do a sweep, or what is left of it, and return its wall-clock time [s]."""
    begin_s = time.monotonic()
    subprocess.run(words(file, runs, workers), cwd=HERE, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin_s


def killed(file: Path, runs: Path) -> tuple[int, int]:
    """Kill a sweep, with its runs, when a third of them are done; return how many were done, and begun."""
    child = subprocess.Popen(
        words(file, runs, 2), cwd=HERE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    while child.poll() is None:
        folders = [path.parent for path in runs.glob("*/*/*/metadata.json")]
        done = sum(map(finished, folders))
        if done >= len(LEARNERS) * SEEDS // 3 and len(folders) > done:
            os.killpg(child.pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    child.wait()
    folders = [path.parent for path in runs.glob("*/*/*/metadata.json")]
    return sum(map(finished, folders)), len(folders)


def records(runs: Path) -> dict[str, bytes]:
    """Return tables and summaries of all runs by their place, and the table of the sweep without folders."""
    found = {
        str(path.relative_to(runs)): path.read_bytes()
        for pattern in ("*/*/*/*.parquet", "*/*/*/summary.json")
        for path in runs.glob(pattern)
    }
    (table,) = runs.glob("*/sweep.csv")
    return found | {"sweep.csv": pd.read_csv(table).drop(columns="folder").to_csv().encode()}


def main() -> None:
    """Print what was compared, and ratios."""
    parser = argparse.ArgumentParser(description="A sweep that is killed, and one with two workers.")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=960, help="training samples")
    parser.add_argument("--turns", type=int, default=3, help="of one worker and two; 0: none")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        file = folder / "three.yaml"
        write_sweep(file, asked.rounds, asked.pairs)
        swept(file, folder / "whole", 2)  # also makes the data, once
        done, begun = killed(file, folder / "killed")
        swept(file, folder / "killed", 2)
        whole, again = records(folder / "whole"), records(folder / "killed")
        wrong = sorted(name for name in {**whole, **again} if whole.get(name) != again.get(name))
        print(
            f"killed with {done} of {len(LEARNERS) * SEEDS} runs done and {begun - done} on their way; "
            f"of {len(whole)} files {len(wrong)} differ" + "".join(f"\n  {name}" for name in wrong),
            flush=True,
        )
        ratios = []
        for turn in range(asked.turns):
            one, two = (swept(file, folder / f"{turn}-{count}", count) for count in (1, 2))
            ratios.append(two / one)
            load = os.getloadavg()[0]
            print(f"one worker {one:.1f} s, two {two:.1f} s: {two / one:.2f}; load {load:.1f}", flush=True)
        if ratios:
            middle = statistics.median(ratios)
            print(f"two workers take {middle:.2f} of one's time ({min(ratios):.2f} to {max(ratios):.2f})")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
