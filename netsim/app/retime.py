"""Replays a run's clock under changed physics, without training again."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netsim.app.analysed import wrong_with
from netsim.app.changes import changes
from netsim.app.recorded import Ended, recorder_in, run_recorded
from netsim.app.remembered import (
    ASKED_A_ROUND,
    MOST_QUESTIONS,
    edges,
    is_ours,
    recalled,
    remember,
    same_learner,
    seal,
)
from netsim.app.replayed import Replay, loaded_once, replay
from netsim.app.same import Rounds, check_data_of, check_networks
from netsim.core.errors import ScenarioError
from netsim.core.interrupts import Interrupted
from netsim.events import AnswerRow, MetricRow, Observer
from netsim.records.reader import read_columns
from netsim.replay.course import Course
from netsim.replay.memory import Forgotten, Memory, Notes, Remembered
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
    """Replay the run in ``folder`` as it would be, and record that.

    The first time it is replayed as it was before, unless the run did so at its end. That tells what was asked of the
    learner, and must give the recorded rounds. The cache keeps it, so that the next time a replay that asks the same
    needs no learner.

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
    again = _Again(folder, list(settings), runs, run_id, cache, say)
    if again.memory is not None:
        with suppress(Exception):  # something else is asked: what becomes of it the learner itself has to say
            return again.by_memory(again.memory)
    return again.by_learner()


def prepare_to_retime(
    folder: Path, cache: Path, means: Mapping[str, float], ends: int, within_s: float
) -> None:
    """Replay the run in ``folder`` as it was and keep what its learner says, so that nobody waits for it later.

    Nothing is kept, and nothing else happens, where :func:`retime` itself would keep nothing or fail, where the replay
    takes longer than ``within_s``, and at an interrupt. The time is looked at once the run's files are verified, and as
    each round closes. A run of which there would be too much to keep is not even verified.

    Args:
        folder: A run that has finished.
        cache: Where pre-processed data is kept.
        means: Means over its devices.
        ends: Rounds that its devices have finished.
        within_s: Wall-clock time after which it is given up [s].
    """
    if ends * ASKED_A_ROUND > MOST_QUESTIONS:
        return
    with suppress(Exception, Interrupted):
        limit = _Limit(time.perf_counter() + within_s)
        again = _Again(folder, (), folder, None, cache, lambda text: None)
        limit.look()
        if again.can_remember and again.memory is None and is_ours(again.was):
            again.remember(again.as_it_was(limit), means)


