"""Replays a run's clock under changed physics, without training again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from netsim.app.analysed import wrong_with
from netsim.app.build import build
from netsim.app.changes import changes
from netsim.app.recorded import Ended, recorder_in, run_recorded
from netsim.app.replayed import Replay
from netsim.core.errors import ScenarioError
from netsim.events import AnswerRow, MetricRow, Observer, RoundRow
from netsim.records.reader import read_columns
from netsim.records.totals import Totals
from netsim.replay.course import Course
from netsim.replay.results import CRUMB, Results
from netsim.scenario.loading import Part, Plan, load_plan

NO_JOBS = "jobs={executor: inline, device: cpu, threads: 1, stacking: off, memory_gib: 1e6}"
"""Nothing is trained, so what it would be trained on need not be here."""


@dataclass(frozen=True)
class Retimed:
    """A run whose clock was replayed.

    Attributes:
        simulation: The second replay.
        ended: How it ended.
        folder: Its records.
        changed: Old and new value of each key that was changed.
        summary: What ``summary.json`` of the first run says.
    """

    simulation: Replay
    ended: Ended
    folder: Path
    changed: Mapping[str, Sequence[Any]]
    summary: Mapping[str, Any]


def retime(
    folder: Path,
    settings: Iterable[str],
    runs: Path,
    run_id: str | None,
    cache: Path,
    say: Callable[[str], None],
) -> Retimed:
    """Replay the run in ``folder`` twice, as it was and as it would be, and record the second.

    The first replay tells what was asked of the learner. It must give the recorded rounds.

    Args:
        folder: A run that has finished.
        settings: ``key=value`` texts that change its scenario.
        runs: Folder that run folders are made in.
        run_id: Name of the new one; by default that of the run, and ``-retimed``.
        cache: Where pre-processed data is kept.
        say: Tells the user what takes long.

    Raises:
        ScenarioError: The run cannot be replayed, a key decides what is learnt, or something else would be learnt;
            then nothing is written.
    """
    begin_s = time.perf_counter()
    surrogate, summary = _finished(folder)
    file, settings = folder / "scenario.yaml", list(settings)
    was, now = load_plan(file), load_plan(file, settings)
    changed = changes(was, now)
    quiet = load_plan(file, [NO_JOBS])
    quiet = replace(quiet, parts={**quiet.parts, **_loaded_once(quiet)})
    results = Results(
        [MetricRow(*row) for row in zip(*read_columns(folder, "metrics"), strict=True)],
        [AnswerRow(*row) for row in zip(*read_columns(folder, "answers"), strict=True)],
    )
    scenario = was.scenario
    first = _replay(quiet, quiet, Course(scenario.devices.count, scenario.rounds), results, cache, say)
    rounds = _Rounds()
    first.watch(rounds)
    first.run()
    rounds.compare(folder)
    with was.named():
        results.settle()

    course = Course(scenario.devices.count, scenario.rounds, first.course)
    second = _replay(now, quiet, course, results, cache, say)
    second.same_costs = not any(key.startswith("costs.") for key in changed)
    _same_links(first, second)
    facts = {"retimed": {"run": f"{scenario.name}/{folder.resolve().name}", "changed": changed}}
    recorder = recorder_in(runs, run_id, second, f"{folder.resolve().name}-retimed", facts)
    totals = Totals(scenario.devices.count)
    second.watch(totals, recorder)
    build_s = time.perf_counter() - begin_s
    ended = run_recorded(second, totals, recorder, nullcontext(), surrogate, build_s)
    if ended.error or recorder.problem:
        shutil.rmtree(recorder.folder, ignore_errors=True)
        if course.difference:
            words = " ".join(f"--set {text}" for text in settings)
            raise ScenarioError(
                f"{folder}: {course.difference}; so something else would be learnt. Nothing was recorded; to learn it: "
                f"netsim run {file} {words}"
            )
        raise ended.error or ScenarioError(f"{recorder.folder}: {recorder.problem}")
    return Retimed(second, ended, recorder.folder, changed, summary)


def _finished(folder: Path) -> tuple[bool, Mapping[str, Any]]:
    """Return whether a run's data stood in for other data, and its summary.

    Raises:
        ScenarioError: It is no run, has not finished, or is not as it was written.
    """
    metadata = folder / "metadata.json"
    try:
        status = json.loads(metadata.read_text(encoding="utf-8")).get("status")
    except (OSError, ValueError, AttributeError):
        status = None  # what is wrong is found out below
    if status in ("running", "interrupted", "failed"):
        raise ScenarioError(
            f"{metadata}: status: must be finished (it is {status}); only a run that has all its rounds can be retimed"
        )
    if wrong := wrong_with(folder):
        raise ScenarioError("\n".join(wrong))
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return bool(summary.get("surrogate_data")), summary


class _Once:
    """A data source that loads its data once."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._loaded: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def load(self, *given: Any) -> Any:
        """Load the data, or return it."""
        if self._loaded is None:
            self._loaded = self._source.load(*given)
        return self._loaded


