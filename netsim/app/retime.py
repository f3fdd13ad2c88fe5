"""Replays a run's clock under changed physics, without training again."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netsim.app.analysed import wrong_with
from netsim.app.changes import changes
from netsim.app.recorded import Ended, recorder_in, run_recorded
from netsim.app.replayed import Replay, loaded_once, replay
from netsim.app.same import Rounds, check_data_of, check_networks
from netsim.core.errors import ScenarioError
from netsim.events import AnswerRow, MetricRow
from netsim.records.reader import read_columns
from netsim.replay.course import Course
from netsim.replay.results import Results
from netsim.scenario.loading import load_plan

NO_JOBS = "executor=inline", "device=cpu", "threads=1", "stacking=off", "memory_gib=1e6"
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
    metadata, summary = _finished(folder)
    file, settings = folder / "scenario.yaml", list(settings)
    was, now = load_plan(file, (), say), load_plan(file, settings)
    changed = changes(was, now)
    quiet = load_plan(file, [f"jobs.{text}" for text in NO_JOBS])
    quiet = replace(quiet, parts={**quiet.parts, **loaded_once(quiet)})
    results = Results(
        [MetricRow(*row) for row in zip(*read_columns(folder, "metrics"), strict=True)],
        [AnswerRow(*row) for row in zip(*read_columns(folder, "answers"), strict=True)],
    )
    scenario = was.scenario
    if (stop := scenario.stop) and (stop.joules or stop.seconds):
        raise ScenarioError(
            f"{folder}: stop.{'joules' if stop.joules else 'seconds'}: under other physics the run would end in "
            "another round, so something else would be learnt; use netsim run"
        )
    last = metadata["rounds_finished"] if metadata.get("stopped") else scenario.rounds
    kind = scenario.devices.count, last, was.parts["protocol"].cls.FAMILY == "asynchronous"
    first = replay(quiet, quiet, Course(*kind), results, cache, say)
    first.same_costs = not any(key.startswith("costs.") for key in changed)
    rounds = Rounds()
    first.watch(rounds)
    check_data_of(metadata, first)
    first.run()
    rounds.compare(folder)
    with was.named():
        results.settle()

    course = Course(*kind, first.course)
    second = replay(now, quiet, course, results, cache, say)
    second.same_costs, second.reason = first.same_costs, metadata.get("stopped") or ""
    check_networks(first, second)
    facts = {"retimed": {"run": f"{scenario.name}/{folder.resolve().name}", "changed": changed}}
    totals, recorder = recorder_in(runs, run_id, second, f"{folder.resolve().name}-retimed", facts)
    surrogate = bool(summary.get("surrogate_data"))
    build_s = time.perf_counter() - begin_s
    ended = run_recorded(second, totals, recorder, nullcontext(), surrogate, build_s)
    if ended.error or recorder.problem:
        shutil.rmtree(recorder.folder, ignore_errors=True)
        if course.difference:
            words = " ".join(f"--set {shlex.quote(text)}" for text in settings)
            raise ScenarioError(
                f"{folder}: {course.difference}. So something else would be learnt, and nothing was recorded; run "
                f"it: netsim run {file} {words}"
            )
        raise ended.error or ScenarioError(f"{recorder.folder}: {recorder.problem}; nothing was recorded")
    return Retimed(second, ended, recorder.folder, changed, summary)


def _finished(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return metadata and summary of a run.

    Raises:
        ScenarioError: It is no run, has not finished, or is not as it was written.
    """
    try:
        metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
        status = metadata["status"]
    except (OSError, ValueError, TypeError, KeyError):
        status = "finished"  # what is wrong is found out now
    if status != "finished":
        raise ScenarioError(
            f"{folder}: is a run that is {status}; only one that has finished, with all its rounds, can be retimed"
        )
    if wrong := wrong_with(folder):
        raise ScenarioError("\n".join(wrong))
    return metadata, json.loads((folder / "summary.json").read_text(encoding="utf-8"))
