"""Shows runs, and does nothing else: report, compare, plot, watch. Run folders are all that it reads."""

from __future__ import annotations

import glob
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from netsim.app.said import said_in_short
from netsim.core.errors import ScenarioError

if TYPE_CHECKING:
    from analysis.runs.run import Run

Folders = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        help="Run folders, or patterns of them such as 'runs/**' in quotes.",
        show_default=False,
    ),
]
Folder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", show_default=False)]


class Style(StrEnum):
    """Names of looks of figures."""

    plain = "plain"
    ieee = "ieee"


def _found(patterns: list[str]) -> list[Path]:
    """Return the run folders that patterns name, each once, in the order of patterns and names.

    Raises:
        ScenarioError: A pattern names no run.
    """
    folders: dict[Path, None] = {}
    for pattern in patterns:
        if not any(letter in pattern for letter in "*?["):
            folders[Path(pattern)] = None
            continue
        paths = sorted(Path(path) for path in glob.glob(pattern, recursive=True))
        runs = [path for path in paths if (path / "metadata.json").is_file()]
        if not runs:
            raise ScenarioError(f"{pattern}: matches no run folder (a folder with a metadata.json)")
        folders |= dict.fromkeys(runs)
    return list(folders)


def _loaded(patterns: list[str], errors: Console) -> list[Run]:
    from netsim.app.analysed import loaded

    runs = [loaded(folder) for folder in _found(patterns)]
    for run in runs:
        if run.metadata.get("status") == "running":
            errors.out(f"note: {run.folder}: {run.progress}", highlight=False)
    return runs


def report(
    folders: Folders,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The HTML file; default: report.html in the run's folder, or of several in this folder.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write one HTML page about a run, or about several, that opens from disk.

    It has interactive figures: curves over rounds, hours and joules, who does what when, the network over time.
    """
    errors = Console(stderr=True)
    with said_in_short(errors):
        from netsim.app.analysed import write_report

        runs = _loaded(folders, errors)
        path = out or (runs[0].folder / "report.html" if len(runs) == 1 else Path("report.html"))
        write_report(runs, path)
        typer.echo(f"wrote {path}")


def compare(
    folders: Folders,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Key of the scenario that tells groups apart, e.g. learner.name; may be given several times.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        list[float] | None,
        typer.Option(
            help="Accuracy, from 0 to 1, to report hours and joules to; may be given several times.",
            min=0.0,
            max=1.0,
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="The group that others are compared with; default: the first.", show_default=False),
    ] = None,
    modality: Annotated[str, typer.Option(help="Modality whose accuracy is compared.")] = "fused",
    format: Annotated[str, typer.Option(help="Of tables: screen, markdown, latex or csv.")] = "screen",
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the Pareto front too, into this .png, .pdf or .svg.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare runs: groups side by side, and differences paired by seed with a test.

    Runs of a group may differ in their seed only. Accuracies are mean ± standard error over seeds; hours and joules,
    which have no expectation over fading links, are medians.
    """
    errors, out = Console(stderr=True), Console(highlight=False)
    with said_in_short(errors):
        from netsim.app.analysed import compared

        runs = _loaded(folders, errors)
        compared(runs, by or [], target or [], against, modality, format, figure, out)


def plot(
    folder: Folder,
    figures: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FIGURE]...", help="Names of figures; default: all.", show_default=False),
    ] = None,
    style: Annotated[
        Style, typer.Option(help="plain, or ieee: Times at 8 points, for the columns of a journal.")
    ] = Style.plain,
    columns: Annotated[int, typer.Option(min=1, max=2, help="Width in columns, with --style ieee.")] = 2,
    format: Annotated[str, typer.Option(help="png, pdf or svg.")] = "pdf",
    out: Annotated[
        Path | None, typer.Option(help="Folder for them; default: RUN/plots.", show_default=False)
    ] = None,
) -> None:
    """Draw figures of a run for a paper."""
    errors = Console(stderr=True)
    with said_in_short(errors):
        from netsim.app.analysed import draw_figures

        if format not in ("png", "pdf", "svg"):
            raise ScenarioError(f"--format: must be png, pdf or svg (got {format!r})")
        paper = columns if style is Style.ieee else None
        for path in draw_figures(folder, figures or [], format, paper, out):
            typer.echo(f"wrote {path}")


def watch(
    folder: Folder,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds of real time between looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
) -> None:
    """Show a run that was started elsewhere while it goes on; ends when the run does."""
    errors, out = Console(stderr=True), Console(highlight=False)
    with said_in_short(errors):
        from netsim.app.analysed import watched

        watched(folder, out, every, once)
