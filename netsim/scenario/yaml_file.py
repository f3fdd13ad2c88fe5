"""Reads YAML as its reader reads it: 5e5 is a number, on is a word, 12:30 is not 750."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from netsim.core.errors import ScenarioError
from netsim.core.options import LARGEST

LONGEST = 2_000_000
"""Characters that a file may have; so many values as it may have, written out, have fewer."""

DEEPEST = 50
"""Levels of blocks within blocks that a file may have."""

MOST_VALUES = 50_000
"""Values that a file may have, those of aliases counted wherever they are used."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """The safe loader with YAML 1.2's scalars, no silent second key, and limits."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0
        self._values_in: dict[int, int] = {}  # by the id of a node

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node of limited depth and size."""
        event, before = self.peek_event(), self._values
        self._depth += 1
        if self._depth > DEEPEST:
            raise _at(event, f"blocks are more than {DEEPEST} levels deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            self._values += self._values_in.get(id(node), MOST_VALUES)  # else it is within itself
        else:
            self._values += 1
            self._values_in[id(node)] = self._values - before
        if self._values > MOST_VALUES:
            raise _at(
                event, f"more than {MOST_VALUES:,} values, those of aliases counted wherever they are used"
            )
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Construct a value; say where one does not fit the tag before it."""
        try:
            value = super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as error:
            tag = node.tag.rpartition(":")[2]
            raise _at(node, f"not what its tag says (!!{tag}): {type(error).__name__}") from None
        if isinstance(value, str) and _UNPRINTABLE.search(value):
            raise _at(node, "text must not have control characters or halves of surrogate pairs")
        return value


def _at(place: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, place.start_mark)


_Loader.yaml_implicit_resolvers = {}
_SCALARS = [
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:int", r"^[-+]?[0-9]+$", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+.0123456789",
    ),
]
for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    # YAML 1.1 would read 010 as 8. Python refuses to read thousands of digits.
    value = int(node.value) if len(node.value) < 100 else LARGEST
    if abs(value) >= LARGEST:
        raise _at(node, f"whole numbers must be smaller than 2^63 (this one has {len(node.value)} digits)")
    return value


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, Hashable):  # else it is refused below
            if key in seen:
                raise _at(key_node, f"key {key!r} stands twice in one block")
            seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ScenarioError(f"{where}{place}: not readable as YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ScenarioError(f"{where}: not readable as YAML: {' '.join(str(error).split())}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises:
        ScenarioError: The file is missing, is too long, is no text, is not YAML, or holds no mapping.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
    except FileNotFoundError:
        near = sorted(str(p) for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        hint = f" Scenarios there: {', '.join(near[:8])}." if near else ""
        raise ScenarioError(f"{path}: no such file.{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read as text: {error}") from None
    if len(text) > LONGEST:
        raise ScenarioError(
            f"{path}: has more than {LONGEST:,} characters, the most that a scenario may have; long lists can have "
            "files of their own, like those of topology.links.file"
        )
    value = _parse(text, str(path))
    if not isinstance(value, dict):
        raise ScenarioError(
            f"{path}: must hold a mapping of keys like 'rounds: 80' (got {type(value).__name__})"
        )
    return value


def parse_value(text: str, where: str) -> Any:
    """Read one value as YAML does, for ``--set key=value``."""
    return _parse(text, where)


def write_yaml(value: dict[str, Any]) -> str:
    """Write YAML text that :func:`read_yaml` reads back to the same value."""

    def number(dumper: yaml.SafeDumper, item: float) -> yaml.Node:
        text = repr(item)
        if math.isinf(item):
            text = ".inf" if item > 0 else "-.inf"
        return dumper.represent_scalar("tag:yaml.org,2002:float", text)

    class Dumper(yaml.SafeDumper):
        yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers  # what to quote, so that "5e5" stays text

    Dumper.add_representer(float, number)
    return str(yaml.dump(_plain(value), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110))


class _OneLine(yaml.SafeDumper):
    """The safe dumper, which also quotes a text that would be read as a number here, such as 5e5."""


for _tag, _pattern, _first in _SCALARS:
    _OneLine.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


def as_settings(values: Mapping[str, Any], where: str = "") -> list[str]:
    """Write keys and values as ``--set`` has them; see :func:`as_yaml` for ``where``."""
    return [f"{key}={as_yaml(value, f'{where}{key}')}" for key, value in values.items()]


def as_yaml(value: Any, where: str = "") -> str:
    """Write one value as :func:`parse_value` reads it, on one line; NumPy's numbers and arrays as Python's.

    Raises:
        ScenarioError: A scenario has no such values; ``where`` says where it stands.
    """
    try:
        text = yaml.dump(_plain(value), Dumper=_OneLine, default_flow_style=True, width=math.inf)
    except yaml.YAMLError:
        raise ScenarioError(
            f"{where}: a scenario has numbers, texts, truth values, lists and mappings (got {value!r})"
        ) from None
    return str(text).removesuffix("...\n").strip()


def _plain(value: Any) -> Any:
    """Return ``value`` of the types that YAML has."""
    if isinstance(value, Mapping):
        return {key: _plain(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    if isinstance(value, Path):
        return str(value)
    return value.tolist() if hasattr(value, "tolist") else value
