"""Whether two versions of the program leave the same records, byte for byte.

    git worktree add --detach ../before 880b9da
    python benchmarks/same_records.py --before ../before
    python benchmarks/same_records.py --before ../before --only fedavg      # names that have this in them

Runs every shipped scenario in the short form of the tests (seeds 0 and 1) and the small ones of variants.py (seed 0),
one job at a time, in this checkout and in the other, and compares all tables column by column. The two versions run
side by side, each run in a process of its own. Ends with status 1 if anything differs that :data:`ALLOWED` does not
allow.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import runpy
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from variants import VARIANTS
from versions import HERE, Version, add_before, version

ALONE = "jobs={device: cpu, threads: 1, stacking: off, executor: inline}"

OLD_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "crema_12dev": (
        "learner.learning_rate=4e-3",
        "learner.networks.visual={name: small_resnet, widths: [16, 32], stem_kernel: 3, stem_stride: 2, pool: 2}",
    ),
}
"""By scenario or variant, what is set for the other version alone."""

OLD_COLUMNS: Mapping[tuple[str, str], str] = {}
"""Columns that were renamed: (table, column) in this version, and its name in the other."""

NEW_METRICS = ("effective_clients", "effective_share", "not_generalising")
"""Metrics that only this version has."""

ORDER = ("end_s", "sender", "receiver", "kind")
"""Columns that tell transfers apart."""


class Allowed(NamedTuple):
    """A difference that is meant.

    Attributes:
        scenario: Pattern of scenarios and variants, as of a shell.
        table: Pattern of tables.
        column: Pattern of columns.
        relative: Largest relative difference.
        reason: Why it must be.
    """

    scenario: str
    table: str
    column: str
    relative: float
    reason: str


ROUNDING = "uploads that share a band are charged once, not piece by piece: another order of float sums"
FUSED = "momentum without weight decay rounds otherwise in PyTorch's fused SGD"

ALLOWED: tuple[Allowed, ...] = (
    Allowed("*", "transfers", "energy_j", 1e-12, ROUNDING),
    Allowed("*", "rounds", "sending_j", 1e-12, ROUNDING),
    Allowed("*", "rounds", "battery_j", 1e-12, ROUNDING),
    Allowed("*", "outside", "*_j", 1e-12, ROUNDING),
    Allowed("mhd*", "metrics", "value", 1e-6, FUSED),
    Allowed("fedzkt*", "metrics", "value", 1e-6, FUSED),
    Allowed(
        "fednova*", "metrics", "value", 1e-6, "the mean of models and that of steps are sums of their own"
    ),
    Allowed("fedasync*", "*", "*", math.inf, "the server computes for the uploads that it uses"),
    Allowed("fedbuff*", "*", "*", math.inf, "the server computes for the uploads that it uses"),
    Allowed("centralized", "rounds", "*", math.inf, "devices that compute nothing end in one moment"),
)

LOOSE = {"started_unix_s", "versions", "commit", "code", "scenario_sha256", "hardware", "execution", "jobs"}
"""Facts of a run that are not its own; and all that is named after real time, ``wall`` or ``share``."""

_HOST = """
import json, os, runpy, sys, traceback
import networkx, pandas, pyarrow.parquet, pydantic, rich, scipy.spatial, simpy, torch, torchvision, typer, yaml
for line in sys.stdin:
    words, log = json.loads(line)
    child = os.fork()
    if child == 0:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1), os.dup2(file, 2)
        sys.argv = ["netsim", *words]
        status = 0
        try:
            runpy.run_module("netsim", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs one command line after another, each in a fork, so that libraries are imported once."""


class Case(NamedTuple):
    """A run to compare: name, scenario (a shipped file's stem, or its text), seed, and what is changed in it."""

    name: str
    scenario: str
    seed: int
    settings: tuple[str, ...]


class Finding(NamedTuple):
    """A difference.

    Attributes:
        table: The table.
        column: The column; ``*`` for all of them.
        text: What differs.
        relative: By how much at most, relative; infinite where that has no meaning.
    """

    table: str
    column: str
    text: str
    relative: float = math.inf


def cases(seeds: list[int]) -> tuple[list[Case], list[str]]:
    """Return all runs, and the shipped scenarios that are left out because their data is not here."""
    shipped = runpy.run_path(str(HERE / "tests" / "scenarios" / "shipped.py"))
    found, absent = [], []
    for name, settings in shipped["SHORT"].items():
        if name in shipped["DATA"] and not shipped["DATA"][name].is_dir():
            absent.append(name)
        else:
            found += [Case(name, name, seed, settings) for seed in seeds]
    found += [Case(name, world, 0, settings) for name, (world, settings) in VARIANTS.items()]
    return found, absent


@dataclass
class Host:
    """A process that runs scenarios with one version of the program.

    Attributes:
        version: The version.
        scratch: A folder for its runs.
    """

    version: Version
    scratch: Path

    def __post_init__(self) -> None:
        self.scratch.mkdir(parents=True)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _HOST],
            env=self.version.environment,
            cwd=self.scratch,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, number: int, case: Case) -> Path | str:
        """Run ``case``; return its folder, or the last line of what it said where it failed."""
        folder = self.scratch / str(number)
        folder.mkdir()
        path = self.version.folder / "scenarios" / f"{case.scenario}.yaml"
        if "\n" in case.scenario:
            path = folder / "variant.yaml"
            path.write_text(self.version.spelt(case.scenario))
        words = ["run", str(path), "--quiet", "--no-plots", "--runs", str(folder), "--run-id", "run"]
        words += ["--cache", str(self.scratch / "cache"), "--seed", str(case.seed)]
        settings = [self.version.spelt(text) for text in (ALONE, *case.settings)]
        for text in (*settings, *(OLD_SETTINGS.get(case.name, ()) if self.version.old else ())):
            words += ["--set", text]
        log = folder / "log.txt"
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([words, str(log)]) + "\n")
        self._process.stdin.flush()
        status = self._process.stdout.readline().strip()
        made = list(folder.glob("*/run"))
        if status == "0" and made:
            return made[0]
        said = log.read_text().strip().splitlines() if log.exists() else []
        return said[-1] if said else f"ended with status {status or 'unknown'}"

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def differences(before: Path, after: Path) -> Iterator[Finding]:
    """Yield what differs between the tables of two run folders."""
    names = [{path.stem for path in folder.glob("*.parquet")} for folder in (before, after)]
    for table in sorted(names[0] ^ names[1]):
        yield Finding(table, "*", "only before" if table in names[0] else "new")
    for table in sorted(names[0] & names[1]):
        yield from table_differences(
            table, *(pq.read_table(folder / f"{table}.parquet") for folder in (before, after))
        )


