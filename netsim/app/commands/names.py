"""Lists what a scenario can name, and its keys."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from netsim.core import registry


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


def keys() -> None:
    """Print every key that a scenario can have, with type, default and meaning, as Markdown (docs/scenario.md)."""
    from netsim.scenario.reference import reference

    typer.echo(reference(), nl=False)
