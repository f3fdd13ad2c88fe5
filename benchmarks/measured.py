"""Runs a scenario as a user would, and reads what it took from its records."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def run(scenario: str | Path, *settings: str) -> Run:
    """Run a scenario, given as a path or as YAML text, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = scenario if isinstance(scenario, Path) else Path(folder) / "case.yaml"
        if not isinstance(scenario, Path):
            path.write_text(scenario)
        words = [sys.executable, "-c", _CHILD, "run", str(path), "--quiet", "--no-plots", "--runs", folder]
        for setting in settings:
            words += ["--set", setting]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
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
