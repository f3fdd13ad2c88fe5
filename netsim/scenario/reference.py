"""Writes every key of a scenario with its type, default and meaning, as Markdown, from the models themselves."""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from netsim.core import registry
from netsim.core.errors import ScenarioError
from netsim.scenario.model import COMPONENTS, Component, Scenario

_WORDS = {float: "number", int: "whole number", str: "text", bool: "true or false", type(None): "null"}


def _type(annotation: Any) -> str:
    """Return the name of a key's type."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin is typing.Annotated:
        return _type(parts[0])
    if origin is typing.Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(part) for part in parts))
    if origin in (tuple, list):
        return f"list of {_plural(_type(parts[0]))}" if parts else "list"
    if origin is dict:
        return f"{_type(parts[1])} by {_type(parts[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Component):
        return "component"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "block"
    return "path" if getattr(annotation, "__name__", "") == "Path" else "value"


def _plural(words: str) -> str:
    """Form the plural: blocks, whole numbers, texts, lists of texts."""
    head, of, rest = words.partition(" of ")
    return f"{head}s of {rest}" if of else {"text": "texts"}.get(words, f"{words}s")


def _default(field: FieldInfo) -> str:
    """Write the default of a key as a scenario would."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, Component):
        return f"`{value.name}`"
    if isinstance(value, BaseModel):
        return "see its keys"
    if isinstance(value, float) and math.isinf(value):
        return "`.inf`"
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    if isinstance(value, tuple | list | dict):
        return f"`{list(value) if isinstance(value, tuple) else value}`"
    return f"`{value}`" if value != "" else "empty"


def _about(model: type[BaseModel], key: str, field: FieldInfo) -> str:
    """Find the meaning of a key: the field's description, or its entry under ``Attributes:`` in a class's docstring."""
    text = field.description or ""
    for owner in model.__mro__ if not text else ():
        entry = re.search(rf"^ {{4}}{key}: (.*(?:\n {{8}}.*)*)", inspect.getdoc(owner) or "", re.MULTILINE)
        if entry:
            text = re.sub(r":class:`[\w.]*?(\w+)`", r"`\1`", entry[1]).replace("``", "`")
            break
    text = re.sub(r"\s+", " ", text).strip().replace("|", "\\|")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for key, field in model.model_fields.items():
        name = f"{prefix}{key}"
        yield f"| `{name}` | {_type(field.annotation)} | {_default(field)} | {_about(model, key, field)} |"
        inner = _inner(field.annotation)
        if inner is not None:
            origin = typing.get_origin(field.annotation)
            which = "[]" if origin in (tuple, list) else ".<name>" if origin is dict else ""
            yield from _rows(inner, f"{name}{which}.")


def _inner(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type):
        return (
            annotation
            if issubclass(annotation, BaseModel) and not issubclass(annotation, Component)
            else None
        )
    for part in typing.get_args(annotation):
        if (found := _inner(part)) is not None:
            return found
    return None


HEAD = "| key | type | default | meaning |\n| --- | --- | --- | --- |"


def keys() -> str:
    """Write the table of the scenario's own keys."""
    return "\n".join([HEAD, *_rows(Scenario, "")])


def component_keys(kind: str) -> str:
    """Write the line of explanation and the table of keys of every registered component of ``kind``."""
    parts = []
    for name, about in registry.describe(kind):
        parts.append(f"**`{name}`**: {about}")
        try:
            model = registry.entry(kind, name).options
        except ScenarioError:
            continue
        if model.model_fields:
            parts.append("\n".join([HEAD, *_rows(model, "")]))
    return "\n\n".join(parts)


def _list(words: list[str]) -> str:
    """Join words: one, two and three."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def reference() -> str:
    """Write the whole reference: the scenario's keys, then those of every component, by kind."""
    places: dict[str, list[str]] = {kind: [] for kind in registry.KINDS}
    for path, kind in COMPONENTS.items():
        places[kind].append(f"`{'.'.join(path)}`")
    places["networks"] = ["`learner.networks.<modality>`", "`devices.classes.<name>.networks.<modality>`"]
    places["datasets"].append("`learner.public`")
    places["metrics"] = ["`evaluation.metrics`"]
    places["schedules"] = ["`learner.schedule`"]
    places["compressors"] = ["`learner.compression`"]
    places["server_optimizers"] = ["`learner.server_optimizer`"]
    sections = ["## Keys of a scenario\n\n" + keys()]
    for kind, about in registry.KINDS.items():
        sections.append(f"## {kind}: {about}\n\nNamed in {_list(places[kind])}.\n\n{component_keys(kind)}")
    return "\n\n".join(sections) + "\n"