def table_differences(table: str, before: pa.Table, after: pa.Table) -> Iterator[Finding]:
    """Yield what differs between two tables of one name."""
    after = after.rename_columns([OLD_COLUMNS.get((table, name), name) for name in after.column_names])
    if table == "transfers":  # those that end in one moment may be told in any order
        before, after = (one.sort_by([(name, "ascending") for name in ORDER]) for one in (before, after))
    if table == "metrics":
        after = after.filter(pc.invert(pc.is_in(after["name"], pa.array(NEW_METRICS))))
    for column in before.column_names:
        if column not in after.column_names:
            yield Finding(table, column, "only before")
    for column in after.column_names:
        if column not in before.column_names:
            yield Finding(table, column, "new")
    if len(before) != len(after):
        yield Finding(table, "*", f"{len(before)} rows became {len(after)}")
        return
    both = [name for name in before.column_names if name in after.column_names]
    found = [one for name in both if (one := column_difference(table, name, before[name], after[name]))]
    keys = [(name, "ascending") for name in both]
    if found and before.select(both).sort_by(keys).equals(after.select(both).sort_by(keys)):
        found = [Finding(table, "*", "the same rows in another order")]
    yield from found


def column_difference(
    table: str, column: str, before: pa.ChunkedArray, after: pa.ChunkedArray
) -> Finding | None:
    """Return how a column differs, None where all bytes are equal."""
    if before.type != after.type:
        return Finding(table, column, f"{before.type} became {after.type}")
    if not (pa.types.is_floating(before.type) or pa.types.is_integer(before.type)):
        rows = sum(a != b for a, b in zip(before.to_pylist(), after.to_pylist(), strict=True))
        return Finding(table, column, f"{rows} of {len(before)} rows") if rows else None
    a, b = before.to_numpy(), after.to_numpy()
    if a.tobytes() == b.tobytes():
        return None
    different = (a != b) & ~(np.isnan(a) & np.isnan(b))
    with np.errstate(all="ignore"):
        relative = np.abs(a - b) / np.maximum(np.abs(a), np.abs(b))
    largest = float(np.nan_to_num(relative[different], nan=math.inf).max(initial=0.0))
    return Finding(table, column, f"{different.sum()} of {len(a)} rows, by {largest:.1e} at most", largest)


def reason(case: Case, finding: Finding) -> str | None:
    """Return why ``finding`` is allowed, None if it is not."""
    for allowed in ALLOWED:
        names = zip((case.name, finding.table, finding.column), allowed[:3], strict=True)
        if all(fnmatch.fnmatch(*pair) for pair in names) and finding.relative <= allowed.relative:
            return allowed.reason
    return None


