"""Runs a scenario, lets a run go on, or replays a run's clock under other physics."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from netsim.app.commands.options import (
    Cache,
    Plots,
    Quiet,
    Rounds,
    Runs,
    Seed,
    Settings,
    planned,
)
from netsim.app.said import said_in_short
from netsim.core.errors import ScenarioError
from netsim.core.interrupts import INTERRUPTED, come

if TYPE_CHECKING:
    from netsim.app.running import Running

SAID = 2000
"""With more devices a run ends without a sentence about it: reading its records again takes long."""


def run(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A scenario, e.g. scenarios/two_devices.yaml; with --extend a run's folder."
        ),
    ],
    settings: Settings = None,
    seed: Seed = None,
    rounds: Rounds = None,
    extend: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Add N rounds to the run in the folder FILE, which has finished."
        ),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Folder that run folders are made in; default: runs, or that of the run that is extended."
        ),
    ] = None,
    run_id: Annotated[
        str | None, typer.Option(help="Name of the run's folder; default: time and seed.")
    ] = None,
    cache: Cache = Path(".cache"),
    plots: Plots = True,
    quiet: Quiet = False,
    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Pass numbers of each round on to tensorboard, mlflow or wandb (offline); may be given several times.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per round, and one at the end, for scripts.")
    ] = False,
) -> None:
    """Run a scenario and record it in runs/<scenario>/<run id>/.

    Ctrl-C or SIGTERM ends a run early; what was recorded by then stays readable. Twice ends it at once.
    """
    errors = Console(stderr=True)
    out = Console(quiet=quiet or as_json, highlight=False)
    if quiet and as_json:
        errors.out("error: --quiet and --json exclude each other")
        raise typer.Exit(2)

    def say(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    with said_in_short(errors):
        if extend is None:
            _check_is_no_run(file)
            plan = planned(file, settings, seed, rounds, out)
        elif settings or seed is not None or rounds is not None:
            raise ScenarioError(
                "--extend: a longer run is the same run, so it excludes --set, --seed and --rounds; to change "
                f"something run it anew: netsim run {file / 'scenario.yaml'} --set ..."
            )

        from netsim.app.trackers import check_trackers

        check_trackers(track or [])

        if extend is None:
            from netsim.app.running import Running

            out.print(
                f"[bold]{escape(plan.scenario.name)}[/bold]  {escape(plan.scenario.description)}".rstrip()
            )
            for note in plan.notes:
                errors.out(f"note: {note}", highlight=False)
            running = Running.new(plan, cache, runs or Path("runs"), run_id, say)
        else:
            from netsim.app.resuming import extended

            running = extended(file, extend, cache, runs, run_id, say)
        _carry_out(running, out, errors, plots, quiet, as_json, track or ())


def _check_is_no_run(file: Path) -> None:
    """Check that ``file`` is not a run's folder.

    Raises:
        ScenarioError: It is; says what can be done with it.
    """
    if (file / "metadata.json").is_file():
        raise ScenarioError(
            f"{file}: is a run's folder; netsim run {file} --extend N adds N rounds, netsim resume {file} goes on with "
            f"a run that was ended, and netsim run {file / 'scenario.yaml'} runs its scenario anew"
        )


def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that was ended.")],
    cache: Cache = Path(".cache"),
    plots: Plots = True,
    quiet: Quiet = False,
) -> None:
    """Let a run that was killed or interrupted go on from its newest snapshot, to the same records.

    Its clock is simulated anew, which takes little; what was learnt by then is taken up.
    """
    errors, out = Console(stderr=True), Console(quiet=quiet, highlight=False)
    with said_in_short(errors):
        from netsim.app.resuming import resumed

        running = resumed(folder, cache, lambda text: out.print(text, markup=False, soft_wrap=True))
        _carry_out(running, out, errors, plots, quiet)


def _carry_out(
    running: Running,
    out: Console,
    errors: Console,
    plots: bool,
    quiet: bool,
    as_json: bool = False,
    track: Sequence[str] = (),
) -> None:
    """Run what is built, show how far it is, and how it ended."""
    from netsim.app.analysed import draw_run, sentence_of
    from netsim.app.progress import JsonLines, Screen
    from netsim.app.said import typed_python
    from netsim.app.summary import print_summary

    simulation, totals, folder = running.simulation, running.totals, running.folder
    if running.surrogate:
        out.print(
            "[bold yellow]surrogate data[/bold yellow]: generated, standing in for data that is not here"
        )
    trackers = running.track(track)
    json_lines = JsonLines(Console(highlight=False, soft_wrap=True), totals)
    screen: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if as_json:
        simulation.watch(json_lines)
    elif not quiet:
        screen = Screen(out, totals, running.plan.scenario.rounds)
        simulation.watch(screen)
    finished = False
    try:
        ended = running.run(screen)
        finished = ended.status == "finished"
    finally:
        for tracker in trackers:
            tracker.end(finished)
    for note in [*running.notes(ended), *(tracker.problem for tracker in trackers if tracker.problem)]:
        errors.out(f"note: {note}", highlight=False)
    drawn = draw_run(folder, errors) if plots and ended.error is None and not come() else None
    if as_json:
        json_lines.say({"event": "end", "folder": str(folder), **ended.summary, "status": ended.status})
    elif quiet:
        typer.echo(folder)
    else:
        print_summary(out, ended, folder, simulation.execution, simulation.metrics)
        if running.plan.scenario.devices.count <= SAID and not come():
            out.print(sentence_of(folder, drawn), markup=False, soft_wrap=True)
            out.print(f"next: {typed_python()} -m netsim report {folder}", markup=False, soft_wrap=True)
    if come() or ended.error is not None:
        errors.out(
            f"interrupted when the run had finished; its records in {folder} are whole"
            if ended.status == "finished"
            else f"interrupted after {running.far(ended)}; the records in {folder} are readable up to there, "
            f"and netsim resume {folder} goes on",
            highlight=False,
        )
        raise typer.Exit(INTERRUPTED)


def retime(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that has finished.")],
    settings: Settings = None,
    runs: Runs = Path("runs"),
    run_id: Annotated[
        str | None, typer.Option(help="Name of the new run's folder; default: that of RUN, and -retimed.")
    ] = None,
    cache: Cache = Path(".cache"),
    plots: Plots = True,
    quiet: Quiet = False,
) -> None:
    """Replay a run's clock with other bandwidths, processors or batteries, without training again.

    It stops where what is learnt would change, and then writes nothing.
    """
    errors, out = Console(stderr=True), Console(quiet=quiet, highlight=False)
    with said_in_short(errors):
        from netsim.app.analysed import draw_run
        from netsim.app.retime import retime
        from netsim.app.summary import print_changes, print_summary

        done = retime(folder, settings or [], runs, run_id, cache, lambda text: out.print(text, markup=False))
        for note in (*done.simulation.plan.notes, *done.ended.notes):
            errors.out(f"note: {note}", highlight=False)
        if plots:
            draw_run(done.folder, errors)
        print_changes(out, done.changed, done.summary, done.ended.summary)
        facts, explained = done.simulation.execution, done.simulation.metrics
        print_summary(out, done.ended, done.folder, facts, explained)
        if quiet:
            typer.echo(done.folder)
