"""Many mutated scenarios and run folders: which end in more than a line, in a traceback, or take too much?

    python benchmarks/strange_inputs.py scenarios 1000
    python benchmarks/strange_inputs.py folders 200 5000    # those of the seeds 5000 to 5199

A scenario is checked, and run if that finds nothing; keys get extreme values, and characters and words change. In a run
folder, bytes, values of JSON and YAML, or columns of a table change; it is verified, and one of ten other readers of
runs has it: analysis with and without figures, report, compare, plot, watch, load, load_model, resume, retime. Each
draw has a seed, which is printed with what was found. Too much is more than 5 s of processor time or 1 GiB of memory,
or a file that is written outside the folders for runs and the cache. Each few hundred are done by a process of their
own. Nothing is left behind.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import string
import subprocess
import sys
import tempfile
import traceback
import unittest.mock
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import typer
import typer.testing
from typer.testing import CliRunner

from analysis.__main__ import app as analysis
from netsim import load, load_model
from netsim.app.commands.cli import app as netsim
from netsim.core.errors import ScenarioError
from netsim.records.checksums import CHECKSUMS, write_checksums
from netsim.scenario.model import Scenario
from netsim.scenario.yaml_file import write_yaml

LONGEST_S, MOST_MIB, CHUNK = 5.0, 1024, 100
FORK = multiprocessing.get_context("fork")
NUMBERS = (0, 1, 2, 50, 2**62, 1e308, 1e-308, 1e9, 0.5)
VALUES: tuple[Any, ...] = (-1, -1e308, "", "x", "é", True, None, [], {}, [1, 2], {"name": "none"})
WORDS = ("null", "-1", "1e308", ".nan", "[]", "{}", "!!int", "!!merge <<: ", "&a ", "*a", "é", "\x00", "true")
BASE: dict[str, Any] = {
    "rounds": 2,
    "devices": {"count": 3},
    "topology": {"placement": {"name": "disc", "diameter_m": 20}},
    "learner": {"name": "stub", "flops": 4e9, "bits": 1e6},
}
BASES = (
    BASE,
    BASE | {"protocol": {"name": "server_rounds"}, "jobs": {"executor": "inline"}},
    BASE | {"devices": {"count": 3, "classes": {"phone": {"share": 0.5}, "watch": {"share": 0.5}}}},
)


def keys(model: Any = Scenario, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every key of a scenario that has a place of its own."""
    for name, field in model.model_fields.items():
        yield (*before, name)
        inner = type(field.get_default())
        if hasattr(inner, "model_fields") and inner.model_fields:
            yield from keys(inner, (*before, name))


def scenario(draw: random.Random) -> str:
    """Return a mutated scenario; what it asks for takes no longer than moments."""
    tree = copy.deepcopy(draw.choice(BASES))
    for _ in range(draw.randint(1, 3)):
        *path, last = draw.choice(ALL_KEYS)
        block = tree
        for part in path:
            if not isinstance(block.setdefault(part, {}), dict):
                block[part] = {}
            block = block[part]
        block[last] = copy.deepcopy(draw.choice(NUMBERS if draw.random() < 0.7 else VALUES))
    if tree.get("rounds") in (2**62, 1e9):
        tree["rounds"] = 3  # it would run for ever, as asked
    text = write_yaml(tree)
    return changed(text, draw) if draw.random() < 0.3 else text


def changed(text: str, draw: random.Random) -> str:
    """Return ``text`` with one to three changes of a few characters, none known to be harmful to anything."""
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(text))
        new = draw.choice(["", draw.choice(string.printable), draw.choice(WORDS)])
        text = text[:place] + new + text[place + draw.randint(0, 4) :]
    return re.sub(r"^rounds: .*", "rounds: 2", text)


def try_scenario(draw: random.Random, folder: Path) -> list[Any]:
    """Check a mutated scenario, and run it if nothing was found."""
    path = folder / "s.yaml"
    path.write_text(scenario(draw), encoding="utf-8")
    checked = CliRunner().invoke(netsim, ["check", str(path)])
    if checked.exit_code:
        return [checked]
    words = ["run", path, "--runs", folder / "runs", "--cache", folder / "cache", "--no-plots", "--quiet"]
    done = CliRunner().invoke(netsim, [str(word) for word in words])
    shutil.rmtree(folder / "runs", ignore_errors=True)
    return [checked, done]


def try_folder(draw: random.Random, folder: Path) -> list[Any]:
    """Verify a run folder in which something changed, and let one of the other readers have it.

    A third has the checksums of the run, a third those of what it is now, a third none.
    """
    whole, run = draw.choice(sorted(folder.parent.glob("whole/s/*"))), folder / "runs" / "s" / "a"
    shutil.rmtree(folder / "runs", ignore_errors=True)
    shutil.copytree(whole, run)
    path = draw.choice([file for file in sorted(run.rglob("*")) if file.is_file()])
    draw.choice((change_bytes, change_values))(path, draw)
    seal = draw.randrange(3)
    if seal == 1:
        write_checksums(run)
    elif seal == 2:
        (run / CHECKSUMS).unlink()
    read = READERS[draw.choice(sorted(READERS))]
    return [typed(netsim, "verify", run), read(run, whole, folder)]


