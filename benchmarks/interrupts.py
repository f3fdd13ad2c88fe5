"""Interrupt many runs at random moments, in every executor, and check what each leaves.

    python benchmarks/interrupts.py 200
    python benchmarks/interrupts.py 100 200    # those of the seeds 200 to 299

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
from typing import Any

HERE = Path(__file__).parents[1]
sys.path[:0] = [
    str(HERE),
    str(HERE / "tests"),
    str(HERE / "tests" / "netsim"),
]  # first: tests has a folder netsim, too

EXECUTORS: tuple[str | dict[str, Any], ...] = (
    *2 * ("inline", "forked", "threads", {"name": "processes", "workers": 1}),
    {"name": "ray", "workers": 1},  # takes long to start
)


def main(count: int, first: int = 0) -> None:
    """Interrupt ``count`` runs and print how many left what they must, and how many were interrupted twice."""
    from test_interrupts import interrupted

    # A shell has what runs in its background ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wrong, twice, longest_s, begin_s = 0, 0, 0.0, time.monotonic()
    for number in range(first, first + count):
        draw, executor = random.Random(number), EXECUTORS[number % len(EXECUTORS)]
        sent, times = draw.choice([signal.SIGINT, signal.SIGTERM]), draw.choice([1, 1, 1, 2])
        twice += times == 2
        with tempfile.TemporaryDirectory() as folder:
            try:
                took_s = interrupted(Path(folder), executor, sent, draw.random() * 2, times, patience_s=60)
                longest_s = max(longest_s, took_s)
            except Exception as error:
                wrong += 1
                line = traceback.extract_tb(error.__traceback__)[-1].lineno
                print(
                    f"{number}: {executor}, {sent.name}, {times} times, line {line}: {error!r:.300}",
                    flush=True,
                )
        if (number + 1) % 10 == 0:
            print(
                f"{number + 1 - first} runs, {twice} of them twice, {wrong} wrong; ended after at most "
                f"{longest_s:.1f} s; {time.monotonic() - begin_s:.0f} s in all",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
