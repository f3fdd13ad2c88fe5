"""Reads text of a run's folder, which may be from a stranger: nothing very long, deep or repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

LONGEST = 16_000_000
"""Characters that a file may have; a scenario may have a fourth of them, for YAML is read slowly."""

MOST_VALUES = 100_000
"""Values that a scenario may have: those that netsim takes, and defaults."""


class RunError(Exception):
    """A folder that cannot be read: the message says what was searched, the path, and the way out."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class _Loader(yaml.SafeLoader):
    """The safe loader with a limit on values, and without aliases, by which few lines can mean a great many."""

    values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node that is no alias."""
        self.values += 1
        if self.check_event(yaml.AliasEvent) or self.values > MOST_VALUES:
            raise ValueError(f"has aliases or more than {MOST_VALUES:,} values, and no run writes such")
        return super().compose_node(parent, index)


def read_text(path: Path, longest: int) -> str:
    """Read a text file of at most ``longest`` characters.

    Raises:
        RunError: It cannot be read, or is longer than what runs write.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(longest + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read as text ({error}); the run may have been damaged") from error
    if len(text) > longest:
        raise RunError(f"{path}: has more than {longest:,} characters, and no run writes so many")
    return text


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RunError: It cannot be read, or is something else.
    """
    try:
        content = json.loads(read_text(path, LONGEST))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: not readable as JSON ({error}); the run may have been damaged") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: must hold a JSON object, found a {type(content).__name__}")
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises:
        RunError: It cannot be read, has aliases or very many values, or is something else.
    """
    text = read_text(path, LONGEST // 4)
    try:
        content = yaml.load(text, Loader=_Loader) or {}
    except Exception as error:  # of a damaged file: of many kinds
        raise RunError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: must hold a mapping of keys, found a {type(content).__name__}")
    return content
