"""Runs a scenario as a user would, and reads what it took from its records."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from versions import Version

_CHILD = """
import resource, runpy, sys
sys.argv = ["netsim", *sys.argv[1:]]
try:
    runpy.run_module("netsim", run_name="__main__", alter_sys=True)
finally:
    own, workers = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"peak {own} {workers}", file=sys.stderr)
"""


@dataclass(frozen=True)
class Run:
    """What a run took.

    Attributes:
        seconds: From reading the data to the last record, start of Python and plots left out [s].
        peak_gib: Largest resident memory of the process [GiB], and
        worker_gib: of its largest worker process.
        metadata: Of the run.
        summary: Of the run.
    """

    seconds: float
    peak_gib: float
    worker_gib: float
    metadata: dict[str, Any]
    summary: dict[str, Any]


def run(
    scenario: str | Path, *settings: str, version: Version | None = None, cores: Collection[int] | None = None
) -> Run:
    """Run a scenario in a process of its own.

    Args:
        scenario: Its path, or YAML text.
        settings: What to change in it, ``key=value``.
        version: Which version of the program runs it; None: the one that is found.
        cores: Numbers of the processor's cores that it may use; None: all.
    """

    def keep_to_cores() -> None:
        os.sched_setaffinity(0, cores or ())

    with tempfile.TemporaryDirectory() as folder:
        path = scenario.resolve() if isinstance(scenario, Path) else Path(folder) / "case.yaml"
        if not isinstance(scenario, Path):
            path.write_text(version.spelt(scenario) if version else scenario)
        words = [sys.executable, "-c", _CHILD, "run", str(path), "--quiet", "--no-plots", "--runs", folder]
        for setting in settings:
            words += ["--set", version.spelt(setting) if version else setting]
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            env=version.environment if version else None,
            cwd=folder if version else None,
            preexec_fn=keep_to_cores if cores else None,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        made = Path(done.stdout.strip())
        metadata = json.loads((made / "metadata.json").read_text())
        summary = json.loads((made / "summary.json").read_text())
        own_kib, worker_kib = done.stderr.strip().splitlines()[-1].split()[1:]
    seconds = metadata["build_wall_s"] + metadata["wall_s"]
    return Run(seconds, int(own_kib) / 2**20, int(worker_kib) / 2**20, metadata, summary)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, and lowest to highest."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def ratios(numerators: Sequence[float], denominators: Sequence[float], digits: int = 2) -> str:
    """Spread of the ratios of measurements taken in turns, each to its own turn's."""
    return spread([a / b for a, b in zip(numerators, denominators, strict=True)], digits)