@dataclass(frozen=True)
class _Made(Part):
    """A component that is made already."""

    made: Any = None

    def make(self, *arguments: Any) -> Any:
        return self.made


def _loaded_once(plan: Plan) -> dict[str, Part]:
    if "data" not in plan.parts:
        return {}
    part = plan.parts["data"]
    return {"data": _Made(part.name, part.entry, part.options, _Once(part.make()))}


def _replay(
    plan: Plan, quiet: Plan, course: Course, results: Results, cache: Path, say: Callable[[str], None]
) -> Replay:
    """Build the simulation of ``plan`` with the jobs and the data of ``quiet``."""
    jobs = {key: quiet.parts[key] for key in ("data", "jobs.executor") if key in quiet.parts}
    scenario = plan.scenario.model_copy(update={"jobs": quiet.scenario.jobs})
    built = build(replace(plan, scenario=scenario, parts={**plan.parts, **jobs}), cache, say)
    return Replay(
        plan,
        built.learner,
        built.network,
        built.executor,
        "cpu",
        built.observer,
        course=course,
        results=results,
    )


def _same_links(first: Replay, second: Replay) -> None:
    """Check that the devices hear the same others.

    Raises:
        ScenarioError: They do not.
    """
    edges = [{tuple(sorted(edge)) for edge in one.network.graph.edges} for one in (first, second)]
    for a, b in sorted(edges[0] ^ edges[1]):
        words = "would hear each other" if (a, b) in edges[1] else "would not hear each other any more"
        raise ScenarioError(
            f"--set: devices {a} and {b} {words}, so something else would be learnt; run it anew"
        )


class _Rounds(Observer):
    """Keeps the rounds of the first replay."""

    def __init__(self) -> None:
        self._rows: list[RoundRow] = []

    def on_round_end(self, row: RoundRow, iterations: Mapping[str, int]) -> None:
        """Keep a row."""
        self._rows.append(row)

    def compare(self, folder: Path) -> None:
        """Compare the rows with those of the run in ``folder``, up to rounding.

        Raises:
            ScenarioError: They differ.
        """
        recorded = read_columns(folder, "rounds")
        wrong = "" if len(self._rows) == len(recorded[0]) else "has another number of rows"
        for name, mine, theirs in zip(
            RoundRow._fields, zip(*self._rows, strict=True), recorded, strict=False
        ):
            if wrong:
                break
            if name == "outcome":
                same = np.array(mine) == np.array(theirs)
            else:
                same = np.isclose(mine, theirs, rtol=CRUMB, atol=0, equal_nan=True)
            for place in np.flatnonzero(~same)[:1].tolist():
                row = self._rows[place]
                wrong = f"round {row.round}, device {row.device}: {name} is {theirs[place]}, and now {mine[place]}"
        if wrong:
            raise ScenarioError(
                f"{folder}/rounds.parquet: {wrong}, without any change: the program, its learner or its data are not "
                "those of the run (metadata.json: commit, versions, data); run it anew"
            )
