"""The simulator from Python: ``netsim.run``, ``netsim.resume`` and ``netsim.load``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from netsim.app.analysed import loaded
from netsim.app.progress import Screen
from netsim.app.resuming import resumed
from netsim.app.running import Running
from netsim.core.interrupts import Interrupted, heard
from netsim.scenario.loading import load_plan
from netsim.scenario.yaml_file import as_settings

if TYPE_CHECKING:
    from analysis.runs.run import Run


def run(
    scenario: str | Path,
    *,
    rounds: int | None = None,
    seed: int | None = None,
    set: Mapping[str, Any] | None = None,
    runs: str | Path = "runs",
    run_id: str | None = None,
    cache: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Run a scenario, record it in ``runs/<scenario>/<run id>``, and return its records.

    It is what ``netsim run`` does, with its progress line and without plots.

    Args:
        scenario: The file.
        rounds: Number of rounds in place of the scenario's.
        seed: Seed in place of the scenario's.
        set: Other keys of it, with dots: ``{"learner.alpha_kd": 0.5, "radio": {"channel": "none"}}``.
        runs: Folder that run folders are made in.
        run_id: Name of the run's folder; default: time and seed.
        cache: Folder for pre-processed data; default: what ``NETSIM_CACHE`` says, or ``.cache``.
        quiet: Show nothing.

    Returns:
        The run, with ``rounds``, ``transfers``, ``metrics``, ``devices``, ``links`` as pandas frames, and ``summary``.

    Raises:
        ScenarioError: Something is wrong with the scenario, or the run cannot be recorded: a line for each finding.
        KeyboardInterrupt: The run was interrupted; its folder is readable up to there.
    """
    changes = {"rounds": rounds, "seed": seed}
    given = {key: value for key, value in changes.items() if value is not None} | dict(set or {})
    out, errors = Console(quiet=quiet, highlight=False), Console(stderr=True, quiet=quiet)

    def say(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    folder = Path(cache or os.environ.get("NETSIM_CACHE", ".cache"))

    def made() -> Running:
        plan = load_plan(Path(scenario), as_settings(given, "set: "), say, "set")
        return Running.new(plan, folder, Path(runs), run_id, say)

    return _carried_out(made, out, errors)


def resume(folder: str | Path, *, cache: str | Path | None = None, quiet: bool = False) -> Run:
    """Let a run that was ended go on from its newest snapshot, as ``netsim resume`` does, and return its records.

    Args:
        folder: The run's folder.
        cache: Folder for pre-processed data; default: what ``NETSIM_CACHE`` says, or ``.cache``.
        quiet: Show nothing.

    Raises:
        ScenarioError: It cannot go on; says what to do instead.
        KeyboardInterrupt: It was interrupted again.
    """
    out, errors = Console(quiet=quiet, highlight=False), Console(stderr=True, quiet=quiet)
    place = Path(cache or os.environ.get("NETSIM_CACHE", ".cache"))

    def made() -> Running:
        return resumed(Path(folder), place, lambda text: out.print(text, markup=False, soft_wrap=True))

    return _carried_out(made, out, errors)


def _carried_out(made: Callable[[], Running], out: Console, errors: Console) -> Run:
    """Run what is ``made``, with a progress line; return its records."""
    with heard():
        running = made()
        screen = Screen(out, running.totals, running.plan.scenario.rounds)
        running.simulation.watch(screen)
        ended = running.run(screen)
        for note in [*running.plan.notes, *running.notes(ended)]:
            errors.out(f"note: {note}", highlight=False)
        if ended.error is not None:
            raise Interrupted(
                f"interrupted after {running.far(ended)}; the records in {running.folder} are readable up to there, "
                f"and netsim.resume({str(running.folder)!r}) goes on"
            ) from None
    return loaded(running.folder)


def load(folder: str | Path) -> Run:
    """Return the records of a run, also of one that goes on or was killed.

    Args:
        folder: ``runs/<scenario>/<run id>``.

    Raises:
        ScenarioError: It is no run's folder, or a file in it cannot be read.
    """
    return loaded(Path(folder))
