"""Links and positions that a file gives: the same as if they were listed, or one line with file and place."""

import networkx as nx
import numpy as np
import pytest

from netsim.app.build import build
from netsim.core.errors import ScenarioError
from netsim.core.streams import stream
from netsim.scenario import load_plan
from netsim.world.topology import draw_topology
from netsim.world.topology.links import Edges
from netsim.world.topology.placement import Coordinates, Grid


def edges(path, text):
    path.write_bytes(text.encode())
    return Edges(Edges.Options(file=path))


def graph(links, count=5):
    return {tuple(sorted(edge)) for edge in links.links(np.zeros((count, 2)), stream(0)).tolist()}


RING = {(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)}


@pytest.mark.parametrize(
    "text",
    [
        "0,1\n1,2\n2,3\n3,4\n4,0\n",
        "from,to\r\n0,1\r\n1, 2\r\n\r\n2,3\r\n3,4\r\n4,0",
        '\ufeff"source","target"\n# a ring, each link twice\n0,1\n1,0\n1,2\n2,1\n2,3\n3,4\n"4","0"\n',
    ],
    ids=["plain", "heading, Windows", "byte order mark, quotes, comment, both directions"],
)
def test_a_csv_file_is_the_links_that_it_lists(tmp_path, text):
    assert graph(edges(tmp_path / "g.csv", text)) == RING
    topology = draw_topology(
        Grid(Grid.Options(spacing_m=1, columns=3)), edges(tmp_path / "g.csv", text), 7, {}, 0, False
    )
    assert list(topology.graph) == list(range(7))


def test_a_graphml_file_is_the_graph_that_was_written(tmp_path):
    nx.write_graphml(nx.cycle_graph(5), tmp_path / "g.graphml")
    assert graph(Edges(Edges.Options(file=tmp_path / "g.graphml"))) == RING


HEAD = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="{}">{}</graph></graphml>'


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("g.csv", "a,b\n0,1\n0,5\n", "g.csv, line 3: '5' is not the number of a device; devices are 0 to 4"),
        ("g.csv", "0,1\n0,1.0\n", "g.csv, line 2: '1.0' is not the number of a device"),
        ("g.csv", "0,1\n-1,2\n", "g.csv, line 2: '-1' is not the number of a device"),
        ("g.csv", f"0,{'9' * 5000}\n", "is not the number of a device"),
        ("g.csv", "0,x\n", "g.csv, line 1: 'x' is not the number of a device"),
        ("g.csv", "0,1\n3,3\n", "g.csv, line 2: a link joins two different devices (got 3, 3)"),
        ("g.csv", "0,1,0.5\n", "g.csv, line 1: must be two values with a comma between them (got '0,1,0.5')"),
        ("g.csv", "0 1\n", "g.csv, line 1: must be two values with a comma between them (got '0 1')"),
        ("g.txt", "0,1\n", "g.txt: must end in .csv or .graphml"),
        ("g.graphml", "0,1\n", "g.graphml: not readable as GraphML: syntax error: line 1"),
        ("g.graphml", "<graphml/>", "g.graphml: not readable as GraphML: "),
        (
            "g.graphml",
            HEAD.format("undirected", '<node id="n0"/>'),
            "g.graphml, node: 'n0' is not the number of",
        ),
        ("g.graphml", HEAD.format("directed", '<node id="0"/>'), "edgedefault must be 'undirected'"),
        (
            "g.graphml",
            HEAD.format("undirected", '<node id="0"/><edge source="0" target="0"/>'),
            "g.graphml, edge from '0' to '0': a link joins two different devices",
        ),
    ],
)
def test_what_is_no_link_is_one_line_with_its_place(tmp_path, name, text, words):
    with pytest.raises(ScenarioError) as error:
        graph(edges(tmp_path / name, text))
    assert str(error.value).startswith(f"topology.links.file: {tmp_path / name}")
    assert words in str(error.value) and len(str(error.value).splitlines()) == 1


def test_positions_of_a_file_are_those_that_it_lists(tmp_path):
    (tmp_path / "p.csv").write_text("x_m,y_m\n0,0\n-1.5,2e1\n")
    placement = Coordinates(Coordinates.Options(file=tmp_path / "p.csv"))
    assert placement.positions(2, stream(0)).tolist() == [[0, 0], [-1.5, 20]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0,0\n1,north\n", "p.csv, line 2: must be x, y in metres (got 1, north)"),
        ("0,0\n1,inf\n", "p.csv, line 2: must be x, y in metres (got 1, inf)"),
        ("0,0\n", "p.csv: must have one line of x, y per device (2), got 1"),
    ],
)
def test_what_is_no_position_is_one_line_with_its_place(tmp_path, text, words):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ScenarioError) as error:
        Coordinates(Coordinates.Options(file=tmp_path / "p.csv")).positions(2, stream(0))
    assert f"topology.placement.file: {tmp_path / words.partition(':')[0].partition(',')[0]}" in str(
        error.value
    )
    assert words in str(error.value)


FILES = {
    "placement": {"name": "coordinates", "file": "map/places.csv"},
    "links": {"name": "edges", "file": "map/links.csv"},
}


def test_files_are_found_from_the_scenarios_folder_and_read_when_it_is_checked(write_scenario, tmp_path):
    path = write_scenario(topology=FILES)
    with pytest.raises(ScenarioError) as error:
        load_plan(path)
    assert [line.rpartition("/")[2] for line in str(error.value).splitlines()] == [
        "places.csv: No such file or directory",
        "links.csv: No such file or directory",
    ]
    (tmp_path / "map").mkdir()
    (tmp_path / "map" / "places.csv").write_text("0,0\n30,40\n1000,0\n")
    (tmp_path / "map" / "links.csv").write_text("1,0\n1,2\n")
    topology = build(load_plan(path), tmp_path, print).network.topology
    assert topology.distance_m == {(0, 1): 50.0, (1, 2): pytest.approx(np.hypot(970, 40))}
    with pytest.raises(
        ScenarioError, match=r"^--set: topology.links.edges: \[0, 7\] must name two different"
    ):
        load_plan(path, ["topology.links={name: edges, edges: [[0, 7]]}"])


@pytest.mark.parametrize("block", [{"name": "edges"}, {"name": "edges", "edges": [], "file": "a.csv"}])
def test_either_links_or_a_file(write_scenario, block):
    with pytest.raises(
        ScenarioError, match=r"topology.links: must have either edges, pairs of device numbers, or"
    ):
        load_plan(write_scenario(topology={"links": block}))
