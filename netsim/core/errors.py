"""The one exception that speaks to the person who wrote the scenario."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LIBRARIES = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
_LIBRARIES += [str(Path(__file__).parents[2] / package) for package in ("netsim", "learners")]
_NO_MEMORY = "can(no|')t allocate memory|out of memory|failed to map segment"


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
    if own := _own_line(error):
        place = f"{own}: "
    text = " ".join(str(error).split())
    return f"{place}{kind}{f': {text}' if text else ''}"


def reason(error: OSError) -> str:
    """Return what the system said, without the details that libraries put around it."""
    return os.strerror(error.errno) if error.errno else str(error)


def too_much(error: BaseException) -> str:
    """Say in one line that memory ran out or a number is too large, if ``error`` means that; else return nothing."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or re.search(_NO_MEMORY, text, re.IGNORECASE):
        return (
            f"memory ran out ({text[:200] or type(error).__name__}); use fewer or smaller devices, networks, "
            "batches or jobs.executor.workers, or a lower jobs.memory_gib, or a machine with more"
        )
    if isinstance(error, ArithmeticError) or (isinstance(error, ValueError) and "overflow" in text.lower()):
        *_, last = traceback.extract_tb(error.__traceback__)
        return (
            f"a number is too large or too small to compute with ({type(error).__name__}: {text[:200]}; "
            f"{Path(last.filename).name}, line {last.lineno}); look for extreme values in the scenario"
        )
    return ""


@contextmanager
def code_of_ones_own(what: str, called: Callable[..., Any] | None = None) -> Generator[None]:
    """Say in one line where a user's own code ended with an error while the block ran; see :func:`tell_whose`."""
    try:
        yield
    except (Exception, SystemExit) as error:  # a task that ends the program would end it without a word
        tell_whose(error, what, called)
        raise


def tell_whose(error: BaseException, what: str, called: Callable[..., Any] | None = None) -> None:
    """Say in one line where a user's own code ended with ``error``, and in ``what``; do nothing if it was not theirs.

    An error without a line of a user's own keeps its traceback, for it is the program's, unless the function ``called``
    is a user's: then it was called with what it does not take.

    Raises:
        ScenarioError: In place of the error, which is its cause.
    """
    if isinstance(error, ScenarioError):
        return
    code = getattr(called, "__code__", None)
    if _own_line(error) or (code and _is_own(code.co_filename)):
        raise ScenarioError(f"{what}: {with_its_place(error)}") from error


def _own_line(error: BaseException) -> str:
    """Return file and line of the last call that is no library's; empty if there is none."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_own(frame.filename):
            return f"{frame.filename}, line {frame.lineno}"
    return ""


def _is_own(name: str) -> bool:
    file = Path(name)
    return file.is_file() and not any(file.is_relative_to(folder) for folder in _LIBRARIES)
