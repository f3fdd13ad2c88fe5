"""Runs by what is compared: groups, and the runs of two groups that belong together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from analysis.compare import refuse_repeats, settings_of
from analysis.runs.files import RunError
from analysis.runs.run import Run

MOST_NAMED = 8
"""Keys that an error names."""


def groups_by(runs: Sequence[Run], keys: Sequence[str]) -> dict[str, list[Run]]:
    """Group runs by their values of ``keys``; runs of a group differ in nothing else but the seed.

    A key ``learner.name`` stands for the whole block ``learner``, for a learner brings keys of its own.

    Returns:
        Runs by label, in the order in which they are given; without keys all are one group, ``all``.

    Raises:
        RunError: A key is in no run; runs of a group differ in other keys; or two are one scenario with one seed.
    """
    settings = {id(run): settings_of(run) for run in runs}
    for key in keys:
        if not any(_has(own, key) for own in settings.values()):
            near = get_close_matches(key, {name for own in settings.values() for name in own})
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise RunError(f"--by {key}: no run has this key{hint}")
    groups: dict[str, list[Run]] = {}
    for run in runs:
        values = [_value(settings[id(run)], key) for key in keys]
        label = ", ".join(
            str(value) if len(keys) == 1 or key.endswith("name") else f"{key.split('.')[-1]}={value}"
            for key, value in zip(keys, values, strict=True)
        )
        groups.setdefault(label or "all", []).append(run)
    for label, group in groups.items():
        differing = _differing([settings[id(run)] for run in group], keys)
        if differing:
            raise RunError(_differ(differing, group, label, keys))
        refuse_repeats(group)
    return groups


def _has(settings: Mapping[str, Any], key: str) -> bool:
    return any(name == key or name.startswith(f"{key}.") for name in settings)


def _value(settings: Mapping[str, Any], key: str) -> str:
    block = {name: value for name, value in settings.items() if name == key or name.startswith(f"{key}.")}
    value = block.get(key, block)
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _differing(settings: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """Return the keys in which some settings differ, without those that ``keys`` cover."""
    covered = [key.removesuffix("name") if key.endswith(".name") else f"{key}." for key in keys]
    covered += ["learner_name"] if any(key.split(".")[0] == "learner" for key in keys) else []
    names = dict.fromkeys(name for own in settings for name in own)
    return [
        name
        for name in names
        if len({json.dumps(own.get(name), default=str) for own in settings}) > 1
        and name not in keys
        and not name.startswith(tuple(covered))
    ]


def _differ(differing: Sequence[str], group: Sequence[Run], label: str, keys: Sequence[str]) -> str:
    names = ["learner.name" if name == "learner_name" else name for name in differing]
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    what = f"the runs of {label!r}" if keys else "the runs"
    first = "learner.name" if "learner.name" in names else names[0]
    by = " ".join(f"--by {key}" for key in (*keys, first))
    return (
        f"{group[0].folder}: {what} differ in {', '.join(names[:MOST_NAMED])}{more}; compare them {by}, or "
        "leave some out: only runs that differ in nothing but the seed are samples of one thing"
    )


def pairs(a: Sequence[Run], b: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Return the runs of both groups with the same seed: they have the same partition, positions and fading."""
    by_seed = {run.seed: run for run in b}
    return [(run, by_seed[run.seed]) for run in a if run.seed in by_seed]