def shown(run: Path, drawn: bool) -> Any:
    """Return how ``python -m analysis`` ends; with figures, which take longer than all the rest, if ``drawn``."""
    saved = unittest.mock.patch("analysis.__main__.save_plots", return_value=[])
    with contextlib.nullcontext() if drawn else saved:
        return typed(analysis, run)


def typed(app: typer.Typer, *words: Any) -> Any:
    """Return how a command ends."""
    return CliRunner().invoke(app, [str(word) for word in words])


def called(function: Callable[[], Any]) -> Any:
    """Return how a call ends, as if it were a command."""
    try:
        function()
    except ScenarioError as error:
        return SimpleNamespace(exception=None, exit_code=2, stderr=f"error: {error}\n")
    except Exception as error:
        return SimpleNamespace(exception=error, exit_code=1, stderr="")
    return SimpleNamespace(exception=None, exit_code=0, stderr="")


Read = Callable[[Path, Path, Path], Any]
READERS: dict[str, Read] = {
    "show": lambda run, whole, into: shown(run, drawn=False),
    "draw": lambda run, whole, into: shown(run, drawn=True),
    "report": lambda run, whole, into: typed(netsim, "report", run, "--out", into / "page.html"),
    "compare": lambda run, whole, into: typed(netsim, "compare", run, whole, "--by", "learner.name"),
    "plot": lambda run, whole, into: typed(netsim, "plot", run, "network", "--format", "svg", "--out", into),
    "watch": lambda run, whole, into: typed(netsim, "watch", run, "--once"),
    "load": lambda run, whole, into: called(lambda: load(run)),
    "load_model": lambda run, whole, into: called(lambda: load_model(run, 0)),
    "resume": lambda run, whole, into: typed(
        netsim, "run", run, "--extend", 1, "--cache", into / "cache", "--no-plots"
    ),
    "retime": lambda run, whole, into: typed(
        netsim, "retime", run, "--set", "radio.bandwidth_hz=1e6", "--runs", into / "runs", "--no-plots"
    ),
}
"""What reads a run's folder besides, by name: it gets the folder, one that is whole, and where it may write."""


