"""The command line: run, check, partition, list, keys. It alone prints.

Commands import what they need themselves: the records bring pyarrow with them, learners PyTorch, and who asks for help
or checks a scenario waits for neither.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

import netsim
from netsim.core import registry
from netsim.core.errors import ScenarioError

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


IMAGES = (".png", ".pdf", ".svg")
COLUMNS = 20
"""More classes than this get no column each in the table of who holds what."""


@contextlib.contextmanager
def _bad_input_ends_with_2(console: Console) -> Iterator[None]:
    try:
        yield
    except ScenarioError as error:
        for line in str(error).splitlines():
            console.out(f"error: {line}", highlight=False)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        console.out("interrupted before the first round; nothing was recorded", highlight=False)
        raise typer.Exit(130) from None


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"netsim {netsim.__version__}")
        raise typer.Exit


@app.callback()
def _before_any_command(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    pass


def _plan(file: Path, settings: list[str] | None, seed: int | None, rounds: int | None) -> Plan:
    from netsim.scenario.loading import load_plan

    changes = list(settings or [])
    changes += [f"seed={seed}"] if seed is not None else []
    changes += [f"rounds={rounds}"] if rounds is not None else []
    return load_plan(file, changes)


@app.command()
def run(
    file: ScenarioFile,
    settings: Settings = None,
    seed: Seed = None,
    rounds: Rounds = None,
    runs: Annotated[Path, typer.Option(help="Folder that run folders are made in.")] = Path("runs"),
    run_id: Annotated[
        str | None, typer.Option(help="Name of the run's folder; default: time and seed.")
    ] = None,
    cache: Cache = Path(".cache"),
    plots: Annotated[bool, typer.Option(help="Draw the run's plots at the end.")] = True,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the run's folder and nothing else.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per round, and one at the end, for scripts.")
    ] = False,
) -> None:
    """Run a scenario and record it in runs/<scenario>/<run id>/.

    Ctrl-C ends a run early; what was recorded by then stays readable.
    """
    errors = Console(stderr=True)
    out = Console(quiet=quiet or as_json, highlight=False)
    if quiet and as_json:
        errors.out("error: --quiet and --json exclude each other")
        raise typer.Exit(2)
    with _bad_input_ends_with_2(errors):
        plan = _plan(file, settings, seed, rounds)

        from netsim.app.build import build
        from netsim.app.drawing import draw_run
        from netsim.app.progress import JsonLines, Screen
        from netsim.app.summary import print_summary
        from netsim.records.metadata import commit, hardware, versions
        from netsim.records.run_folder import Recorder, new_folder
        from netsim.records.totals import Totals

        begin = time.perf_counter()
        out.print(f"[bold]{plan.scenario.name}[/bold]  {plan.scenario.description}".rstrip())
        for note in plan.notes:
            errors.out(f"note: {note}", highlight=False)
        try:
            simulation = build(plan, cache, lambda text: out.print(text, markup=False))
        except OSError as error:
            raise ScenarioError(
                f"{error.filename or cache}: {error.strerror or error}; --cache names the folder for prepared data"
            ) from error
        facts = simulation.learner.facts()
        folder = new_folder(runs, plan.scenario.name, plan.scenario.seed, run_id)
    surrogate = bool(facts.get("data", {}).get("surrogate"))
    if surrogate:
        out.print(
            "[bold yellow]surrogate data[/bold yellow]: generated, standing in for data that is not here"
        )
    totals = Totals(plan.scenario.devices.count)
    recorder = Recorder(
        folder,
        plan.resolved(),
        {
            "scenario": plan.scenario.name,
            "seed": plan.scenario.seed,
            "rounds": plan.scenario.rounds,
            "rounds_finished": 0,
            "learner": plan.parts["learner"].name,
            "started_unix_s": time.time(),
            "versions": versions(),
            "commit": commit(),
            "hardware": hardware(simulation.torch_device),
            "placements_drawn": simulation.network.topology.draws,
            "data": None,
            "metrics": dict(simulation.learner.METRICS),
            **facts,
        },
        simulation.device_rows(),
        simulation.link_rows(),
        simulation.modalities,
    )
    simulation.watch(totals, recorder)
    json_lines = JsonLines(Console(highlight=False, soft_wrap=True), totals)
    screen: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if as_json:
        simulation.watch(json_lines)
    elif not quiet:
        screen = Screen(out, totals, plan.scenario.rounds)
        simulation.watch(screen)
    build_s, begin = time.perf_counter() - begin, time.perf_counter()
    status = "failed"
    with _bad_input_ends_with_2(errors):
        try:
            with screen:
                simulation.run()
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
        finally:
            recorder.end_tables()
            run_s = time.perf_counter() - begin
            work_s = simulation.executor.work_wall_s
            summary = {
                "scenario": plan.scenario.name,
                "learner": plan.parts["learner"].name,
                "seed": plan.scenario.seed,
                "rounds": plan.scenario.rounds,
                "surrogate_data": surrogate,
                **totals.summary(),
            }
            notes = list(simulation.learner.notes(totals.means))
            summary |= {"notes": notes} if notes else {}
            recorder.close(
                status,
                summary,
                rounds_finished=totals.rounds_closed,
                build_wall_s=build_s,
                wall_s=run_s,
                work_wall_s=work_s,
                outside_training_share=1 - work_s / run_s if run_s > 0 else 0.0,
                jobs=simulation.executor.jobs_done,
                execution={"executor": plan.parts["jobs.executor"].name, **simulation.execution},
            )
    if status == "finished" and not totals.rounds_closed and any(d.alive for d in simulation.network.devices):
        errors.out(
            f"note: protocol {plan.parts['protocol'].name!r} closed no round, so none counts as finished; it should "
            "call self.work.close(round, self.network.env.now) for each, when nobody is in it any more",
            highlight=False,
        )
    for note in notes:
        errors.out(f"note: {note}", highlight=False)
    if plots:
        draw_run(folder, errors)
    if as_json:
        json_lines.say({"event": "end", "folder": str(folder), **summary, "status": status})
    elif quiet:
        typer.echo(folder)
    else:
        print_summary(
            out, summary, status, folder, run_s, work_s, simulation.execution, simulation.learner.METRICS
        )
    if status == "interrupted":
        errors.out(
            f"interrupted after round {totals.rounds_closed} of {plan.scenario.rounds}; "
            f"the records in {folder} are readable up to there",
            highlight=False,
        )
        raise typer.Exit(130)


@app.command()
def check(file: ScenarioFile, settings: Settings = None, seed: Seed = None, rounds: Rounds = None) -> None:
    """Check a scenario without running it: keys, values, names, and whether its data is there."""
    from netsim.app.checks import check_data

    errors, out = Console(stderr=True), Console(highlight=False, soft_wrap=True)
    with _bad_input_ends_with_2(errors):
        plan = _plan(file, settings, seed, rounds)
        check_data(plan)
    for note in plan.notes:
        errors.out(f"note: {note}", highlight=False)
    s, parts = plan.scenario, plan.parts
    out.print(
        f"{file}: ok. {s.rounds} rounds of {parts['learner'].name} on {s.devices.count} devices"
        f"{', data ' + parts['data'].name if 'data' in parts else ''}"
        f"{', partition ' + parts['partition'].name if 'partition' in parts else ''}, "
        f"channel {parts['radio.channel'].name}, access {parts['radio.access'].name}, seed {s.seed}"
    )


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
    with _bad_input_ends_with_2(errors):
        if image is not None and image.suffix.lower() not in IMAGES:
            raise ScenarioError(f"--out: must end in {', '.join(IMAGES)} (got {str(image)!r})")
        plan = _plan(file, settings, seed, None)

        from netsim.app.dealing import deal
        from netsim.app.drawing import draw_partition

        for note in plan.notes:
            errors.out(f"note: {note}", highlight=False)
        try:
            data, shares = deal(plan, cache, lambda text: errors.print(text, markup=False))
        except OSError as error:
            raise ScenarioError(
                f"{error.filename or cache}: {error.strerror or error}; --cache names the folder for prepared data"
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
    from rich.markup import escape
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

    from rich.markup import escape
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


def main() -> None:
    """Start ``netsim``, or ``python -m netsim``."""
    # A reader that has seen enough (netsim list | head) is no error of ours.
    try:
        app()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
