"""A sweep: one scenario many times, with other values of some keys and other seeds."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.scenario.explain import explain
from netsim.scenario.loading import Plan, load_plan
from netsim.scenario.points import MOST_RUNS, Sample, Study
from netsim.scenario.yaml_file import as_settings, as_yaml, read_yaml

LONGEST_LABEL = 80
"""Characters of a run folder's name that say what was changed."""

ONE_CORE = {"jobs.executor": "inline", "jobs.threads": 1, "jobs.stacking": "off"}
"""How each run works unless the sweep or its scenario says otherwise: on one core, and to the same bytes every time."""


class Sweep(Options):
    """The file of a sweep. Its runs are all combinations of ``points``, ``grid``, ``sample`` and ``seeds``.

    With a ``study`` they are its points with each of the seeds.
    """

    scenario: Path = Field(description="the scenario, beside the file of the sweep")
    set: dict[str, Any] = Field({}, description="keys of the scenario with other values in all runs")
    points: list[dict[str, Any]] = Field(
        [{}], min_length=1, description="values by key, that go together; each entry is a point"
    )
    grid: dict[str, list[Any]] = Field({}, description="by key the values that are combined with all others")
    sample: Sample | None = Field(None, description="points drawn from ranges")
    study: Study | None = Field(None, description="points that are searched for, in place of those three")
    seeds: int | list[int] = Field(1, description="how many seeds, from 0, or a list of them")

    @model_validator(mode="after")
    def _its_runs(self) -> Sweep:
        listed = self.seeds if isinstance(self.seeds, list) else range(self.seeds)
        if not listed or (isinstance(listed, list) and min(listed) < 0):
            raise ValueError(
                "seeds: must be a number of seeds, at least 1, or a list of seeds, each at least 0"
            )
        if empty := [key for key, values in self.grid.items() if not values]:
            raise ValueError(f"grid.{empty[0]}: must have at least one value")
        count = len(listed) * len(self.points) * math.prod(map(len, self.grid.values()))
        count *= self.sample.count if self.sample else 1
        count *= self.study.trials if self.study else 1
        if self.study and (self.points != [{}] or self.grid or self.sample):
            raise ValueError("study: goes without points, grid and sample; its own keys say what is varied")
        if count > MOST_RUNS:
            raise ValueError(f"must have at most {MOST_RUNS:,} runs (has {count:,})")
        varied = {"points": set().union(*self.points), "grid": {*self.grid}}
        varied["sample"] = {*self.sample.keys} if self.sample else set()
        varied["study"] = {*self.study.keys} if self.study else set()
        for block, keys in {"set": {*self.set}, **varied}.items():
            if "seed" in keys:
                raise ValueError(f"{block}.seed: must be left out; seeds says which seeds there are")
            if block != "set" and "name" in keys:
                raise ValueError(f"{block}.name: must be the same in all runs; folders say what was changed")
            for other, others in varied.items():
                if other != block and (twice := sorted(keys & others)):
                    raise ValueError(f"{block}.{twice[0]}: has values in {other}, too")
        return self


@dataclass(frozen=True)
class Case:
    """One run of a sweep.

    Attributes:
        changed: Values of the keys that differ between runs.
        seed: Its seed.
        settings: All that the run changes, as ``key=value``.
        name: Its folder's name: what was changed, a hash of all it depends on, and the seed.
    """

    changed: Mapping[str, Any]
    seed: int
    settings: tuple[str, ...]
    name: str


@dataclass(frozen=True)
class Cases:
    """A sweep, checked.

    Attributes:
        name: The file's name without its suffix.
        plan: The scenario as its first run has it.
        cases: Its runs, seed by seed, so that an interrupted sweep has compared all points on some seeds; none of a
            study, whose points follow from what comes out.
        study: What is searched for; None: nothing.
        seeds: The seeds of each point.
        case: Makes the run of a point with a seed.
    """

    name: str
    plan: Plan
    cases: Sequence[Case]
    study: Study | None
    seeds: Sequence[int]
    case: Callable[[Mapping[str, Any], int], Case]

    @property
    def count(self) -> int:
        """Return the number of runs, at most: a study may ask for a point twice."""
        return self.study.trials * len(self.seeds) if self.study else len(self.cases)


def load_sweep(file: Path, say: Callable[[str], None] = lambda text: None) -> Cases:
    """Read a sweep, and check every point of it before anything runs.

    Args:
        file: The sweep.
        say: Shows the user which files of code of their own the scenario brings in, once each.

    Raises:
        ScenarioError: Anything that is wrong with it, or with the scenario at any of its points; a line a finding.
    """
    tree = read_yaml(file)
    try:
        sweep = Sweep.model_validate(tree)
    except ValidationError as error:
        raise ScenarioError(explain(error, Sweep, (), lambda _: str(file))) from None
    path = (file.parent / sweep.scenario).resolve()
    if not path.is_file():
        raise ScenarioError(f"{file}: scenario: no such file: {path}")
    written, text = read_yaml(path), path.read_bytes()
    jobs: Any = written.get("jobs")
    jobs = jobs if isinstance(jobs, dict) else {}
    alone = {key: value for key, value in ONE_CORE.items() if key.partition(".")[2] not in jobs}
    fixed = alone | sweep.set
    listed = sweep.seeds if isinstance(sweep.seeds, list) else list(range(sweep.seeds))
    seeds = list(dict.fromkeys(listed))
    points = (
        sweep.study.ends() if sweep.study else [*{as_yaml(point): point for point in _points(sweep)}.values()]
    )
    found: dict[str, None] = {}
    plans = []
    said: set[str] = set()

    def say_once(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    for point in points:
        try:
            plans.append(load_plan(path, as_settings(fixed | point), say_once))
        except ScenarioError as error:
            found |= {
                f"{file}: with {_label(point) or 'no change'}: {line}": None
                for line in str(error).splitlines()
            }
    if found:
        raise ScenarioError("\n".join(found))

    def case(point: Mapping[str, Any], seed: int) -> Case:
        settings = as_settings({**fixed, **point, "seed": seed})
        digest = hashlib.sha256(text + json.dumps(sorted(settings)).encode()).hexdigest()[:8]
        label = re.sub(r"[^A-Za-z0-9._=+-]+", "_", _label(point))[:LONGEST_LABEL].strip("._ ")
        name = "-".join(part for part in (label, digest, f"seed{seed}") if part)
        return Case(point, seed, tuple(settings), name)

    if sweep.study:
        return Cases(file.stem, plans[0], (), sweep.study, seeds, case)
    cases = [case(point, seed) for seed, point in itertools.product(seeds, points)]
    return Cases(file.stem, plans[0], cases, None, seeds, case)


def _points(sweep: Sweep) -> Iterator[dict[str, Any]]:
    drawn = sweep.sample.points() if sweep.sample else [{}]
    for listed, sampled in itertools.product(sweep.points, drawn):
        for values in itertools.product(*sweep.grid.values()):
            yield {**listed, **sampled, **dict(zip(sweep.grid, values, strict=True))}


def _label(point: Mapping[str, Any]) -> str:
    """Say what a point changes, in short."""
    return ",".join(f"{key.rpartition('.')[2]}={short(value)}" for key, value in point.items())


def short(value: Any) -> str:
    """Write a value for people: 1e+06, not 1000000.0."""
    return f"{value:.6g}" if isinstance(value, float) else as_yaml(value)