def facts(folder: Path) -> dict[str, Any]:
    """Return what a run says of itself, flat, without what belongs to the day and the machine."""
    found: dict[str, Any] = {}

    def flatten(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                flatten(f"{key}.{name}" if key else name, inner)
        else:
            found[key] = value

    for file in ("metadata", "summary"):
        tree = json.loads((folder / f"{file}.json").read_text())
        loose = {key for key in tree if key in LOOSE or "wall" in key or key.endswith("_share")}
        flatten(file, {key: value for key, value in tree.items() if key not in loose})
    return found


def changed_facts(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the keys of facts that differ by more than rounding; explanations of metrics may be reworded."""

    def alike(a: Any, b: Any) -> bool:
        if isinstance(a, int | float) and isinstance(b, int | float):
            return math.isclose(a, b, rel_tol=1e-9)
        return bool(a == b)

    keys = [key for key in {**before, **after} if not key.startswith("metadata.metrics.")]
    return [key for key in keys if not (key in before and key in after and alike(before[key], after[key]))]


def events(folder: Path) -> str:
    """Return what befell devices and transfers, so that a reader sees what was compared."""
    told: Counter[str] = Counter()
    for table, usual in (("rounds", "finished"), ("transfers", "delivered")):
        outcomes = Counter(
            pq.read_table(folder / f"{table}.parquet", columns=["outcome"])["outcome"].to_pylist()
        )
        told.update({f"{table} {name}": count for name, count in outcomes.items() if name != usual})
    return ", ".join(f"{name} {count}" for name, count in sorted(told.items())) or "nothing"


def learners(folder: Path) -> set[str]:
    """Return the names of the learners that a version registers."""
    return set(
        tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]["netsim.learners"]
    )


def main() -> None:
    """Print a table, a run a line."""
    parser = argparse.ArgumentParser(description="Compare the records of two versions of the program.")
    add_before(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of shipped scenarios")
    parser.add_argument("--only", default="", help="only scenarios and variants whose name has this in it")
    words = parser.parse_args()
    chosen, absent = cases(words.seeds)
    shipped_before = {path.stem for path in (words.before / "scenarios").glob("*.yaml")}
    chosen = [
        case
        for case in chosen
        if words.only in case.name and ("\n" in case.scenario or case.scenario in shipped_before)
    ]
    seen: set[str] = set()
    bad = 0
    notes: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        scratch = Path(name)
        hosts = [
            Host(version(folder, scratch / f"{word} registered", word == "before"), scratch / word)
            for word, folder in (("before", words.before), ("after", HERE))
        ]
        print(f"before: {hosts[0].version.commit}, after: {hosts[1].version.commit}\n")
        print("| scenario | seed | besides what is usual | records |\n| --- | --- | --- | --- |")
        for number, case in enumerate(chosen):
            before, after = pool.map(lambda host, n=number, c=case: host.run(n, c), hosts)
            if isinstance(before, str) or isinstance(after, str):
                bad += 1
                texts = [
                    f"{word} failed: {text}"
                    for word, text in (("before", before), ("after", after))
                    if isinstance(text, str)
                ]
                print(f"| {case.name} | {case.seed} | | {'; '.join(texts)} |", flush=True)
                continue
            told = []
            for finding in differences(before, after):
                why = reason(case, finding)
                bad += why is None
                told.append(
                    f"{finding.table}.{finding.column}: {finding.text}"
                    + (f" (allowed: {why})" if why else "")
                )
            print(
                f"| {case.name} | {case.seed} | {events(after)} | {'; '.join(told) or 'equal'} |", flush=True
            )
            stories = [facts(folder) for folder in (before, after)]
            seen.add(stories[1]["metadata.learner"])
            for key in changed_facts(*stories):
                if told and key.startswith("summary."):
                    continue  # it follows from the tables
                notes.setdefault(key, []).append(f"{case.name} ({case.seed})")
        for host in hosts:
            host.close()
    for key, where in notes.items():
        print(
            f"\nnote: {key} differs in {', '.join(where[:3])}{f' and {len(where) - 3} more' if where[3:] else ''}"
        )
    for scenario in absent:
        print(f"\nleft out: {scenario}, whose data is not here; NETSIM_DATA names the folder that holds it")
    unseen = learners(HERE) - seen if not words.only else set()
    if unseen:
        print(f"\nlearners that no run has: {', '.join(sorted(unseen))}")
    print(f"\n{len(chosen)} runs, {bad} differences that are not allowed")
    raise SystemExit(1 if bad or unseen else 0)


if __name__ == "__main__":
    main()
