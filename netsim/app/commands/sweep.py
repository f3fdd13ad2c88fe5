"""Runs a scenario many times."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from netsim.app.commands.options import Cache, Quiet, Runs
from netsim.app.said import said_in_short
from netsim.core.errors import ScenarioError
from netsim.core.interrupts import INTERRUPTED


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
    with said_in_short(errors):
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
