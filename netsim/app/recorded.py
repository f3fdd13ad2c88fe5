"""Runs a simulation, and ends its records whatever it ends with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netsim.app.collector import patient_collector
from netsim.app.simulation import Simulation
from netsim.app.tracker import Tracker
from netsim.core.errors import ScenarioError, reason
from netsim.core.interrupts import Interrupted, come, held
from netsim.records.checksums import write_checksums
from netsim.records.lock import Lock
from netsim.records.metadata import code_digest, commit, hardware, versions
from netsim.records.run_folder import Recorder, new_folder
from netsim.records.totals import Totals
from netsim.scenario.model import Status


@dataclass(frozen=True)
class Ended:
    """The end of a recorded run.

    Attributes:
        status: As in ``metadata.json``.
        error: What it ended with; None if it came to its end.
        summary: What ``summary.json`` says of the run.
        notes: What the learner warns of.
        run_s: Wall-clock time of the run [s].
        work_s: Wall-clock time inside tasks [s].
        safe_rounds: Number of rounds whose records are on disk.
    """

    status: Status
    error: BaseException | None
    summary: Mapping[str, Any]
    notes: list[str]
    run_s: float
    work_s: float
    safe_rounds: int


@patient_collector()
def recorder_in(
    runs: Path,
    run_id: str | None,
    simulation: Simulation,
    default_id: str = "",
    facts: Mapping[str, Any] | None = None,
) -> tuple[Totals, Recorder]:
    """Let totals and a recorder watch ``simulation``; its new folder has all that is known before the first event.

    Args:
        runs: Folder that run folders are made in.
        run_id: Name of the run's folder, if one is given.
        simulation: What is recorded.
        default_id: Its name otherwise; by default time and seed.
        facts: More for the metadata.

    Raises:
        ScenarioError: The folder cannot be made or written.
    """
    scenario = simulation.plan.scenario
    folder = new_folder(runs, scenario.name, scenario.seed, run_id, default_id)
    return recorder_of(folder, simulation, {**known_of(simulation), **(facts or {})})


def known_of(simulation: Simulation) -> dict[str, Any]:
    """Return what a run's metadata say before its first event."""
    return {
        **_of(simulation),
        "rounds_finished": 0,
        "started_unix_s": time.time(),
        "versions": versions(),
        "commit": commit(),
        "code": code_digest(simulation.plan.own),
        "hardware": hardware(simulation.torch_device),
        "placements_drawn": simulation.network.topology.draws,
        "data": None,
        "metrics": dict(simulation.metrics),
        **simulation.learner.facts(),
    }


def recorder_of(
    folder: Path, simulation: Simulation, facts: Mapping[str, Any], goes_on: Lock | None = None
) -> tuple[Totals, Recorder]:
    """Let totals and a recorder watch ``simulation``, which is recorded in ``folder``.

    Args:
        folder: The run's folder.
        simulation: What is recorded.
        facts: Its metadata.
        goes_on: The folder's lock, if the run goes on there.

    Raises:
        ScenarioError: The folder cannot be written, or has another run.
    """
    scenario = simulation.plan.scenario
    try:
        recorder = Recorder(
            folder,
            simulation.plan.resolved(),
            facts,
            simulation.devices(),
            simulation.links(),
            simulation.modalities,
            scenario.records.transfers,
            simulation.plan.parts["radio.rate"].cls.lossy,
            scenario.snapshots.keep,
            goes_on,
        )
    except OSError as error:
        raise ScenarioError(
            f"{folder}: {reason(error)}; make room, or choose a folder on another disk with --runs"
        ) from error
    totals = Totals(scenario.devices.count)
    simulation.watch(totals, recorder)
    if motion := simulation.network.motion:
        simulation.watch(Tracker(motion.mobility(), scenario.records.positions, simulation.observer))
    return totals, recorder


@patient_collector()
def run_recorded(
    simulation: Simulation,
    totals: Totals,
    recorder: Recorder,
    screen: AbstractContextManager[Any],
    surrogate: bool,
    build_s: float,
) -> Ended:
    """Run ``simulation`` and write its last records, its summary and its metadata.

    Args:
        simulation: What is run; ``totals`` and ``recorder`` look on.
        totals: Has its sums.
        recorder: Has its folder.
        screen: Is open while it runs.
        surrogate: Whether its data stands in for data that is not here.
        build_s: Wall-clock time in which it was built [s].
    """
    begin = time.perf_counter()
    status: Status = "failed"
    error: BaseException | None = None
    try:
        with screen:
            simulation.run()
        status = "finished"
    except BaseException as raised:
        error = raised
        status = "interrupted" if come() or isinstance(raised, KeyboardInterrupt) else "failed"
    with suppress(Interrupted), held():
        work_s = simulation.executor.work_wall_s
        notes, ending = [*_alone(simulation), *simulation.learner.notes(totals.means)], {}
        if simulation.target is not None:
            notes += simulation.target.notes() if status == "finished" else []
            ending = {"stopped": simulation.target.reason or None}
        summary = {**_of(simulation), "surrogate_data": surrogate, **totals.summary(), **ending}
        summary |= {"notes": notes} if notes else {}
        whole = recorder.close(
            status,
            summary,
            rounds_finished=totals.rounds_closed,
            **ending,
            build_wall_s=build_s,
            work_wall_s=work_s,
            jobs=simulation.executor.jobs_done,
            execution={"executor": simulation.plan.parts["jobs.executor"].name, **simulation.execution},
        )
        run_s = time.perf_counter() - begin
        with suppress(OSError):  # the recorder knows
            recorder.write_metadata(
                wall_s=run_s, outside_training_share=1 - work_s / run_s if run_s > 0 else 0.0
            )
            if whole:
                write_checksums(recorder.folder)
    status = recorder.metadata["status"]
    return Ended(
        status, error, summary, notes, run_s, work_s, totals.rounds_closed if whole else recorder.safe_rounds
    )


def _alone(simulation: Simulation) -> list[str]:
    """Return a sentence on devices that had nobody to exchange messages with; none if there were none."""
    alone = sorted(simulation.network.alone)
    if not alone:
        return []
    shown = ", ".join(map(str, alone[:10])) + (f" and {len(alone) - 10} more" if len(alone) > 10 else "")
    return [
        f"without a neighbour in some round, and so trained alone in it: device{'s' * (len(alone) > 1)} {shown}"
    ]


def _of(simulation: Simulation) -> dict[str, Any]:
    """Return what metadata and summary begin with."""
    scenario = simulation.plan.scenario
    return {
        "scenario": scenario.name,
        "learner": simulation.plan.parts["learner"].name,
        "seed": scenario.seed,
        "rounds": scenario.rounds,
    }
