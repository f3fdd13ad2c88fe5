"""Printing of a frame as a table in the terminal."""

from __future__ import annotations

import math

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from analysis.runs.units import readable


def show_table(console: Console, table: pd.DataFrame, title: str) -> None:
    """Print a frame in readable units, with complete numbers: a narrow terminal gets long lines."""
    table = readable(table)
    look = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0)}
    shown = Table(title=title, title_justify="left", title_style="bold", **look)  # type: ignore[arg-type]
    for name in table.columns:
        cells = [cell(value) for value in table[name]]
        text = any(isinstance(value, str) for value in table[name])
        # A unit in brackets would be read as markup.
        heading = escape(str(name))
        longest = max(len(word) for word in [*str(name).split(), *cells])
        shown.add_column(heading, justify="left" if text else "right", min_width=longest)
    for row in table.itertuples(index=False):
        shown.add_row(*(escape(cell(value)) for value in row))
    needed = Measurement.get(console, console.options.update(max_width=10_000), shown).minimum
    console.print(shown, width=max(console.width, needed), crop=False)


def with_error(mean: float, error: float) -> str:
    """Return a mean with as many digits as its standard error justifies."""
    if pd.isna(error) or error == 0.0:
        return cell(mean)
    places = max(0, -math.floor(math.log10(error)))
    return f"{mean:,.{places}f} ± {error:.{places}f}"


def cell(value: object) -> str:
    """Return one value as text: four digits, a dash if it is missing."""
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return "–"
    number = float(value)  # type: ignore[arg-type]
    if number == float("inf"):
        return "∞"
    return f"{number:,.0f}" if number.is_integer() or abs(number) >= 1e4 else f"{number:.4g}"
