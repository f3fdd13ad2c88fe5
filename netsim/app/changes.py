"""Which keys of a run's scenario can be changed without learning anything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Any

from netsim.core.errors import ScenarioError
from netsim.scenario.loading import Plan

LEARNT: Mapping[str, str] = {
    "seed": "all that is drawn would be other draws",
    "rounds": "more rounds are not in the records, and of fewer the last would be evaluated; the tables can be cut off",
    "devices.count": "other devices would learn",
    "devices.classes.*.networks": "other networks would learn",
    "protocol.name": "others would learn from whom they hear",
    "data": "it is what is learnt from",
    "partition": "it is who learns from what",
    "learner": "it is how it is learnt",
    "costs.stated.iterations": "it is how long is trained",
    "evaluation": "only what was measured is in the records",
    "jobs": "nothing is trained, so it would change nothing",
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
        f"--set {key}: {why}; run it anew"
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
