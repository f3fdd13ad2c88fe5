"""Does the runs of a sweep, each in a process of its own, several at a time; what is done is not done again."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from netsim.app.studying import Numbers, Search, numbers
from netsim.core.errors import ScenarioError, reason
from netsim.records.checksums import has_finished
from netsim.scenario.sweep import Case, Cases, short

if TYPE_CHECKING:
    from netsim.app.sweeping_ray import OnRay

MEMORY_BYTES = 1.5e9
"""Memory that a run is expected to need; no more runs at a time than have it."""

Row = dict[str, Any]
"""A run's line of the table: what was changed, and how it ended."""


@dataclass(frozen=True)
class Place:
    """The folders of a sweep's runs.

    Attributes:
        folder: The sweep's folder, ``<runs>/<sweep>``.
        scenario: The scenario's name.
    """

    folder: Path
    scenario: str

    def of(self, case: Case) -> Path:
        """Return the folder of a run."""
        return self.folder / self.scenario / case.name


def default_workers() -> int:
    """Return how many runs fit at a time: into the cores that this process may use, and into the free memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(line for line in lines if line.startswith("MemAvailable:"))
        return max(1, min(cores, int(1024 * int(free.split()[1]) // MEMORY_BYTES)))
    return cores


class Sweeping:
    """The runs of a sweep, on their way.

    Attributes:
        place: Where they are.
        problems: What the runs that failed have said, by name.
        search: What chooses the points of a study; None: all are known.
    """

    def __init__(
        self, cases: Cases, runs: Path, cache: Path, workers: int, out: Console, ray: OnRay | None = None
    ) -> None:
        """Find what is done already.

        Args:
            cases: The sweep.
            runs: Folder that the sweep's folder is made in.
            cache: Folder for pre-processed and generated data.
            workers: Runs at a time.
            out: Where the progress is shown.
            ray: Does the runs on Ray; None: they are processes of this machine.

        Raises:
            ScenarioError: A study needs Optuna, which is not installed.
        """
        self._ray = ray
        self._cases, self._cache, self._workers, self._out = cases, cache, workers, out
        self.search = Search(cases) if cases.study else None
        self.place = Place(runs / cases.name, cases.plan.scenario.name)
        self.problems: dict[str, str] = {}
        self._children: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def run(self) -> list[Row]:
        """Do what is left, and return the table of all runs, which is also written to ``sweep.csv``.

        An interrupt ends the runs that go on; they begin anew the next time.

        Raises:
            ScenarioError: The sweep's folder cannot be written, or another sweep is at work in it.
        """
        try:
            self.place.folder.mkdir(parents=True, exist_ok=True)
            with (self.place.folder / ".lock").open("w") as self._mine:
                fcntl.flock(self._mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self._all_rows()
        except BlockingIOError:
            raise ScenarioError(
                f"{self.place.folder}: another sweep, or a run of one that was killed, is at work there; wait for its "
                "end, or choose another folder with --runs"
            ) from None
        except OSError as error:
            raise ScenarioError(
                f"{self.place.folder}: {reason(error)}; choose another disk with --runs"
            ) from error

    def _all_rows(self) -> list[Row]:
        rows: list[Row] = []
        with self._shown() as progress, ThreadPoolExecutor(self._workers) as pool:
            try:
                for batch in self._batches():
                    left = [case for case in batch if not finished(self.place.of(case))]
                    progress.advance(self._all, len(batch) - len(left))
                    waiting = [pool.submit(self._one, case, progress) for case in left]
                    for one in waiting:
                        one.result()
                    rows += [self._row(case) for case in batch]
            except BaseException:
                self._stop()
                pool.shutdown(cancel_futures=True)
                raise
        _write(self.place.folder / "sweep.csv", rows)
        return rows

    def _batches(self) -> Iterator[Sequence[Case]]:
        """Yield runs that may go on at a time: all of them, or what a study asks for next."""
        if self.search is not None:
            yield from self.search.batches(self._outcome)
            return
        done = sum(finished(self.place.of(case)) for case in self._cases.cases)
        if done:
            self._out.print(f"{done} of {len(self._cases.cases)} runs are there already")
        yield self._cases.cases

    def _outcome(self, case: Case) -> Numbers | None:
        folder = self.place.of(case)
        return numbers(json.loads((folder / "summary.json").read_text())) if finished(folder) else None

    @contextmanager
    def _shown(self) -> Iterator[Progress]:
        progress = Progress(
            TextColumn("{task.description}", markup=False),
            MofNCompleteColumn(),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._out,
            refresh_per_second=4,
        )
        self._all = progress.add_task("runs", total=self._cases.count, state="")
        with progress:
            yield progress

    def _one(self, case: Case, progress: Progress) -> None:
        """Do one run from its beginning; what is there of it is of a run that was killed."""
        line = progress.add_task(case.name[:40], total=self._cases.plan.scenario.rounds, state="")
        try:
            problem = self._done(case, progress, line)
        except OSError as error:
            problem = f"{error.filename or self.place.of(case)}: {reason(error)}"
        progress.remove_task(line)
        if not self._stopped:
            progress.advance(self._all)
            if problem:
                self.problems[case.name] = problem

    def _done(self, case: Case, progress: Progress, line: TaskID) -> str:
        """Do a run, and return what it complained of; nothing if it is finished."""
        folder = self.place.of(case)
        if folder.exists():
            shutil.rmtree(folder)
        words = [sys.executable, "-m", "netsim", "run", str(self._cases.plan.file), "--json", "--no-plots"]
        words += ["--runs", str(self.place.folder), "--run-id", case.name, "--cache", str(self._cache)]
        words += [word for setting in case.settings for word in ("--set", setting)]
        if self._ray is not None:
            code, told = self._ray.run(words, {"OMP_NUM_THREADS": "1"})
            return _complaint(code, told)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with tempfile.TemporaryFile("w+") as complaints:
            with self._lock:
                if self._stopped:
                    return ""
                child = subprocess.Popen(
                    words,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    text=True,
                    env=environment,
                    pass_fds=[self._mine.fileno()],  # a run that outlives a killed sweep holds the folder
                )
                self._children.add(child)
            with child:
                assert child.stdout is not None
                for text in child.stdout:
                    with suppress(ValueError, KeyError):
                        event = json.loads(text)
                        if event["event"] == "round":
                            accuracy = event["accuracy"]
                            state = "" if accuracy is None else f"acc. {100 * accuracy:.1f} %"
                            progress.update(line, completed=event["round"], state=state)
            with self._lock:
                self._children.discard(child)
            complaints.seek(0)
            told = [text.strip() for text in complaints if text.strip()]
        return _complaint(child.returncode, told)

    def _stop(self) -> None:
        if self._ray is not None:
            self._ray.close()
        with self._lock:
            self._stopped = True
            for child in self._children:
                child.terminate()

    def _row(self, case: Case) -> Row:
        """Return a run's line."""
        folder = self.place.of(case)
        row: Row = {**{key: short(value) for key, value in case.changed.items()}, "seed": case.seed}
        row |= {"status": "failed" if case.name in self.problems else "missing", "folder": str(folder)}
        with suppress(OSError, ValueError, KeyError):
            summary = json.loads((folder / "summary.json").read_text())
            metadata = json.loads((folder / "metadata.json").read_text())
            row["status"] = metadata["status"]
            row["hours"] = summary["simulated_h"]
            row["joules"] = summary["energy_per_device_j"]["mean"]
            for modality, own in (summary.get("accuracy") or {}).items():
                row[f"accuracy {modality}"] = own["final"]
        return row


