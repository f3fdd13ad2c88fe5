"""Reads which scenarios are regressions: how they are made short, and how far their numbers may be off."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.scenario.explain import explain
from netsim.scenario.yaml_file import read_yaml

STORED = "expected"
"""Folder beside the scenarios, with a file of numbers for each."""

PLAN = "regressions.yaml"
"""Name of the file, beside the numbers. Without it all scenarios of the folder are run as they are."""


VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class Tolerance(Options):
    """Block of a number's name or pattern: how far it may be off; the larger of both counts."""

    relative: float = Field(0.0, ge=0, description="share of the stored value")
    absolute: float = Field(0.0, ge=0, description="in the number's own unit")


TOLERANCES = {"*": Tolerance(relative=1e-9), "accuracy*": Tolerance(absolute=0.1)}
"""Seconds, joules and bits are arithmetic. Accuracies are learnt in float32, which rounds differently elsewhere."""


class Case(Options):
    """Block of a scenario."""

    set: dict[str, Any] = Field(default_factory=dict, description="keys that are changed, to make it short")
    needs: str | None = Field(None, description="folder without which it is skipped")
    tolerances: dict[str, Tolerance] = Field(
        default_factory=dict, description="by name or pattern of a number"
    )


class Plan(Options):
    """The file ``regressions.yaml``."""

    set: dict[str, Any] = Field(default_factory=dict, description="keys that are changed in all scenarios")
    tolerances: dict[str, Tolerance] = Field(default_factory=dict, description="of all scenarios")
    scenarios: dict[str, Case] | None = Field(None, description="scenarios to run, by file name; null: all")


def read_plan(folder: Path) -> Plan:
    """Return the plan of a folder of scenarios, environment variables replaced: ``${NAME}`` or ``${NAME:-default}``.

    Raises:
        ScenarioError: It has unknown keys or wrong values.
    """
    file = folder / STORED / PLAN
    if not file.is_file():
        return Plan()
    try:
        return Plan.model_validate(_expanded(read_yaml(file)))
    except ValidationError as error:
        raise ScenarioError(explain(error, Plan, (), lambda _: str(file))) from None


def _expanded(value: Any) -> Any:
    """Return a value with environment variables in its texts replaced; one that is not set and has no default stays."""
    if isinstance(value, dict):
        return {key: _expanded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_expanded(one) for one in value]
    return VARIABLE.sub(_variable, value) if isinstance(value, str) else value


def _variable(found: re.Match[str]) -> str:
    return os.environ.get(found[1], found[0] if found[2] is None else found[2])
