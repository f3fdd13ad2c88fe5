"""Answers of a user's own code: what cannot be is told in a line, with whose and when it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

from netsim.core.errors import ScenarioError
from netsim.core.own_code import tell_whose


def asked(
    when: str, question: Callable[..., Any], allowed: str, fits: Callable[[Any], bool], *given: Any
) -> Any:
    """Return what ``question`` answers to ``given``.

    Args:
        when: Whose code it is, about what and when, for the error.
        question: A function of a user's own.
        allowed: What it may answer, in words.
        fits: Says whether an answer is that.
        given: Its arguments.

    Raises:
        ScenarioError: The answer does not fit, or the code ends with an error.
    """
    try:
        found = question(*given)
    except (Exception, SystemExit) as error:
        tell_whose(error, when, question)
        raise
    if fits(found):
        return found
    raise wrong(when, allowed, found)


def wrong(when: str, allowed: str, found: Any) -> ScenarioError:
    """Return the error of an answer ``found`` that is not ``allowed``."""
    text = " ".join(repr(found).split())
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return ScenarioError(f"{when}: must return {allowed} (got {shown})")


def is_number(value: Any) -> bool:
    """Return whether ``value`` is a finite number."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Return whether ``value`` is a whole number."""
    return isinstance(value, Integral) and not isinstance(value, bool)