def _complaint(code: int, told: list[str]) -> str:
    """Return why a run failed, its last line; nothing if it did not."""
    return (told or [f"ended with status {code}"])[-1].removeprefix("error: ") if code else ""


def finished(folder: Path) -> bool:
    """Return whether a run is there and came to its end."""
    try:
        return has_finished(folder, json.loads((folder / "metadata.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def compared(rows: list[Row]) -> Table:
    """Return a table with a line a point: mean ± standard error over its seeds that are finished."""
    about = ("seed", "status", "folder")
    measures = [
        key for row in rows for key in row if key in ("hours", "joules") or key.startswith("accuracy ")
    ]
    keys = [key for row in rows for key in row if key not in (*about, *measures)]
    points: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        points.setdefault(tuple(row.get(key, "") for key in dict.fromkeys(keys)), []).append(row)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for key in (*dict.fromkeys(keys), "seeds", *dict.fromkeys(measures)):
        table.add_column(escape(key), overflow="fold")
    for point, own in points.items():
        there = [row for row in own if row["status"] == "finished"]
        count = str(len(there)) if len(there) == len(own) else f"{len(there)} of {len(own)}"
        cells = [
            _with_error([row[key] for row in there if key in row], key) for key in dict.fromkeys(measures)
        ]
        table.add_row(*map(escape, [*map(str, point), count, *cells]))
    return table


def best(rows: list[Row]) -> Table:
    """Return a table of a study's best points."""
    table = Table(*map(escape, rows[0]), box=None, pad_edge=False, header_style="dim")
    for row in rows:
        table.add_row(*(escape(short(value)) for value in row.values()))
    return table


def _with_error(values: list[float], key: str) -> str:
    if not values:
        return ""
    scale, unit = (100.0, " %") if key.startswith("accuracy") else (1.0, "")
    mean = scale * float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.4g}{unit}"
    return f"{mean:.4g} ± {scale * float(np.std(values, ddof=1)) / len(values) ** 0.5:.2g}{unit}"


def _write(file: Path, rows: list[Row]) -> None:
    columns: Mapping[str, None] = dict.fromkeys(key for row in rows for key in row)
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, list(columns))
        writer.writeheader()
        writer.writerows(rows)
