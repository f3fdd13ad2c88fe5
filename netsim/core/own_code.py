"""Errors of a user's own code, told in one line: its file and line, and how it is called if it was called otherwise."""

from __future__ import annotations

import inspect
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netsim.core.errors import ScenarioError

_LIBRARIES = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
_LIBRARIES += [str(Path(__file__).parents[2] / package) for package in ("netsim", "learners", "analysis")]


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

    An error without a line of a user's own keeps its traceback, for it is the program's, unless a function of theirs,
    such as ``called``, was called with what it does not take.

    Raises:
        ScenarioError: In place of the error, which is its cause.
    """
    if isinstance(error, ScenarioError):
        return
    code = getattr(called, "__code__", None)
    if _place(error) or (code and _is_own(code.co_filename)):
        raise ScenarioError(f"{what}: {with_its_place(error)}") from error


def with_its_place(error: BaseException) -> str:
    """Say in one line what went wrong, in which file and line: the last one that is no library's."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {kind}: {error.msg}"
    place, text = _place(error), " ".join(str(error).split())
    return f"{place}{': ' if place else ''}{kind}{f': {text}' if text else ''}{_contract(error)}"


def is_own(cls: type) -> bool:
    """Return whether a class is a user's: neither of this program nor of an installed package."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file is not None and _is_own(file)


def _place(error: BaseException) -> str:
    """Return file and line of the last call that is no library's, or of the function that was called; else nothing."""
    for one in _with_causes(error):
        for frame in reversed(traceback.extract_tb(one.__traceback__)):
            if _is_own(frame.filename):
                return f"{frame.filename}, line {frame.lineno}"
        # SimPy names the place of a yield that it cannot use in its message.
        if (named := re.search(r'File "([^"]+)", line (\d+)', str(one))) and _is_own(named[1]):
            return f"{named[1]}, line {named[2]}"
    if (function := _called_otherwise(error)) is not None:
        return f"{function.__code__.co_filename}, line {function.__code__.co_firstlineno}"
    return ""


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, and those that it was raised from: SimPy raises a copy of what a process ended with."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _called_otherwise(error: BaseException) -> Any:
    """Return the function of a user's own that was called with arguments that it does not take; None for none."""
    named = (
        re.match(r"([\w.]+)\(\) (takes|missing|got)", str(error)) if isinstance(error, TypeError) else None
    )
    if named is None:
        return None
    for module in tuple(sys.modules.values()):
        if (file := getattr(module, "__file__", None)) and _is_own(file):
            found: Any = module
            for name in named[1].split("."):
                found = getattr(found, name, None)
            if inspect.isfunction(found) and found.__module__ == module.__name__:
                return found
    return None


def _contract(error: BaseException) -> str:
    """Say how the base class declares the method that was called with arguments that it does not take."""
    function = _called_otherwise(error)
    if function is None or "." not in function.__qualname__:
        return ""
    *owners, name = function.__qualname__.split(".")
    cls: Any = sys.modules[function.__module__]
    for owner in owners:
        cls = getattr(cls, owner)
    for base in inspect.getmro(cls)[1:]:
        if name in vars(base):
            return f"; it is called as {base.__name__}.{name}{_signature(vars(base)[name])}"
    return ""


def _signature(function: Any) -> str:
    """Return a function's signature without annotations."""
    declared = inspect.signature(function)
    parameters = [one.replace(annotation=one.empty) for one in declared.parameters.values()]
    return str(declared.replace(parameters=parameters, return_annotation=declared.empty))


def _is_own(name: str) -> bool:
    file = Path(name)
    return file.is_file() and not any(file.is_relative_to(folder) for folder in _LIBRARIES)
