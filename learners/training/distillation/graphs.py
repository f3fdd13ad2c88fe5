"""Directed graphs of teachers and students over the links of the radio (MHD, Section 4.4 and Figure 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from netsim.core.errors import ScenarioError

if TYPE_CHECKING:
    import networkx as nx

Named = Literal["neighbours", "complete", "islands", "cycle", "baseline"]
Pairs = tuple[tuple[int, int], ...]
Choice = Named | Pairs
Teachers = dict[int, tuple[int, ...]]


def teachers(choice: Choice, links: nx.Graph, island_size: int) -> Teachers:
    """Return e(i): the devices that each device learns from, in the order of their numbers.

    ``neighbours``: all that it hears. ``complete``: all others; ``baseline``, the third graph of Figure 5, is the same,
    as the paper's text has it (the drawing is not in it): every agent may learn from any other. ``islands``: the others
    of its group, groups being of ``island_size`` consecutive numbers. ``cycle``: the one before it, and the last one's
    student is the first.

    Args:
        choice: A name, or pairs [teacher, student].
        links: Who hears whom.
        island_size: Devices of an island.

    Raises:
        ScenarioError: A pair names a device that is not there, or somebody shall learn from one that it does not hear.
    """
    count = len(links)
    if choice == "neighbours":
        return {k: tuple(sorted(links[k])) for k in range(count)}
    found = {k: tuple(_named(choice, k, count, island_size)) for k in range(count)}
    if not isinstance(choice, str):
        found = _given(choice, count)
    for student, own in found.items():
        for teacher in own:
            if not links.has_edge(teacher, student):
                raise ScenarioError(
                    f"learner.graph: device {student} is to learn from device {teacher}, but they have no link; link "
                    "them (topology.links: {name: edges, ...}, or a greater range_m), or use graph: neighbours"
                )
    return found


def _named(choice: Choice, k: int, count: int, island_size: int) -> Sequence[int]:
    if choice in ("complete", "baseline"):
        return [n for n in range(count) if n != k]
    if choice == "islands":
        first = k - k % island_size
        return [n for n in range(first, min(first + island_size, count)) if n != k]
    if choice == "cycle":
        return [(k - 1) % count] if count > 1 else []
    return []


def _given(pairs: Pairs, count: int) -> Teachers:
    found: dict[int, set[int]] = {k: set() for k in range(count)}
    for teacher, student in pairs:
        if teacher == student or not {teacher, student} <= set(found):
            raise ScenarioError(
                f"learner.graph: [{teacher}, {student}] must name two different devices from 0 to {count - 1}, "
                "the teacher first"
            )
        found[student].add(teacher)
    return {k: tuple(sorted(own)) for k, own in found.items()}


def in_round(schedule: Mapping[int, Teachers], round: int) -> Teachers:
    """Return the graph of ``round``: of those that begin no later, the one that begins last."""
    return schedule[max(first for first in schedule if first <= round)]
