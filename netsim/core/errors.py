"""The one exception that speaks to the person who wrote the scenario."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path

_NO_MEMORY = "can(no|')t allocate memory|out of memory|failed to map segment"


class ScenarioError(Exception):
    """Bad input: where it is, what was found, what is allowed, the way out.

    It takes exactly one argument, the finished message: SimPy rebuilds an exception from its ``args``
    when it leaves a process, and anything else would be doubled or lost on the way. Several findings
    are several lines.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


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
