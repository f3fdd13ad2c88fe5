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
    executor: Annotated[
        str, typer.Option(help="processes of this machine, or ray: this machine or a cluster.")
    ] = "processes",
    address: Annotated[
        str | None,
        typer.Option(help="With ray: a cluster, as ray://host:port or host:port.", show_default=False),
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

        from netsim.app.sweeping import Sweeping, best, compared, default_workers

        ray = None
        if executor not in ("processes", "ray"):
            raise ScenarioError(f"--executor: must be processes or ray (got {executor!r})")
        if address is not None and executor != "ray":
            raise ScenarioError("--address: goes with --executor ray")
        if executor == "ray":
            from netsim.app.sweeping_ray import OnRay

            ray = OnRay(address)
        count = workers or (ray.workers if ray else default_workers())
        sweeping = Sweeping(cases, runs, cache, count, out, ray)
        try:
            rows = sweeping.run()
        except KeyboardInterrupt:
            errors.out(
                f"interrupted; finished runs stay in {sweeping.place.folder}, and the same command does the rest",
                highlight=False,
            )
            raise typer.Exit(INTERRUPTED) from None
        finally:
            if ray:
                ray.close()
        out.print(compared(rows))
        if sweeping.search and (found := sweeping.search.best()):
            out.print("\nbest point" if len(found) == 1 else "\npoints that no other beats in all numbers")
            out.print(best(found))
        out.print(f"wrote {sweeping.place.folder / 'sweep.csv'}", markup=False)
        if quiet:
            typer.echo(sweeping.place.folder)
        if sweeping.problems:
            raise ScenarioError("\n".join(f"{name}: {text}" for name, text in sweeping.problems.items()))
