"""Who learns from whom."""

from __future__ import annotations

from typing import Any

import networkx as nx
import pytest

from learners.training.distillation.graphs import in_round, teachers
from learners.training.distillation.options import MHDOptions
from netsim.core.errors import ScenarioError

ALL = nx.complete_graph(5)


def test_neighbours_are_all_that_a_device_hears() -> None:
    assert teachers("neighbours", nx.path_graph(4), 2) == {0: (1,), 1: (0, 2), 2: (1, 3), 3: (2,)}
    alone = nx.Graph()
    alone.add_nodes_from(range(2))
    assert teachers("neighbours", alone, 2) == {0: (), 1: ()}


@pytest.mark.parametrize("name", ["complete", "baseline"])
def test_complete_graphs(name: Any) -> None:
    assert teachers(name, nx.complete_graph(3), 2) == {0: (1, 2), 1: (0, 2), 2: (0, 1)}


def test_islands_have_consecutive_numbers_and_the_last_may_be_smaller() -> None:
    assert teachers("islands", ALL, 2) == {0: (1,), 1: (0,), 2: (3,), 3: (2,), 4: ()}
    assert teachers("islands", ALL, 3) == {0: (1, 2), 1: (0, 2), 2: (0, 1), 3: (4,), 4: (3,)}
    assert teachers("islands", nx.Graph([(0, 1), (2, 3)]), 2) == {0: (1,), 1: (0,), 2: (3,), 3: (2,)}


def test_in_a_cycle_everybody_learns_from_the_one_before() -> None:
    assert teachers("cycle", nx.cycle_graph(4), 2) == {0: (3,), 1: (0,), 2: (1,), 3: (2,)}
    one = nx.Graph()
    one.add_node(0)
    assert teachers("cycle", one, 2) == {0: ()}, "one device is no cycle"


def test_pairs_are_teacher_and_student() -> None:
    found = teachers(((2, 0), (1, 0), (0, 1), (2, 0)), nx.complete_graph(3), 2)
    assert found == {0: (1, 2), 1: (0,), 2: ()}
    assert teachers((), nx.complete_graph(2), 2) == {0: (), 1: ()}


def test_the_graph_of_a_round_is_the_last_that_has_begun() -> None:
    first, second = {0: (1,), 1: ()}, {0: (), 1: (0,)}
    schedule = {4: second, 1: first}
    assert [in_round(schedule, t) is first for t in (1, 2, 3, 4, 5, 99)] == [True] * 3 + [False] * 3


@pytest.mark.parametrize(
    ("choice", "links", "student", "teacher"),
    [
        ("complete", nx.path_graph(3), 0, 2),
        ("cycle", nx.path_graph(3), 0, 2),
        ("islands", nx.Graph([(0, 2), (1, 2)]), 0, 1),
        (((2, 0),), nx.path_graph(3), 0, 2),
    ],
)
def test_nobody_learns_from_whom_it_does_not_hear(
    choice: Any, links: nx.Graph, student: int, teacher: int
) -> None:
    with pytest.raises(
        ScenarioError, match=f"device {student} is to learn from device {teacher}, but they have no link"
    ):
        teachers(choice, links, 2)


@pytest.mark.parametrize("pair", [(0, 0), (0, 3), (3, 0), (-1, 0)])
def test_a_pair_names_two_devices(pair: tuple[int, int]) -> None:
    with pytest.raises(ScenarioError, match="must name two different devices from 0 to 2, the teacher first"):
        teachers((pair,), nx.complete_graph(3), 2)


def test_a_graph_is_written_as_a_name_as_pairs_or_by_round() -> None:
    assert MHDOptions.model_validate({"graph": [[0, 1]]}).graph == ((0, 1),)
    by_round = MHDOptions.model_validate({"graph": {1: "islands", 10: [[0, 1]]}}).graph
    assert by_round == {1: "islands", 10: ((0, 1),)}
    for wrong in ({2: "cycle"}, {}, {0: "cycle", 1: "cycle"}, "star", [[0, 1, 2]]):
        with pytest.raises(ValueError, match="graph"):
            MHDOptions.model_validate({"graph": wrong})