class _Limit(Observer):
    """Ends a replay that takes too long."""

    def __init__(self, end_s: float) -> None:
        self._end_s = end_s

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Look at the wall clock."""
        self.look()

    def look(self) -> None:
        """Look at the wall clock.

        Raises:
            TimeoutError: It has taken too long.
        """
        if time.perf_counter() > self._end_s:
            raise TimeoutError


class _Again:
    """A run that is to be replayed with changes; the arguments are those of :func:`retime`.

    Attributes:
        was: The plan of the run.
        can_remember: Whether what its learner has said in a replay can be enough.
        memory: That, from an earlier one; None if it is not known or not enough.
    """

    def __init__(
        self,
        folder: Path,
        settings: Sequence[str],
        runs: Path,
        run_id: str | None,
        cache: Path,
        say: Callable[[str], None],
    ) -> None:
        self._begin_s = time.perf_counter()
        self._folder, self._settings, self._cache, self._say = folder, settings, cache, say
        self._runs, self._run_id = runs, run_id
        self._metadata = _metadata_of(folder)
        self._seal = seal(folder)
        self.memory = recalled(cache, self._seal) if self._seal else None
        if self.memory is None and (wrong := wrong_with(folder)):
            raise ScenarioError("\n".join(wrong))
        self._summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        file = folder / "scenario.yaml"
        self.was, self._now = load_plan(file, (), say), load_plan(file, settings)
        self._changed = changes(self.was, self._now) if settings else {}
        self._quiet = load_plan(file, [f"jobs.{text}" for text in NO_JOBS])
        scenario = self.was.scenario
        if (stop := scenario.stop) and (stop.joules or stop.seconds):
            raise ScenarioError(
                f"{folder}: stop.{'joules' if stop.joules else 'seconds'}: under other physics the run would end in "
                "another round, so something else would be learnt; use netsim run"
            )
        self._last = self._metadata["rounds_finished"] if self._metadata.get("stopped") else scenario.rounds
        self.can_remember = same_learner(self.was, self._now, self._changed)
        if not self.can_remember:
            self.memory = None
        self._metrics = [MetricRow(*row) for row in zip(*read_columns(folder, "metrics"), strict=True)]
        self._answers = [AnswerRow(*row) for row in zip(*read_columns(folder, "answers"), strict=True)]

    def by_memory(self, memory: Memory) -> Retimed:
        """Replay it with the answers that ``memory`` has.

        Raises:
            Forgotten: They are not all that is asked for.
        """
        learner = Remembered(memory, self._answers)
        results = Results(self._metrics, self._answers, memory.measured)
        results.settle()
        second = replay(self._now, self._quiet, self._course(), results, self._cache, self._say, learner)
        if edges(second) != memory.edges:
            raise Forgotten
        return self._recorded(second)

    def by_learner(self) -> Retimed:
        """Replay it as it was, and then as it would be."""
        first = self.as_it_was()
        second = replay(
            self._now, first.plan, self._course(first.course), first.results, self._cache, self._say
        )
        second.same_costs, second.reason = first.same_costs, self._metadata.get("stopped") or ""
        check_networks(first, second)
        done = self._recorded(second)
        self.remember(first, self._means)
        return done

    def as_it_was(self, *watching: Observer) -> Replay:
        """Replay it as it was, and look whether these are the recorded rounds."""
        quiet = replace(self._quiet, parts={**self._quiet.parts, **loaded_once(self._quiet)})
        results, rounds = Results(self._metrics, self._answers), Rounds()
        first = replay(quiet, quiet, self._course(), results, self._cache, self._say)
        first.same_costs = not any(key.startswith("costs.") for key in self._changed)
        first.notes = Notes()
        first.watch(rounds, *watching)
        check_data_of(self._metadata, first)
        first.run()
        rounds.compare(self._folder)
        with self.was.named():
            results.settle()
        return first

    def remember(self, first: Replay, means: Mapping[str, float]) -> None:
        """Keep what the learner has said in the ``first`` replay; ``means`` are those over devices of the run."""
        remember(self._cache, self._seal, first, means)

    def _course(self, before: Course | None = None) -> Course:
        was = self.was
        asynchronous = was.parts["protocol"].cls.FAMILY == "asynchronous"
        return Course(was.scenario.devices.count, self._last, asynchronous, before)

    def _recorded(self, second: Replay) -> Retimed:
        """Record the second replay; leave nothing if it does not come to its end."""
        name = self._folder.resolve().name
        facts = {"retimed": {"run": f"{self.was.scenario.name}/{name}", "changed": self._changed}}
        totals, recorder = recorder_in(self._runs, self._run_id, second, f"{name}-retimed", facts)
        surrogate = bool(self._summary.get("surrogate_data"))
        build_s = time.perf_counter() - self._begin_s
        ended = run_recorded(second, totals, recorder, nullcontext(), surrogate, build_s)
        self._means = totals.means
        if not ended.error and not recorder.problem:
            return Retimed(second, ended, recorder.folder, self._changed, self._summary)
        shutil.rmtree(recorder.folder, ignore_errors=True)
        if second.course.difference:
            words = " ".join(f"--set {shlex.quote(text)}" for text in self._settings)
            raise ScenarioError(
                f"{self._folder}: {second.course.difference}. So something else would be learnt, and nothing was "
                f"recorded; run it: netsim run {self._folder / 'scenario.yaml'} {words}"
            )
        raise ended.error or ScenarioError(f"{recorder.folder}: {recorder.problem}; nothing was recorded")


def _metadata_of(folder: Path) -> Mapping[str, Any]:
    """Return the metadata of a run; nothing if they cannot be read, which is found out later.

    Raises:
        ScenarioError: It has not finished.
    """
    try:
        metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
        status = metadata["status"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}
    if status != "finished":
        raise ScenarioError(
            f"{folder}: is a run that is {status}; only one that has finished, with all its rounds, can be retimed"
        )
    return dict(metadata)
