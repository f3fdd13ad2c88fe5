"""Ends a command in short when something went wrong that a person or a machine can mend."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from rich.console import Console

from netsim.core.errors import ScenarioError, too_much
from netsim.core.interrupts import INTERRUPTED, come, heard

MOST_LINES = 50
"""Lines of errors that are printed."""

LONGEST_LINE = 500
"""Characters at the beginning and at the end of a line that are printed, if it has more than both together."""


def typed_python() -> str:
    """Return what a person types for this Python: its path from here unless it is the one that ``python`` names."""
    found, here = shutil.which("python"), Path.cwd()
    own = Path(sys.executable)
    if found is not None and Path(found) == own:
        return "python"
    return str(own.relative_to(here) if own.is_relative_to(here) else own)


@contextlib.contextmanager
def said_in_short(console: Console) -> Iterator[None]:
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
