"""Turns what pydantic found into lines for the person who wrote the scenario."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError

UNITS = {
    "hz": "hertz",
    "s": "seconds",
    "m": "metres",
    "j": "joules",
    "w": "watts",
    "f": "farads",
    "db": "decibels",
    "dbm": "dBm",
    "bits": "bits",
    "bytes": "bytes",
}

Location = tuple[int | str, ...]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """List the models that a field's type admits."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType, list, tuple, typing.Annotated):
        return [model for part in typing.get_args(annotation) for model in _models(part)]
    return _models(typing.get_args(annotation)[1]) if origin is dict else []


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """Find the model that the value at ``location`` belongs to."""
    current: type[BaseModel] | None = model
    named = False
    for part in location:
        if current is None:
            return None
        if named:  # a word of the reader's own, like the name of a class of devices
            named = False
        elif isinstance(part, str):
            if part not in current.model_fields:
                continue  # the name of a member of a union, not a key
            annotation = current.model_fields[part].annotation
            found, named = _models(annotation), typing.get_origin(annotation) is dict
            current = found[0] if found else None
    return current


def _unit(key: str) -> str:
    """Return the unit that a key's name carries: ``" in hertz"``, or nothing."""
    parts = key.split("_")
    if "per" in parts:
        before, _, after = key.rpartition("_per_")
        return (
            f" in {UNITS.get(before.rpartition('_')[2], before)} per {UNITS.get(after, after)}"
            if before
            else ""
        )
    return f" in {UNITS[parts[-1]]}" if len(parts) > 1 and parts[-1] in UNITS else ""


def _number(kind: str, key: str, value: Any) -> str:
    text = f"must be {kind}{_unit(key)} (got {value!r})"
    if isinstance(value, str) and re.match(r"^\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*[A-Za-z%/]+\s*$", value):
        text += "; the unit is in the key's name, write the number alone"
    return text


def _sentence(error: Any, model: type[BaseModel], location: Location, of_component: bool) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    key = str(location[-1]) if location else ""
    if kind == "extra_forbidden":
        owner = _model_at(model, location[:-1])
        known = sorted(owner.model_fields) if owner else []
        if of_component and len(location) == 1:
            known = sorted([*known, "name"])  # which component it is stands among its options
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]!r}?" if near else f" Known here: {', '.join(known) or 'none'}."
        return f"unknown key.{hint}"
    if kind == "missing":
        owner = _model_at(model, location[:-1])
        about = owner.model_fields[key].description if owner and key in owner.model_fields else None
        return f"is missing{f': {about}' if about else ''}"
    bounds = {
        "greater_than": ("greater than", "gt"),
        "greater_than_equal": ("at least", "ge"),
        "less_than": ("less than", "lt"),
        "less_than_equal": ("at most", "le"),
    }
    if kind in bounds:
        words, name = bounds[kind]
        return f"must be {words} {context[name]:g} (got {value!r})"
    if kind in ("float_parsing", "float_type"):
        return _number("a number", key, value)
    if kind in ("int_parsing", "int_type", "int_from_float"):
        return _number("a whole number", key, value)
    if kind == "finite_number":
        return f"must be finite (got {value!r})"
    if kind in ("bool_parsing", "bool_type"):
        return f"must be true or false (got {value!r})"
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", context["expected"])
        near = difflib.get_close_matches(str(value), allowed, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"must be {context['expected']} (got {value!r}).{hint}"
    if kind in ("string_type", "path_type"):
        return f"must be text (got {value!r})"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"must be a block of keys (got {value!r})"
    if kind in ("tuple_type", "list_type"):
        return f"must be a list (got {value!r})"
    if kind == "value_error":
        return str(context["error"])
    return f"{error['msg'][:1].lower()}{error['msg'][1:]} (got {value!r})"


def explain(
    error: ValidationError, model: type[BaseModel], prefix: Location, where: Callable[[Location], str]
) -> str:
    """Write one line per finding: where it is, what is wrong, what is allowed, the way out.

    Args:
        error: What pydantic raised.
        model: The model that it was validating.
        prefix: Where the validated block stands in the scenario.
        where: Words for the place of a key: file, or command-line option.
    """
    lines: dict[str, None] = {}
    for one in error.errors(include_url=False):
        # Pydantic puts the names of union members and of validators into the path; keys are what the reader knows.
        location = tuple(
            part
            for part in one["loc"]
            if isinstance(part, int)
            or not re.search(r"^(function-|nullable|float$|int$|str$|tuple\[|\[key\])", part)
        )
        full = (*prefix, *location)
        path = ".".join(str(part) for part in full)
        place = f"{where(full)}: {path}" if path else where(full)
        lines[f"{place}: {_sentence(one, model, location, bool(prefix))}"] = None
    return "\n".join(lines)
