"""The one exception that speaks to the person who wrote the scenario."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

_LIBRARIES = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
_LIBRARIES += [str(Path(__file__).parents[2] / package) for package in ("netsim", "learners")]


class ScenarioError(Exception):
    """Bad input: where it is, what was found, what is allowed, the way out.

    It takes exactly one argument, the finished message: SimPy rebuilds an exception from its ``args``
    when it leaves a process, and anything else would be doubled or lost on the way. Several findings
    are several lines.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


def with_its_place(error: BaseException) -> str:
    """Say in one line what went wrong, in which file and line: the last one that is no library's."""
    kind, place = type(error).__name__, ""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {kind}: {error.msg}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_file() and not any(file.is_relative_to(folder) for folder in _LIBRARIES):
            place = f"{file}, line {frame.lineno}: "
            break
    text = " ".join(str(error).split())
    return f"{place}{kind}{f': {text}' if text else ''}"
