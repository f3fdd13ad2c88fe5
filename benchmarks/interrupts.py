"""Interrupt many runs at random moments, in every executor, and check what each leaves.

    python benchmarks/interrupts.py 200

What is checked is what ``tests/netsim/test_interrupts.py`` checks a few times.
"""

from __future__ import annotations

import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "netsim")]

EXECUTORS = ("inline", "forked", "threads", {"name": "processes", "workers": 1})


def main(count: int) -> None:
    """Interrupt ``count`` runs and print how many left what they must."""
    from test_interrupts import interrupted

    draw, wrong, begin_s = random.Random(0), 0, time.monotonic()
    for number in range(count):
        executor = EXECUTORS[number % len(EXECUTORS)]
        sent, times = draw.choice([signal.SIGINT, signal.SIGTERM]), draw.choice([1, 1, 1, 2])
        with tempfile.TemporaryDirectory() as folder:
            try:
                interrupted(Path(folder), executor, sent, draw.random() * 2, times)
            except AssertionError as error:
                wrong += 1
                line = traceback.extract_tb(error.__traceback__)[-1].lineno
                print(f"{number}: {executor}, {sent.name}, {times} times, line {line}", flush=True)
    print(f"{count} runs, {wrong} wrong, {time.monotonic() - begin_s:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]))