def make_runs(folder: Path) -> None:
    """Make the runs whose copies are changed: one that learns nothing, and one that keeps all that a run can keep."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from run_folders import KEEPS_ALL

    for name, tree in {"stub": BASE, "learns": BASE | KEEPS_ALL}.items():
        (folder / "s.yaml").write_text(write_yaml(tree))
        words = ["run", folder / "s.yaml", "--runs", folder / "whole", "--run-id", name, "--no-plots"]
        command = [sys.executable, "-m", "netsim", *map(str, words)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def change_bytes(path: Path, draw: random.Random) -> None:
    """Change a few bytes of a file."""
    right = path.read_bytes()
    place = draw.randrange(len(right))
    path.write_bytes(right[:place] + draw.randbytes(draw.randint(0, 3)) + right[place + draw.randint(1, 3) :])


def change_values(path: Path, draw: random.Random) -> None:
    """Change a value of a JSON file, a column of a table, or characters of another text."""
    if path.suffix == ".parquet":
        rows = pd.read_parquet(path)
        column = draw.choice(list(rows))
        kind = draw.randrange(5)
        value = draw.choice([0, -1, 2**62, 2.5, np.nan, np.inf, -1e308, "x", "$\\frac$", None, b"x"])
        if kind == 0:
            rows = rows.drop(columns=column)
        elif kind == 1:
            rows = rows.iloc[: draw.randint(0, 1)]
        elif kind == 2:
            rows = pd.concat([rows, rows.sample(frac=0.5, random_state=draw.randrange(99))])
        elif kind == 3 or not len(rows):
            rows[column] = value
        else:
            rows[column] = [value, *rows[column].iloc[1:].astype(object)]
        try:
            rows.to_parquet(path)
        except (ValueError, TypeError, OverflowError):  # Arrow has no such column
            change_bytes(path, draw)
    elif path.suffix == ".json":
        tree = json.loads(path.read_text())
        block: Any = tree
        while isinstance(block[key := draw.choice(list(block))], dict) and block[key] and draw.random() < 0.7:
            block = block[key]
        block[key] = draw.choice([*VALUES, *NUMBERS, "finished", "running", "$\\frac$", "[/]"])
        path.write_text(json.dumps(tree))
    else:
        path.write_text(changed(path.read_text("utf-8", "replace"), draw), encoding="utf-8")


class TooLong(BaseException):
    """Taking minutes."""


def main(kind: str, count: int, first: int = 0) -> int:
    """Try ``count`` inputs; print what was found and return how many were wrong."""
    wrong, slowest_s, most_mib, last = 0, 0.0, 0, first + count
    with tempfile.TemporaryDirectory() as folder:
        if kind == "folders":
            make_runs(Path(folder))
        for begin in range(first, last, CHUNK):
            ours, theirs = FORK.Pipe(duplex=False)
            seeds = range(begin, min(begin + CHUNK, last))
            child = FORK.Process(target=tries, args=(kind, seeds, folder, theirs))
            child.start()
            theirs.close()
            found, took_s, mib = ours.recv()
            child.join()
            wrong, slowest_s, most_mib = wrong + found, max(slowest_s, took_s), max(most_mib, mib)
            if (done := seeds.stop - first) % 500 == 0:
                print(f"{done} done: {wrong} wrong, {slowest_s:.1f} s, {most_mib} MiB", flush=True)
    print(f"{count} {kind}: {wrong} wrong, the slowest {slowest_s:.1f} s, the largest {most_mib} MiB")
    return wrong


def tries(kind: str, seeds: range, folder: str, to: Any) -> None:
    """Try the inputs of ``seeds``; send how many were wrong, the longest time [s], and the most memory [MiB]."""
    attempt: Callable[[random.Random, Path], list[Any]] = {"scenarios": try_scenario, "folders": try_folder}[
        kind
    ]
    wrong, slowest_s, most_mib = 0, 0.0, mib()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        os.chdir(name)
        outside = written_outside(name)
        for seed in seeds:
            begin_s = processor_s()
            signal.alarm(300)
            results = attempt(random.Random(seed), Path(name))
            signal.alarm(0)
            took_s, before_mib, most_mib = processor_s() - begin_s, most_mib, max(most_mib, mib())
            slowest_s = max(slowest_s, took_s)
            found = [text for result in results if (text := wrong_with(result))] + outside
            found += [f"{took_s:.1f} s"] if took_s > LONGEST_S else []
            found += [f"{most_mib} MiB"] if most_mib > max(MOST_MIB, before_mib) else []
            if found:
                wrong += 1
                print(f"seed {seed}: {'; '.join(found)}", flush=True)
            outside.clear()
        os.chdir(folder)
    to.send((wrong, slowest_s, most_mib))


def wrong_with(result: Any) -> str:
    """Return what is wrong with the end of a command; empty if it is as it must be."""
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        place = traceback.extract_tb(error.__traceback__)[-1]
        return (
            f"{type(error).__name__}: {str(error)[:200]} ({Path(place.filename).name}, line {place.lineno})"
        )
    if "report this" in result.stderr or (result.exit_code and not result.stderr.strip()):
        return f"exit code {result.exit_code}: {result.stderr[:400]}"
    return ""


def processor_s() -> float:
    """Return the processor time of this process and of those that it waited for [s]."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def mib() -> int:
    """Return the most memory that this process, or one that it waited for, ever had [MiB]."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in both) >> 10


def written_outside(folder: str) -> list[str]:
    """Return a list that will have what Python writes outside ``folder``, bytecode and shared memory excepted."""
    found: list[str] = []
    harmless = (folder, os.devnull, "/dev/shm/netsim.", tempfile.gettempdir() + "/netsim.")

    def see(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in ("os.mkdir", "os.rename", "os.symlink", "os.link", "os.truncate") or (
            event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        path = arguments[1 if event in ("os.rename", "os.symlink", "os.link") else 0] if writes else 0
        if not isinstance(path, int) and "__pycache__" not in (text := os.path.abspath(os.fsdecode(path))):
            found.extend([f"wrote {text}"] if not text.startswith(harmless) else [])

    sys.addaudithook(see)
    return found


def _too_long(number: int, frame: Any) -> None:
    raise TooLong


OPTIONS = (
    "learner.flops learner.bits topology.placement.diameter_m topology.links.range_m protocol.deadline_s "
    "devices.battery.capacity_j devices.tx_power_w devices.idle_power_w devices.processor.frequency_hz "
    "devices.count radio.bandwidth_hz radio.noise_dbm_per_hz radio.carrier_hz seed"
)
ALL_KEYS = [*keys(), *(tuple(key.split(".")) for key in OPTIONS.split() * 8)]

if __name__ == "__main__":
    # Typer makes all commands anew for each that is typed, which takes longer than most of them.
    typer.testing._get_command = functools.cache(typer.testing._get_command)
    for module in (
        "netsim.app.build",
        "netsim.app.summary",
        "netsim.records.run_folder",
        "analysis.plots.save",
    ):
        importlib.import_module(module)
    signal.signal(signal.SIGALRM, _too_long)
    sys.exit(main(sys.argv[1], int(sys.argv[2]), *map(int, sys.argv[3:])) > 0)
