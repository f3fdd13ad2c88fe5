"""``python -m analysis RUN_FOLDER ...``: the tables and plots of a run, or a comparison of several."""

from __future__ import annotations

import os
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from analysis.compare import comparison_figure
from analysis.plots.save import save_figure, save_plots
from analysis.report import print_comparison, print_report
from analysis.runs.files import RunError
from analysis.runs.run import Run, load_run


class Format(StrEnum):
    """Kinds of image file."""

    png = "png"
    pdf = "pdf"
    svg = "svg"


app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def main(
    run_folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_FOLDER", help="Run folders, `runs/<scenario>/<run id>`.", show_default=False
        ),
    ],
    target: Annotated[
        list[float] | None,
        typer.Option(
            help="Accuracy, from 0 to 1, to report the time and energy to; may be given several times. "
            "Default: each tenth that was reached.",
            min=0.0,
            max=1.0,
            show_default=False,
        ),
    ] = None,
    image: Annotated[Format, typer.Option("--format", help="Kind of image file.")] = Format.png,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Image file for a comparison. Default: `comparison.png` in the folder that all runs share.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show accuracy, latency and energy of a run.

    **One folder**: prints its tables and draws its plots anew into `RUN_FOLDER/plots/`. Of a run that is not
    finished, or was killed, the records so far are read.

    **Several folders**: compares them. Runs that differ only in their seed are one learner, shown as mean ±
    standard error over its seeds.
    """
    console = Console()
    try:
        runs = [load_run(folder) for folder in run_folders]
        if len(runs) == 1:
            print_report(runs[0], console, target or None)
            written = save_plots(runs[0], image.value)
        else:
            print_comparison(runs, console)
            written = _save_comparison(runs, output, image.value)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(130) from None
    except Exception as error:
        typer.echo(_in_short(error, run_folders), err=True)
        raise typer.Exit(2) from None
    for path in written:
        typer.echo(f"wrote {path}")


def _in_short(error: Exception, folders: list[Path]) -> str:
    """Say in one line what went wrong: of a run that cannot be read, or of one whose values nobody foresaw."""
    text = " ".join(str(error).split())
    if isinstance(error, RunError):
        return text
    if isinstance(error, OSError):
        return f"{error.filename or folders[0]}: {error.strerror or error}"
    *_, last = traceback.extract_tb(error.__traceback__)
    return (
        f"{', '.join(map(str, folders))}: cannot be shown, for its records hold what no run writes "
        f"({type(error).__name__}: {text[:300]}; {Path(last.filename).name}, line {last.lineno}); if it is as netsim "
        "wrote it, report this"
    )


def _save_comparison(runs: list[Run], output: Path | None, suffix: str) -> list[Path]:
    figure = comparison_figure(runs)
    shared = Path(os.path.commonpath([run.folder.resolve().parent for run in runs]))
    return [] if figure is None else [save_figure(figure, output or shared / f"comparison.{suffix}")]


if __name__ == "__main__":
    app(prog_name="python -m analysis")
