"""Every key that a scenario can have, values of it that are not its default, and the run of a scenario with them."""

from __future__ import annotations

import inspect
import json
import math
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from bookkeeping import check_joules, check_times, check_transfers
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from netsim.app.commands.cli import app
from netsim.core import registry
from netsim.scenario.model import COMPONENTS, Scenario
from netsim.scenario.reference import _inner
from netsim.scenario.yaml_file import read_yaml, write_yaml

Tree = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """A key of the reference.

    Attributes:
        name: As the reference has it, for a component's behind its kind and name: ``radio.outage_snr_db``,
            ``channels.rayleigh.reciprocal``.
        field: What the model says of it.
        kind: The kind of component that it belongs to; empty for the scenario's own.
        component: Name of that component.
    """

    name: str
    field: FieldInfo
    kind: str = ""
    component: str = ""

    @property
    def key(self) -> str:
        """The key inside its component, or the scenario."""
        return self.name.removeprefix(f"{self.kind}.{self.component}.") if self.kind else self.name


def scenario_keys(model: type[BaseModel] = Scenario, prefix: str = "") -> Iterator[Key]:
    """The scenario's own keys that have a value: blocks are their keys, components their names."""
    for key, field in model.model_fields.items():
        inner = _inner(field.annotation)
        if inner is None:
            yield Key(f"{prefix}{key}", field)
        else:
            origin = typing.get_origin(field.annotation)
            which = "[]" if origin in (tuple, list) else ".<name>" if origin is dict else ""
            yield from scenario_keys(inner, f"{prefix}{key}{which}.")


def component_keys(kind: str) -> Iterator[Key]:
    """Keys of all registered components of ``kind``; those that several inherit from one block come once."""
    seen = set()
    for component in registry.names(kind):
        model = registry.load(kind, component).Options
        for key, field in model.model_fields.items():
            owner = next(cls for cls in model.__mro__ if key in inspect.get_annotations(cls))
            if (owner, key) not in seen:
                seen.add((owner, key))
                yield Key(f"{kind}.{component}.{key}", field, kind, component)


def other_values(key: Key, given: Mapping[str, Sequence[Any]]) -> list[Any]:
    """Values of ``key`` that are not its default: those ``given`` by name, each other choice, or a number in bounds."""
    return list(given[key.name] if key.name in given else _others(key.field.annotation, key.field))


def _others(annotation: Any, field: FieldInfo) -> Iterator[Any]:
    default = field.get_default(call_default_factory=True, validated_data={})
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        yield from (part for part in parts if part != default)
    elif origin is Annotated:
        yield from _others(parts[0], field)
    elif parts and type(None) in parts:
        for part in parts:
            yield from _others(part, field) if part is not type(None) else ()
    elif annotation is bool:
        yield not default
    elif annotation in (int, float):
        number = default if isinstance(default, int | float) and math.isfinite(default) else 1
        for candidate in (number / 2, 2 * number, number + 1, number - 1, number + 0.5):
            value = annotation(candidate)
            if value == candidate != default and _fits(value, field):
                yield value
                return


def _fits(value: Any, field: FieldInfo) -> bool:
    try:
        TypeAdapter(Annotated[field.annotation, field]).validate_python(value)
    except ValidationError:
        return False
    return True


def nest(name: str, value: Any) -> Tree:
    """The tree of a scenario in which the key ``name`` of the reference is ``value``."""
    head, _, rest = name.partition(".")
    inner = nest(rest, value) if rest else value
    if head.endswith("[]"):
        return {head[:-2]: [{"devices": [0], **inner}]}
    return {"one" if head == "<name>" else head: inner}


def merge(base: Tree, change: Tree) -> Tree:
    """``base`` with what ``change`` says; another component takes the place of the one that was there."""
    if "name" in change and base.get("name", change["name"]) != change["name"]:
        return change
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def places(kind: str) -> list[str]:
    """Where a scenario names components of ``kind``."""
    return [".".join(path) for path, of in COMPONENTS.items() if of == kind]


def run(tree: Tree, folder: Path) -> Path:
    """Run the scenario ``tree`` as a person would, below ``folder``; returns the run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    number = sum(1 for _ in folder.glob("*.yaml"))
    path = folder / f"{number}.yaml"
    path.write_text(write_yaml(tree), encoding="utf-8")
    words = ["run", path, "--no-plots", "--quiet", "--runs", folder, "--run-id", str(number)]
    done = CliRunner().invoke(app, [*map(str, words), "--cache", str(folder / "cache")])
    assert done.exit_code == 0, (tree, done.output, done.exception)
    return folder / tree.get("name", path.stem) / str(number)


def check(folder: Path) -> None:
    """See whether the records of a run are there and agree with each other.

    Raises:
        AssertionError: They are not, or do not.
    """
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == json.loads((folder / "metadata.json").read_text())["status"] == "finished"
    rounds, outside, transfers = (table(folder, name) for name in ("rounds", "outside", "transfers"))
    server, edges = (
        table(folder, n) if (folder / f"{n}.parquet").exists() else [] for n in ("server", "edges")
    )
    nodes = table(folder, "devices")
    end_s = summary["simulated_s"]
    check_transfers(transfers)
    total_j = 0.0
    for node in nodes:
        of_server = node.role != "device"
        own = [row for row in [*rounds, *outside] if row.device == node.device]
        own += [*(server if of_server else []), *(row for row in edges if row.server == node.device)]
        own = sorted(own, key=lambda row: (row.start_s, row.end_s))
        check_times(own, end_s)
        sent = [row for row in transfers if row.sender == node.device]
        spent_j = check_joules(own, sent, node.battery_j)
        total_j += 0.0 if of_server else spent_j
    mean_j = total_j / sum(node.role == "device" for node in nodes)
    assert math.isclose(summary["energy_per_device_j"]["mean"], mean_j, rel_tol=1e-9, abs_tol=1e-12)
    bits = math.fsum(row.sent_bits for row in transfers)
    assert math.isclose(summary["sent_bits"], bits, rel_tol=1e-9)
    assert sum(summary["transfers"].values()) == len(transfers)
    assert sum(summary["round_outcomes"].values()) == len(rounds)


def table(folder: Path, name: str) -> list[Any]:
    """Rows of a table."""
    return list(pd.read_parquet(folder / f"{name}.parquet").itertuples(index=False))


def recorded(folder: Path, name: str) -> Any:
    """What the resolved scenario in a run's ``folder`` says about the key ``name``."""
    here: Any = read_yaml(folder / "scenario.yaml")
    for part in name.replace("[]", ".0").split("."):
        here = (
            here[int(part)] if isinstance(here, list | tuple) else here["one" if part == "<name>" else part]
        )
    return here["name"] if isinstance(here, dict) and isinstance(here.get("name"), str) else here
