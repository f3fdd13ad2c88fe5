"""Shows which device holds what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from netsim.app.commands.options import Cache, ScenarioFile, Seed, Settings, planned
from netsim.app.said import said_in_short
from netsim.core.errors import ScenarioError, reason

if TYPE_CHECKING:
    import pandas as pd

IMAGES = (".png", ".pdf", ".svg")
COLUMNS = 20
"""More classes than this get no column each in the table of who holds what."""


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
    with said_in_short(errors):
        if image is not None and image.suffix.lower() not in IMAGES:
            raise ScenarioError(f"--out: must end in {', '.join(IMAGES)} (got {str(image)!r})")
        plan = planned(file, settings, seed, None, errors)

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
