"""The command line: run, retime, sweep, check, verify, partition, list, keys. It alone prints.

Commands import what they need themselves: the records bring pyarrow with them, learners PyTorch, and who asks for help
or checks a scenario waits for neither.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from netsim.core import registry
from netsim.core.errors import ScenarioError, reason, too_much
from netsim.core.interrupts import INTERRUPTED, come, heard

if TYPE_CHECKING:
    import pandas as pd

    from netsim.scenario.loading import Plan

app = typer.Typer(
    help="Simulate wireless devices that learn together: accuracy, latency and energy on one clock.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ScenarioFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A scenario, e.g. scenarios/two_devices.yaml.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the scenario, e.g. --set learner.alpha_kd=0.5. Can be given several times.",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Change the scenario's seed.")]
Rounds = Annotated[int | None, typer.Option(help="Change the scenario's number of rounds.")]
Cache = Annotated[
    Path,
    typer.Option(
        envvar="NETSIM_CACHE", help="Folder for pre-processed and generated data.", show_default=True
    ),
]
Runs = Annotated[Path, typer.Option(help="Folder that run folders are made in.")]
Plots = Annotated[bool, typer.Option(help="Draw the run's plots at the end.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the run's folder and nothing else.")]


MOST_LINES = 50
"""Lines of errors that are printed."""

LONGEST_LINE = 500
"""Characters at the beginning and at the end of a line that are printed, if it has more than both together."""

IMAGES = (".png", ".pdf", ".svg")
COLUMNS = 20
"""More classes than this get no column each in the table of who holds what."""


@contextlib.contextmanager
def _said_in_short(console: Console) -> Iterator[None]:
    """End with an exit code, and the reason in short, what a person or a machine can mend; no traceback."""
    with heard():
        try:
            yield
        except typer.Exit:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or come():
                console.out("interrupted before the first round; nothing was recorded", highlight=False)
                raise typer.Exit(INTERRUPTED) from None
            text = str(error) if isinstance(error, ScenarioError) else too_much(error)
            if not text:
                raise
            lines = text.splitlines()
            if len(lines) > MOST_LINES:
                lines[MOST_LINES - 1 :] = [f"and {len(lines) - MOST_LINES + 1} more findings"]
            for line in lines:
                cut = f"{line[:LONGEST_LINE]} ... {line[-LONGEST_LINE:]}"
                console.out(f"error: {min(line, cut, key=len)}", highlight=False)
            raise typer.Exit(2) from None


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"netsim {version('netsim')}")
        raise typer.Exit


@app.callback()
def _before_any_command(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    pass


def _plan(
    file: Path, settings: list[str] | None, seed: int | None, rounds: int | None, screen: Console
) -> Plan:
    from netsim.scenario.loading import load_plan

    changes = list(settings or [])
    changes += [f"seed={seed}"] if seed is not None else []
    changes += [f"rounds={rounds}"] if rounds is not None else []
    return load_plan(file, changes, lambda text: screen.print(text, markup=False, soft_wrap=True))


@app.command()
def run(
    file: ScenarioFile,
    settings: Settings = None,
    seed: Seed = None,
    rounds: Rounds = None,
    runs: Runs = Path("runs"),
    run_id: Annotated[
        str | None, typer.Option(help="Name of the run's folder; default: time and seed.")
    ] = None,
    cache: Cache = Path(".cache"),
    plots: Plots = True,
    quiet: Quiet = False,
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
    with _said_in_short(errors):
        plan = _plan(file, settings, seed, rounds, out)

        from netsim.app.analysed import draw_run
        from netsim.app.progress import JsonLines, Screen
        from netsim.app.running import Running
        from netsim.app.summary import print_summary

        out.print(f"[bold]{escape(plan.scenario.name)}[/bold]  {escape(plan.scenario.description)}".rstrip())
        for note in plan.notes:
            errors.out(f"note: {note}", highlight=False)
        running = Running(plan, cache, runs, run_id, lambda text: out.print(text, markup=False))
        simulation, totals, folder = running.simulation, running.totals, running.folder
        if running.surrogate:
            out.print(
                "[bold yellow]surrogate data[/bold yellow]: generated, standing in for data that is not here"
            )
        json_lines = JsonLines(Console(highlight=False, soft_wrap=True), totals)
        screen: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if as_json:
            simulation.watch(json_lines)
        elif not quiet:
            screen = Screen(out, totals, plan.scenario.rounds)
            simulation.watch(screen)
        ended = running.run(screen)
        for note in running.notes(ended):
            errors.out(f"note: {note}", highlight=False)
        if plots and ended.error is None and not come():
            draw_run(folder, errors)
        if as_json:
            json_lines.say({"event": "end", "folder": str(folder), **ended.summary, "status": ended.status})
        elif quiet:
            typer.echo(folder)
        else:
            print_summary(out, ended, folder, simulation.execution, simulation.learner.METRICS)
        if come() or ended.error is not None:
            errors.out(
                f"interrupted after {running.far(ended)}; the records in {folder} are readable up to there",
                highlight=False,
            )
            raise typer.Exit(INTERRUPTED)


@app.command()
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
    with _said_in_short(errors):
        from netsim.app.analysed import draw_run
        from netsim.app.retime import retime
        from netsim.app.summary import print_changes, print_summary

        done = retime(folder, settings or [], runs, run_id, cache, lambda text: out.print(text, markup=False))
        for note in (*done.simulation.plan.notes, *done.ended.notes):
            errors.out(f"note: {note}", highlight=False)
        if plots:
            draw_run(done.folder, errors)
        print_changes(out, done.changed, done.summary, done.ended.summary)
        facts, explained = done.simulation.execution, done.simulation.learner.METRICS
        print_summary(out, done.ended, done.folder, facts, explained)
        if quiet:
            typer.echo(done.folder)


@app.command()
def sweep(
    file: Annotated[
        Path, typer.Argument(metavar="SWEEP", help="The file of a sweep; see docs/guides/sweep.md.")
    ],
    runs: Runs = Path("runs"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time; default: as many as cores and memory allow.")
    ] = None,
    cache: Cache = Path(".cache"),
    quiet: Quiet = False,
) -> None:
    """Run a scenario with other values of some keys and other seeds, several at a time.

    Runs that are there already are not done again, so a sweep that was stopped or killed goes on where it was.
    """
    errors, out = Console(stderr=True), Console(quiet=quiet, highlight=False)
    with _said_in_short(errors):
        from netsim.scenario.sweep import load_sweep

        cases = load_sweep(file, lambda text: out.print(text, markup=False, soft_wrap=True))

        from netsim.app.sweeping import Sweeping, compared, default_workers

        sweeping = Sweeping(cases, runs, cache, workers or default_workers(), out)
        try:
            rows = sweeping.run()
        except KeyboardInterrupt:
            errors.out(
                f"interrupted; finished runs stay in {sweeping.place.folder}, and the same command does the rest",
                highlight=False,
            )
            raise typer.Exit(INTERRUPTED) from None
        out.print(compared(rows))
        out.print(f"wrote {sweeping.place.folder / 'sweep.csv'}", markup=False)
        if quiet:
            typer.echo(sweeping.place.folder)
        if sweeping.problems:
            raise ScenarioError("\n".join(f"{name}: {text}" for name, text in sweeping.problems.items()))


@app.command()
def check(file: ScenarioFile, settings: Settings = None, seed: Seed = None, rounds: Rounds = None) -> None:
    """Check a scenario without running it: keys, values, names, and whether its data is there."""
    errors, out = Console(stderr=True), Console(highlight=False, soft_wrap=True)
    with _said_in_short(errors):
        from netsim.app.checks import check_data, check_room

        plan = _plan(file, settings, seed, rounds, out)
        check_room(plan)
        check_data(plan)
    for note in plan.notes:
        errors.out(f"note: {note}", highlight=False)
    s, parts = plan.scenario, plan.parts
    out.print(
        f"{file}: ok. {s.rounds} rounds of {parts['learner'].name} on {s.devices.count} devices"
        f"{', data ' + parts['data'].name if 'data' in parts else ''}"
        f"{', partition ' + parts['partition'].name if 'partition' in parts else ''}, "
        f"channel {parts['radio.channel'].name}, access {parts['radio.access'].name}, seed {s.seed}",
        markup=False,
    )


@app.command()
def verify(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
) -> None:
    """Check runs: are the files those that were written, and do seconds, joules and bits add up?"""
    errors, out = Console(stderr=True), Console(highlight=False, soft_wrap=True)
    with _said_in_short(errors):
        from netsim.app.analysed import wrong_with

        wrong = []
        for folder in folders:
            lines = wrong_with(folder)
            wrong += lines
            if not lines:
                out.print(f"{folder}: ok", markup=False)
        if wrong:
            raise ScenarioError("\n".join(wrong))


@app.command()
def partition(
    file: ScenarioFile,
    settings: Settings = None,
    seed: Seed = None,
    cache: Cache = Path(".cache"),
    image: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Draw it too, into this .png, .pdf or .svg file."),
    ] = None,
) -> None:
    """Show which device holds what: its modalities, and its training samples by class."""
    errors, out = Console(stderr=True), Console(highlight=False, soft_wrap=True)
    with _said_in_short(errors):
        if image is not None and image.suffix.lower() not in IMAGES:
            raise ScenarioError(f"--out: must end in {', '.join(IMAGES)} (got {str(image)!r})")
        plan = _plan(file, settings, seed, None, errors)

        from netsim.app.analysed import draw_partition
        from netsim.app.dealing import deal

        for note in plan.notes:
            errors.out(f"note: {note}", highlight=False)
        try:
            data, shares = deal(plan, cache, lambda text: errors.print(text, markup=False))
        except OSError as error:
            raise ScenarioError(
                f"{error.filename or cache}: {reason(error)}; --cache names the folder for prepared data"
            ) from error
        frame = data.table(shares)
        part = plan.parts["partition"]
        changed = part.options.model_dump(exclude_defaults=True)
        set_by_hand = [f"{key} {value}" for key, value in changed.items() if not isinstance(value, list)]
        heading = ", ".join([f"{data.name}: {part.name}", *set_by_hand, f"seed {plan.scenario.seed}"])
        if image is not None:
            draw_partition(frame, data, heading, image)
        out.print(heading, style="bold yellow" if data.surrogate else "bold", markup=False)
        _print_holdings(out, frame, list(data.classes))
        out.print(f"{frame['samples'].sum():,} of {len(data.train):,} training samples are on a device")
        if image is not None:
            out.print(f"wrote {image}", markup=False)


def _print_holdings(out: Console, frame: pd.DataFrame, classes: list[str]) -> None:
    """Print who holds what; of many classes, how many a device has and which most of."""
    from rich.measure import Measurement
    from rich.table import Table

    if len(classes) > COLUMNS:
        counts = frame[classes]
        most = [f"{100 * row.max() / max(1, row.sum()):.0f} % {row.idxmax()}" for _, row in counts.iterrows()]
        frame = frame.drop(columns=classes).assign(classes=(counts > 0).sum(axis="columns"), mostly=most)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("device", *frame.columns):
        words = column in ("modalities", "mostly")
        table.add_column(str(column), justify="left" if words else "right", no_wrap=True)
    for row in frame.itertuples():
        table.add_row(*(escape(str(value)) for value in row))
    # Lines that a narrow screen wraps can still be read; columns that it cuts off cannot.
    needed = Measurement.get(out, out.options.update(width=10_000), table).maximum
    Console(highlight=False, width=max(out.width, needed)).print(table, crop=False)


@app.command("list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help="learners, datasets, channels ...; all kinds if left out."),
    ] = None,
) -> None:
    """List what a scenario can name, each with a line of explanation."""
    out = Console(highlight=False)
    if kind is not None and kind not in registry.KINDS:
        Console(stderr=True).out(
            f"error: no kind {kind!r}; kinds are {', '.join(registry.KINDS)}", highlight=False
        )
        raise typer.Exit(2)
    if kind is None:
        for name, about in registry.KINDS.items():
            out.print(f"[bold]{name}[/bold]  {about}")
            out.print("    " + ", ".join(registry.names(name)))
        return

    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, text in registry.describe(kind):
        table.add_row(name, escape(text))
    out.print(table)


@app.command()
def keys() -> None:
    """Print every key that a scenario can have, with type, default and meaning, as Markdown (docs/scenario.md)."""
    from netsim.scenario.reference import reference

    typer.echo(reference(), nl=False)
