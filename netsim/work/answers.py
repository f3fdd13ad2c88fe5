"""Values that the clock waited for, as text: a run's records keep them, so that its clock can be replayed."""

from __future__ import annotations

import json
from typing import Any

LONGEST = 1_000_000
"""Characters of the longest text; a model is not an answer."""


def text_of(value: Any) -> str:
    """Write numbers, texts and None, in lists, tuples and dictionaries, as JSON; return nothing if there is more."""
    try:
        text = json.dumps(_written(value), separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return ""
    return text if len(text) <= LONGEST else ""


def value_of(text: str) -> Any:
    """Return the value that :func:`text_of` wrote.

    Raises:
        ValueError: It wrote no such text.
    """
    return _read(json.loads(text))


def _written(value: Any) -> Any:
    if type(value) is list:
        return [_written(one) for one in value]
    if type(value) is tuple:
        return {"tuple": [_written(one) for one in value]}
    if type(value) is dict:
        return {"dict": [[_written(key), _written(one)] for key, one in value.items()]}
    if value is None or isinstance(value, int | float | str):
        return value
    raise TypeError


def _read(written: Any) -> Any:
    if isinstance(written, list):
        return [_read(one) for one in written]
    if not isinstance(written, dict):
        return written
    ((kind, content),) = written.items()
    if kind == "tuple":
        return tuple(_read(one) for one in content)
    return {_read(key): _read(one) for key, one in content}
