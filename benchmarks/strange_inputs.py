"""Many mutated scenarios and run folders: which end in more than a line, in a traceback, or after more than 5 s?

    python benchmarks/strange_inputs.py scenarios 1000
    python benchmarks/strange_inputs.py folders 200

A scenario is checked, and run if that finds nothing; keys get extreme values, and characters change. In a run folder,
bytes change. Each draw has a seed, which is printed with what was found. Nothing is left behind.
"""

from __future__ import annotations

import copy
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from analysis.__main__ import app as analysis
from netsim.app.cli import app as netsim
from netsim.scenario.model import Scenario
from netsim.scenario.yaml_file import write_yaml

LONGEST_S = 5.0
NUMBERS = (0, 1, 2, 50, 2**62, 1e308, 1e-308, 1e9, 0.5)
VALUES = (-1, -1e308, "", "x", "é", True, None, [], {}, [1, 2], {"name": "none"})
BASE: dict[str, Any] = {
    "rounds": 2,
    "devices": {"count": 3},
    "topology": {"placement": {"name": "disc", "diameter_m": 20}},
    "learner": {"name": "stub", "flops": 4e9, "bits": 1e6},
}


def keys(model: Any = Scenario, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every key of a scenario that has a place of its own."""
    for name, field in model.model_fields.items():
        yield (*before, name)
        inner = type(field.get_default())
        if hasattr(inner, "model_fields") and inner.model_fields:
            yield from keys(inner, (*before, name))


def scenario(draw: random.Random) -> str:
    """Return a mutated scenario."""
    tree = copy.deepcopy(BASE)
    for _ in range(draw.randint(1, 3)):
        *path, last = draw.choice(ALL_KEYS)
        block = tree
        for part in path:
            if not isinstance(block.setdefault(part, {}), dict):
                block[part] = {}
            block = block[part]
        block[last] = draw.choice(NUMBERS if draw.random() < 0.7 else VALUES)
    if tree.get("rounds") in (2**62, 1e9):
        tree["rounds"] = 3  # it would run for ever, as asked
    text = write_yaml(tree)
    if draw.random() < 0.3:
        place = draw.randrange(len(text))
        text = text[:place] + draw.choice("{}[]:,&*!|>'\"%@#- \n\té") + text[place + draw.randint(0, 2) :]
    return text


def try_scenario(draw: random.Random, folder: Path) -> list[Any]:
    """Check a mutated scenario, and run it if nothing was found."""
    path = folder / "s.yaml"
    path.write_text(scenario(draw))
    checked = CliRunner().invoke(netsim, ["check", str(path)])
    if checked.exit_code:
        return [checked]
    words = ["run", path, "--runs", folder / "runs", "--cache", folder / "cache", "--no-plots", "--quiet"]
    return [checked, CliRunner().invoke(netsim, [str(word) for word in words])]


def try_folder(draw: random.Random, folder: Path) -> list[Any]:
    """Show a run folder in which bytes of one file changed."""
    whole, run = folder / "whole" / "s" / "a", folder / "run"
    if not whole.is_dir():
        (folder / "s.yaml").write_text(write_yaml(BASE))
        words = ["run", folder / "s.yaml", "--runs", folder / "whole", "--run-id", "a", "--no-plots"]
        CliRunner().invoke(netsim, [str(word) for word in words])
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(whole, run)
    path = draw.choice([file for file in sorted(run.iterdir()) if file.is_file()])
    right = path.read_bytes()
    place = draw.randrange(len(right))
    path.write_bytes(right[:place] + draw.randbytes(draw.randint(0, 3)) + right[place + draw.randint(1, 3) :])
    return [CliRunner().invoke(analysis, [str(run)])]


def main(kind: str, count: int, first: int = 0) -> int:
    """Try ``count`` inputs; print what was found and return how many were wrong."""
    attempt: Callable[[random.Random, Path], list[Any]] = {"scenarios": try_scenario, "folders": try_folder}[
        kind
    ]
    wrong, slowest_s = 0, 0.0
    with tempfile.TemporaryDirectory() as name:
        for seed in range(first, first + count):
            begin_s = time.perf_counter()
            for result in attempt(random.Random(seed), Path(name)):
                took_s = time.perf_counter() - begin_s
                slowest_s = max(slowest_s, took_s)
                error = result.exception
                lines = result.stderr.splitlines()
                bad = error is not None and not isinstance(error, SystemExit)
                if bad or took_s > LONGEST_S or (result.exit_code and not lines):
                    wrong += 1
                    place = traceback.extract_tb(error.__traceback__)[-1] if bad else ""
                    print(f"seed {seed}: {took_s:.1f} s, {error!r:.200} {place} {lines[:1]}", flush=True)
        left = sorted(path.name for path in Path(name).iterdir())
    print(f"{count} {kind}: {wrong} wrong, the slowest {slowest_s:.1f} s; written: {', '.join(left)}")
    return wrong


OPTIONS = (
    "learner.flops learner.bits topology.placement.diameter_m topology.links.range_m protocol.deadline_s "
    "devices.battery.capacity_j devices.tx_power_w devices.idle_power_w devices.processor.frequency_hz "
    "devices.count radio.bandwidth_hz radio.noise_dbm_per_hz radio.carrier_hz seed"
)
ALL_KEYS = [*keys(), *(tuple(key.split(".")) for key in OPTIONS.split() * 8)]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), *map(int, sys.argv[3:])) > 0)
