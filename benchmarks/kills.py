"""Kill many runs at random moments, over protocols, learners and executors; each must go on to the same records.

    python benchmarks/kills.py 200
    python benchmarks/kills.py 100 200    # those of the seeds 200 to 299
    python benchmarks/kills.py 20 0 interrupt    # with SIGINT, as Ctrl-C does
    python benchmarks/kills.py 20 0 worker    # not the run, but a process that it has started
    python benchmarks/kills.py 20 0 kill auto    # with jobs left to auto, whose last digits differ from time to time

A run is killed with SIGKILL one to three times; the second and third time it is the run that goes on. Its tables and
its summary must then be those of a run that nobody disturbed, byte for byte. With ``auto`` it must go on, measure as
often, and its records must fit together (``netsim verify``). Which scenario of variants.py, which executor and when
follows from the seed. ``tests/netsim/test_resume.py`` does a few.
"""

from __future__ import annotations

import functools
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq

HERE = Path(__file__).parents[1]
sys.path[:0] = [str(HERE / "tests"), str(HERE / "benchmarks")]

EXECUTORS = (
    *2 * ("inline", "forked", "threads", "{name: processes, workers: 1}"),
    "{name: ray, workers: 1}",  # takes long to start
)
ROUNDS = 40
CACHE = HERE / ".cache"
QUIET = ("--quiet", "--no-plots")


def words(folder: Path, name: str, executor: str, every: str) -> list[str]:
    """Return the command that runs the variant ``name``; its scenario lies in ``folder``."""
    from variants import VARIANTS

    world, settings = VARIANTS[name]
    (folder / "variant.yaml").write_text(world)
    jobs = (
        f"jobs={{device: cpu, threads: 1, stacking: off, executor: {executor}}}"
        if executor != "auto"
        else "jobs={}"
    )
    given = [jobs, f"snapshots.every={every}", f"rounds={ROUNDS}", *settings]
    found = ["-m", "netsim", "run", "variant.yaml", "--runs", "runs", "--run-id", "a", *QUIET]
    return [*found, "--cache", str(CACHE), *(word for text in given for word in ("--set", text))]


def records(run: Path) -> dict[str, bytes]:
    """Return what must be the same: the tables and the summary, by name of the file."""
    return {file.name: file.read_bytes() for file in run.iterdir() if file.suffix == ".parquet"} | {
        "summary.json": (run / "summary.json").read_bytes()
    }


@functools.cache
def undisturbed(name: str) -> tuple[dict[str, bytes], float]:
    """Return the records of the variant ``name``, and how long it takes [s]."""
    from warm_python import python, started

    python("-c", "", cwd=HERE)  # the first process takes long
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with started(*words(folder, name, "inline", "off"), cwd=folder) as (_, end):
            done = end()
        assert done.returncode == 0, done.stderr
        run = folder / "runs" / "variant" / "a"
        return records(run), json.loads((run / "metadata.json").read_text())["wall_s"]


def hit(pid: int, how: str) -> bool:
    """Send a signal to the run with number ``pid``, or to its youngest child; return whether there was anybody."""
    if how == "worker":
        children = Path(f"/proc/{pid}/task/{pid}/children")
        with suppress(OSError, IndexError):
            pid = int(children.read_text().split()[-1])
            os.kill(pid, signal.SIGKILL)
            return True
        return False
    with suppress(ProcessLookupError):  # it has ended
        os.kill(pid, signal.SIGINT if how == "interrupt" else signal.SIGKILL)
    return True


ENDS = {"kill": (-signal.SIGKILL,), "interrupt": (130,), "worker": (0, 2)}
"""With which exit code a run may end."""


def killed(name: str, executor: str, draw: random.Random, how: str = "kill") -> tuple[int, list[int]]:
    """Kill and resume a run of the variant ``name``; return the kills, and after which rounds it went on.

    Args:
        name: The variant.
        executor: Its executor.
        draw: Says how often, and when.
        how: ``kill``, ``interrupt`` or ``worker``: what is done to it.

    Raises:
        AssertionError: Its records are not those of an undisturbed run.
    """
    from warm_python import started

    expected, length_s = undisturbed(name)
    kills, times = 0, draw.randint(1, 3)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        run = folder / "runs" / "variant" / "a"
        command = words(folder, name, executor, str(draw.randint(1, 4)))
        while True:
            with started(*command, cwd=folder) as (pid, end):
                if times:
                    until_s = time.monotonic() + 600
                    while not (run / "metadata.json").exists() and time.monotonic() < until_s:
                        time.sleep(0.01)
                    time.sleep(draw.random() * length_s)
                    kills += hit(pid, how)
                    times -= 1
                done = end()
            if done.returncode == 0:
                break
            assert done.returncode in ENDS[how] and "Traceback" not in done.stderr, done.stderr
            command = ["-m", "netsim", "resume", str(run), "--cache", str(CACHE), *QUIET]
            finished = json.loads((run / "metadata.json").read_text())["status"] == "finished"
            if finished and (run / "checksums.sha256").exists():
                break  # only what comes after the end of the records was killed
        found = records(run)
        if executor == "auto":
            with started("-m", "netsim", "verify", str(run), cwd=folder) as (_, end):
                checked = end()
            assert checked.returncode == 0, checked.stdout
            counts = [
                pq.read_metadata(io.BytesIO(one["metrics.parquet"])).num_rows for one in (expected, found)
            ]
            assert counts[0] == counts[1], f"measured {counts[1]} times, and not {counts[0]} times"
        else:
            different = sorted(key for key in {**expected, **found} if expected.get(key) != found.get(key))
            assert not different, f"{', '.join(different)} differ"
        metadata = json.loads((run / "metadata.json").read_text())
        return kills, [one["closed"] for one in metadata.get("resumed", ())]


def main(count: int, first: int = 0, how: str = "kill", jobs: str = "") -> None:
    """Kill ``count`` runs and print how many went on to the records that they must have."""
    from variants import VARIANTS

    wrong, kills, taken = 0, 0, Counter[str]()
    names, begin_s = sorted(VARIANTS), time.monotonic()
    for number in range(first, first + count):
        draw, executor = random.Random(number), jobs or EXECUTORS[number % len(EXECUTORS)]
        name = draw.choice(names)
        try:
            times, went_on = killed(name, executor, draw, how)
            kills += times
            taken.update("from a snapshot" if closed else "from the beginning" for closed in went_on)
        except Exception as error:
            wrong += 1
            print(f"{number}: {name}, {executor}: {error!r:.500}", flush=True)
        if (number + 1) % 10 == 0:
            print(
                f"{number + 1 - first} runs, {kills} kills, went on {dict(taken)}, {wrong} wrong; "
                f"{time.monotonic() - begin_s:.0f} s in all",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])
