"""Lets a run that was ended go on, or one that has finished go on for more rounds."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from netsim.app.recorded import known_of, recorder_in, recorder_of
from netsim.app.running import Running, own_packages
from netsim.app.simulation import Simulation
from netsim.core.errors import ScenarioError
from netsim.events import AnswerRow, MetricRow, Observer, RoundRow
from netsim.records.checksums import has_finished
from netsim.records.lock import Lock
from netsim.records.reader import read_columns
from netsim.records.run_folder import SCHEMA, SNAPSHOTS, Recorder, plain
from netsim.records.totals import Totals
from netsim.scenario.loading import load_plan
from netsim.work.moving import move
from netsim.work.past import Past
from netsim.work.snapshots import read

SAME = {
    "versions": "install those of metadata.json",
    "code": "check out the commit of metadata.json",
    "data": "bring the data back",
    "initial": "bring the file of learner.initial back",
}
"""What must be as it was in the run, and what else can be done than to run it anew."""

TYPES: Mapping[str, Any] = {"status": str, "rounds": int, "rounds_finished": int, "resumed": list | None}
"""Types of what is read of ``metadata.json``."""


def resumed(folder: Path, cache: Path, say: Callable[[str], None]) -> Running:
    """Build the run in ``folder`` again, to go on from its newest snapshot; without one it begins anew.

    Args:
        folder: A run that did not finish.
        cache: Folder for pre-processed and generated data.
        say: Shows the user a message about a long task.

    Raises:
        ScenarioError: It cannot go on; says what to do instead.
    """
    lock = _locked(folder)
    try:
        metadata = _read(folder)
        if has_finished(folder, metadata):
            raise ScenarioError(f"{folder}: has finished; netsim run {folder} --extend N adds N rounds")
        plan = load_plan(folder / "scenario.yaml", [], say)
        return Running(plan, cache, say, _goes_on(folder, metadata, lock, say))
    except BaseException:
        lock.release()
        raise


def extended(
    folder: Path, more: int, cache: Path, runs: Path | None, run_id: str | None, say: Callable[[str], None]
) -> Running:
    """Build the finished run in ``folder`` again with ``more`` rounds, in a folder of its own.

    Args:
        folder: A run that has finished, and has kept a snapshot of its end.
        more: Rounds that are added.
        cache: Folder for pre-processed and generated data.
        runs: Folder that the new folder is made in, ``<runs>/<scenario>/<run id>``; None for that of ``folder``.
        run_id: Its name; None for that of ``folder`` with the number of rounds.
        say: Shows the user a message about a long task.

    Raises:
        ScenarioError: Rounds cannot be added; says what to do instead.
    """
    lock = _locked(folder)
    try:
        metadata = _read(folder)
        if not has_finished(folder, metadata):
            raise ScenarioError(f"{folder}: has not finished; let it go on first: netsim resume {folder}")
        if metadata.get("stopped"):
            raise ScenarioError(
                f"{folder}: was stopped ({metadata['stopped']}), and would stop there with more rounds, too; run it "
                f"without, or with another target: netsim run {folder / 'scenario.yaml'} --set stop=null"
            )
        if metadata["rounds_finished"] < metadata["rounds"]:
            raise ScenarioError(
                f"{folder}: ended after {metadata['rounds_finished']} of {metadata['rounds']} rounds, and would with "
                f"more rounds, too; change what ends it, and run it anew: netsim run {folder / 'scenario.yaml'} "
                "--set ..."
            )
        rounds = metadata["rounds"] + more
        plan = load_plan(folder / "scenario.yaml", [f"rounds={rounds}"], say)
        if metadata["rounds"] % (every := plan.scenario.evaluation.every):
            raise ScenarioError(
                f"{folder}: round {metadata['rounds']} was evaluated because the run ended there, which a longer run "
                f"would not do; rounds can be added to a run that ends with a multiple of evaluation.every ({every})"
            )
        return Running(plan, cache, say, _extended(folder, metadata, rounds, runs, run_id))
    finally:
        lock.release()


def _locked(folder: Path) -> Lock:
    if not (folder / "metadata.json").is_file():
        raise ScenarioError(f"{folder}: is no run's folder, which has metadata.json in it")
    return Lock(folder)


def _read(folder: Path) -> Mapping[str, Any]:
    """Return a run's metadata.

    Raises:
        ScenarioError: It was recorded by an older version, or its scenario was changed.
    """
    try:
        found = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
        schema, digest = found["schema"], found.get("scenario_sha256")
        text = (folder / "scenario.yaml").read_bytes()
        wrong = [key for key, kind in TYPES.items() if not isinstance(found.get(key), kind)]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ScenarioError(
            f"{folder}: its metadata.json or scenario.yaml cannot be read; run it anew"
        ) from None
    if schema != SCHEMA or digest is None:
        raise ScenarioError(f"{folder}: was recorded by an older version of the program; run it anew")
    if wrong:
        raise ScenarioError(
            f"{folder}/metadata.json: {wrong[0]}: is {found.get(wrong[0])!r:.100}, which no run writes: damaged; run "
            "it anew"
        )
    if digest != hashlib.sha256(text).hexdigest():
        raise ScenarioError(
            f"{folder}/scenario.yaml: was changed after the run began; undo that, or run it anew: netsim run "
            f"{folder / 'scenario.yaml'}"
        )
    return dict(found)


def _check_same(folder: Path, metadata: Mapping[str, Any], simulation: Simulation) -> None:
    """Check that versions, code and data are those of the run.

    Raises:
        ScenarioError: They are not.
    """
    now = plain(known_of(simulation))
    for key, way_out in SAME.items():
        if metadata.get(key) != now.get(key):
            was, found = _first_difference(metadata.get(key), now.get(key))
            raise ScenarioError(
                f"{folder}: metadata.json: {key}: was {was}, and is {found} now; {way_out}, or run it anew: netsim "
                f"run {folder / 'scenario.yaml'}"
            )


def _first_difference(was: Any, now: Any) -> tuple[str, str]:
    if isinstance(was, dict) and isinstance(now, dict):
        key = next(key for key in {**was, **now} if was.get(key) != now.get(key))
        return f"{key} {was.get(key)}", f"{key} {now.get(key)}"
    return f"{was!s:.60}", f"{now!s:.60}"


def _goes_on(
    folder: Path, metadata: Mapping[str, Any], lock: Lock, say: Callable[[str], None]
) -> Callable[[Simulation], tuple[Totals, Recorder]]:
    def recorded(simulation: Simulation) -> tuple[Totals, Recorder]:
        _check_same(folder, metadata, simulation)
        totals, recorder = recorder_of(folder, simulation, metadata, lock)
        rows: dict[str, list[list[Any]]] = {}
        for table, known in recorder.known.items():
            rows[table] = [column.to_pylist() for column in known.columns]
        simulation.past = past = _past(folder, simulation, rows)
        closed, stop = past.closed if past else 0, simulation.plan.scenario.stop
        if not simulation.plan.scenario.jobs.repeats_bytes:
            learnt = (past.metrics, past.answers) if past else (0, 0)
            recorder.cut(closed, *learnt, stops=stop is not None and stop.metric is not None)
        recorder.write_metadata(
            resumed=[*metadata.get("resumed", ()), {"unix_s": time.time(), "closed": closed}]
        )
        say(f"goes on after {closed} rounds" if closed else "has no whole snapshot yet, so it begins anew")
        return totals, recorder

    return recorded


def _extended(
    folder: Path, metadata: Mapping[str, Any], rounds: int, runs: Path | None, run_id: str | None
) -> Callable[[Simulation], tuple[Totals, Recorder]]:
    def recorded(simulation: Simulation) -> tuple[Totals, Recorder]:
        _check_same(folder, metadata, simulation)
        rows = {table: read_columns(folder, table) for table in ("metrics", "answers")}
        simulation.past = _past(folder, simulation, rows)
        simulation.watch(_AsBefore(folder))
        if simulation.past is None or simulation.past.closed < metadata["rounds"]:
            raise ScenarioError(
                f"{folder}: has no snapshot of its end, which a run with snapshots.keep: true leaves; run it anew: "
                f"netsim run {folder / 'scenario.yaml'} --rounds {rounds}"
            )
        facts = {"extends": f"{folder.parent.name}/{folder.resolve().name}"}
        default = f"{folder.resolve().name}-{rounds}-rounds"
        return recorder_in(runs or folder.parents[1], run_id, simulation, default, facts)

    return recorded


class _AsBefore(Observer):
    """Looks whether the rounds of a run that is extended go as they went: nobody may hear of other messages."""

    COLUMNS = ("flops", "received", "missed", "late")

    def __init__(self, folder: Path) -> None:
        found = dict(zip(RoundRow._fields, read_columns(folder, "rounds"), strict=True))
        self._folder = folder
        self._was = {
            (round, device): values
            for round, device, outcome, *values in zip(
                *(found[name] for name in ("round", "device", "outcome", *self.COLUMNS)), strict=True
            )
            if outcome == "finished"
        }

    def on_round_end(self, row: RoundRow, iterations: Mapping[str, int]) -> None:
        """Compare a row.

        Raises:
            ScenarioError: It is another one.
        """
        was = self._was.pop((row.round, row.device), None)
        if was is not None and was != [getattr(row, name) for name in self.COLUMNS]:
            raise ScenarioError(
                f"round {row.round} of device {row.device} goes otherwise in a longer run, so none can be added; run "
                f"it anew: netsim run {self._folder / 'scenario.yaml'} --rounds N"
            )


def _past(folder: Path, simulation: Simulation, rows: Mapping[str, list[list[Any]]]) -> Past | None:
    """Return what is known up to the newest snapshot that is whole and whose rows are there; None if there is none."""
    metrics = [MetricRow(*row) for row in zip(*rows.get("metrics", ()), strict=True)]
    answers = [AnswerRow(*row) for row in zip(*rows.get("answers", ()), strict=True)]
    packages = own_packages(simulation.plan.own)
    for file in sorted((folder / SNAPSHOTS).glob("*.snapshot"), reverse=True):
        found = read(file, packages)
        if found is not None and found.metrics <= len(metrics) and found.answers <= len(answers):
            if simulation.torch_device != "cpu":
                to = simulation.torch_device
                found = found._replace(results=move(found.results, to), early=move(found.early, to))
            return Past(found, metrics[: found.metrics], answers)
    return None
