"""Ctrl-C and SIGTERM, once and twice, in every executor: one line, no lost round, nothing left behind."""

import fcntl
import json
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from warm_python import started

from netsim.core.interrupts import Interrupted, come, heard, heard_still, held, raise_again
from netsim.scenario.yaml_file import write_yaml

MEMORY = Path("/dev/shm")


def scenario(folder, executor):
    """Write a scenario of rounds of milliseconds, as ``long.yaml``."""
    tree = {
        "rounds": 1_000_000,
        "devices": {"count": 3},
        "topology": {"placement": {"name": "disc", "diameter_m": 20}},
        "data": {"name": "generated", "samples": 60, "test_samples": 20, "shape": [4]},
        "partition": {"name": "iid"},
        "learner": {
            "name": "dmml",
            "batch_size": 8,
            "networks": {"features": {"name": "mlp", "hidden": [4]}},
        },
        "jobs": {"executor": executor, "stacking": "off", "threads": 1},
    }
    (folder / "long.yaml").write_text(write_yaml(tree))


def left(pid):
    """Return the children of process ``pid`` that live, and their children."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def gone(pid):
    """Return whether process ``pid`` has ended, or is being taken apart; those of Ray wait for a free core there."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def abandoned():
    """Return the folders of shared memory whose processes are gone; those of other runs on this machine have a lock.

    What Ray shares has no name once all its processes have opened it.
    """
    found = {path for path in MEMORY.glob("plasma*") if str(os.getpid()) in path.name}
    for path in MEMORY.glob("netsim.*"):
        with suppress(OSError):
            file = os.open(path, os.O_RDONLY)
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                found.add(path)
            os.close(file)
    return found


def interrupted(folder, executor, number, wait_s, times=1, patience_s=5):
    """Send ``number`` to a run, ``wait_s`` after its first closed round; check what it leaves, return when it ended."""
    scenario(folder, executor)
    before = abandoned()
    words = ("-m", "netsim", "run", "long.yaml", "--run-id", "a", "--json", "--no-plots")
    run = folder / "runs" / "long" / "a"
    with started(*words, cwd=folder) as (pid, end):
        until_s = time.monotonic() + 300
        while not (run / "rounds.parquet").exists() and time.monotonic() < until_s:
            assert Path(f"/proc/{pid}").exists(), end().stderr
            time.sleep(0.02)
        time.sleep(wait_s)
        children = left(pid)
        begin_s = time.monotonic()
        for _ in range(times):
            os.kill(pid, number)
        done = end()
        took_s = time.monotonic() - begin_s
    assert "Traceback" not in done.stderr and 1 <= done.stderr.count("\n") <= times, done.stderr
    assert took_s < patience_s
    metadata = json.loads((run / "metadata.json").read_text())
    rounds = pd.read_parquet(run / "rounds.parquet")
    if times == 1:
        lines = [line for line in done.stdout.splitlines() if '"event": "round"' in line]
        closed = [0, *(json.loads(line)["round"] for line in lines)]
        assert done.returncode == 130 and metadata["status"] == "interrupted"
        finished = metadata["rounds_finished"]
        assert closed[-1] <= finished <= closed[-1] + 1  # it may come between the count and the line
        assert (rounds[rounds["round"] <= finished].groupby("round").size() == 3).all()
        assert f"interrupted after round {finished} of 1000000" in done.stderr
    until_s = time.monotonic() + 5  # workers look for their parent once a second
    while time.monotonic() < until_s:
        alive = [child for child in children if not gone(child)]
        behind = abandoned() - before
        if not alive and not behind:
            break
        time.sleep(0.05)
    assert not alive and not behind
    return took_s


@pytest.mark.parametrize(
    ("executor", "number"),
    [("inline", signal.SIGTERM), ("forked", signal.SIGINT), ("threads", signal.SIGTERM)],
)
def test_an_interrupt_at_a_random_moment_loses_no_round(tmp_path, executor, number):
    interrupted(tmp_path, executor, number, random.Random(f"{executor}{number}").random() / 3)


def test_an_interrupt_with_worker_processes_loses_no_round(tmp_path):
    interrupted(tmp_path, {"name": "processes", "workers": 1}, signal.SIGTERM, 0.2)


def test_two_interrupts_with_ray_leave_none_of_its_processes(tmp_path):
    pytest.importorskip("ray")
    interrupted(tmp_path, {"name": "ray", "workers": 1}, signal.SIGTERM, 0.1, times=2)


def test_two_interrupts_end_a_run_at_once_and_leave_what_was_written(tmp_path):
    interrupted(tmp_path, "forked", signal.SIGTERM, 0.1, times=2)


def test_what_is_being_written_is_written_before_the_interrupt():
    done = []
    with heard():
        with pytest.raises(Interrupted), held():
            with held():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("inner")
            done.append("outer")
        assert come()
    assert done == ["inner", "outer"]


def test_an_interrupt_is_forgotten_when_the_outermost_block_ends():
    """A run that begins in the same process afterwards, without a block of its own, would end with it."""
    with heard():
        with heard(), pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        assert come()
        with heard():
            assert come()
    assert not come()
    raise_again()


def test_an_interrupt_that_python_loses_is_raised_when_the_round_closes(capsys):
    class Losing:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.001)

    with heard():
        lost = Losing()
        del lost
        with held():
            raise_again()
        with pytest.raises(Interrupted):
            raise_again()
    assert capsys.readouterr().err == ""


def test_a_library_with_a_handler_of_its_own_takes_no_signal_away():
    """Ray's ends the program; outside of our block, it is left as it is."""
    before = signal.getsignal(signal.SIGTERM)

    def starts():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))

    try:
        with heard():
            with heard_still():
                starts()
            with pytest.raises(Interrupted):
                os.kill(os.getpid(), signal.SIGTERM)
        with heard(), pytest.raises(Interrupted), heard_still():
            starts()
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit), heard_still():
            starts()
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
