"""Tells which keys of a run's scenario were changed, and refuses those that decide what is learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Any

from netsim.core.errors import ScenarioError
from netsim.scenario.loading import Plan

LEARNT: Mapping[str, str] = {
    "seed": "all randomness follows from it",
    "rounds": "the records have no more, and of fewer the last would be evaluated",
    "devices.count": "other devices would learn",
    "devices.classes.*.networks": "other networks would learn",
    "protocol.name": "devices would learn from each other in another way",
    "data": "something else would be learnt from",
    "partition": "devices would learn from other samples",
    "learner": "it would be learnt in another way",
    "costs.stated.iterations": "more or less would be trained",
    "stop": "the records have no more rounds, and of fewer the last would be evaluated",
    "evaluation": "the records have no other measurements",
    "jobs": "nothing is trained here",
}
"""Keys that can never be changed, and why."""


def changes(was: Plan, now: Plan) -> dict[str, list[Any]]:
    """Return the keys whose values differ between two plans, with the old and the new value.

    Raises:
        ScenarioError: One of them decides what is learnt, or none differs; a line for each.
    """
    before, after = dict(_leaves(was.resolved())), dict(_leaves(now.resolved()))
    found = {
        key: [before.get(key), after.get(key)]
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    }
    wrong = [
        f"--set {key}: cannot be changed without learning again: {why}; use netsim run {was.file}"
        for key in found
        for kept, why in LEARNT.items()
        if fnmatch(key, kept) or fnmatch(key, f"{kept}.*")
    ]
    if wrong:
        raise ScenarioError("\n".join(wrong))
    if not found:
        raise ScenarioError(
            "--set: nothing differs from the run; say what, like --set radio.bandwidth_hz=1e6"
        )
    return found


def _leaves(block: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a block, by the path of their key."""
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value
