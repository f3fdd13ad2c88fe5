import math
from collections import Counter

import networkx as nx
import numpy as np
import pytest
from scipy.stats import chisquare

from netsim.core.errors import ScenarioError
from netsim.core.streams import stream
from netsim.world.radio.theory import linked_probability
from netsim.world.topology import draw_topology, metropolis_weights
from netsim.world.topology.links import Edges, Range, Regular
from netsim.world.topology.placement import Coordinates, Disc, Grid
from netsim.world.topology.regular import _switched, regular_links
from netsim.world.topology.topology import disconnected_part


def disc(diameter_m=100.0):
    return Disc(Disc.Options(diameter_m=diameter_m))


def within(range_m=50.0):
    return Range(Range.Options(range_m=range_m))


def regular(degree):
    return Regular(Regular.Options(degree=degree))


def weights(graph):
    rows = metropolis_weights(graph)
    return np.array([[rows[i].get(j, 0.0) for j in sorted(graph)] for i in sorted(graph)])


@pytest.mark.parametrize(("range_m", "mean_degree"), [(50.0, 6.451537), (25.0, 2.170104)])
def test_mean_degree_of_twelve_devices_in_a_disc(range_m, mean_degree):
    """(n - 1) F(r/R). 2,000 placements; a naive radius R·U instead of R·√U would give more than 8 at 50 m."""
    degrees = [
        2 * len(within(range_m).links(disc().positions(12, stream(s, "p")), stream(s))) / 12
        for s in range(2000)
    ]
    assert 11 * linked_probability(range_m / 50) == pytest.approx(mean_degree, abs=1e-6)
    assert np.mean(degrees) == pytest.approx(mean_degree, abs=4 * np.std(degrees) / np.sqrt(2000))


def test_devices_in_a_disc_are_uniform_in_area():
    radius_m = np.hypot(*disc().positions(20_000, stream(0, "p")).T)
    assert radius_m.max() <= 50
    assert np.mean(radius_m < 50 / np.sqrt(2)) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(20_000))


def test_links_end_at_their_range():
    placement = Coordinates(Coordinates.Options(positions_m=[(0, 0), (50, 0), (100.001, 0)]))
    assert within().links(placement.positions(3, stream(0)), stream(0)).tolist() == [[0, 1]]


@pytest.mark.parametrize("range_m", [1.7, 0.1, 50.0, 1e-3, 12345.678])
def test_what_is_exactly_at_the_range_is_linked(range_m):
    """A triangle of sides 8, 15 and 17; a grid whose rows are apart by the range, which 0.1 and its multiples round."""
    corner = [range_m * 8 / 17, range_m * 15 / 17]
    positions = np.array([[0.0, 0.0], corner])
    assert within(range_m).links(positions, stream(0)).shape[0] == 1
    grid = Grid(Grid.Options(spacing_m=range_m, columns=20)).positions(400, stream(0))
    assert within(range_m).links(grid, stream(0)).shape[0] == 2 * 20 * 19
    assert within(range_m * (1 - 1e-6)).links(grid, stream(0)).shape[0] == 0


def test_links_of_a_range_are_those_that_the_table_of_distances_says():
    """The case 0.8, 1.5: 1.7 m, which the tree computes as a little more; and 300 placements by brute force."""
    assert within(1.7).links(np.array([[0.0, 0.0], [0.8, 1.5]]), stream(0)).shape[0] == 1
    for seed in range(300):
        positions = stream(seed, "p").integers(0, 60, (12, 2)) / 10
        distances_m = {
            (a, b): np.hypot(*(positions[a] - positions[b])) for a in range(12) for b in range(a + 1, 12)
        }
        range_m = float(stream(seed, "r").choice([d for d in distances_m.values() if d > 0]))
        expected = {pair for pair, d in distances_m.items() if d <= range_m * (1 + 1e-9)}
        assert set(map(tuple, within(range_m).links(positions, stream(0)).tolist())) == expected


def test_a_grid_is_filled_row_by_row():
    grid = Grid(Grid.Options(spacing_m=10, columns=3))
    assert grid.positions(5, stream(0)).tolist() == [[0, 0], [10, 0], [20, 0], [0, 10], [10, 10]]


def test_what_is_connected_is_what_networkx_says():
    """Random links, and two modalities whose owners are some of the devices; 300 graphs."""
    said = set()
    for seed in range(300):
        rng = stream(seed, "g")
        graph = nx.gnp_random_graph(9, rng.uniform(0.1, 0.6), seed=seed)
        owners = {m: frozenset(rng.choice(9, rng.integers(0, 9), replace=False).tolist()) for m in "ab"}
        expected = None
        if not nx.is_connected(graph):
            expected = "the graph"
        else:
            apart = [m for m in "ab" if owners[m] and not nx.is_connected(graph.subgraph(owners[m]))]
            expected = f"the sub-graph of modality {apart[0]!r}" if apart else None
        ends = np.array(list(graph.edges), dtype=np.int64).reshape(-1, 2)
        assert disconnected_part(9, ends, owners) == expected
        said.add(expected)
    assert len(said) == 4


def test_a_large_network_that_cannot_be_connected_is_given_up_soon():
    """10,000 devices far apart: 100 placements, not 1,000."""
    with pytest.raises(ScenarioError, match="in any of 100 placements drawn"):
        draw_topology(disc(1e6), within(1.0), 10_000, {}, 0, True)


def test_given_edges_may_be_of_any_length():
    placement = Coordinates(Coordinates.Options(positions_m=[(0, 0), (3000, 4000)]))
    topology = draw_topology(placement, Edges(Edges.Options(edges=[(1, 0)])), 2, {}, 0, True)
    assert topology.distance_m == {(0, 1): 5000.0}


@pytest.mark.parametrize(
    ("count", "degree"), [(2, 1), (12, 3), (12, 5), (12, 7), (12, 9), (12, 11), (100, 20)]
)
def test_in_a_regular_graph_every_device_has_as_many_links(count, degree):
    grid = Grid(Grid.Options(spacing_m=1.0, columns=5))
    graph = draw_topology(grid, regular(degree), count, {}, 0, False).graph
    assert list(graph) == list(range(count))
    assert {d for _, d in graph.degree} == {degree}


def test_regular_links_do_not_ask_where_devices_are():
    """Seed 4 twice is one graph, in a disc and on a grid; seed 5 is another."""
    grid = Grid(Grid.Options(spacing_m=10))
    a, b = (draw_topology(placement, regular(4), 30, {}, 4, True).graph for placement in (disc(), grid))
    assert list(a.edges) == list(b.edges)
    assert list(a.edges) != list(draw_topology(disc(), regular(4), 30, {}, 5, True).graph.edges)


def test_of_two_links_each_57_percent_of_twelve_devices_are_one_ring():
    """11!/2 rings of 12 among the graphs of degree 2: 19,958,400 of 34,944,085 (A001205), 57.1 %."""
    draws = [regular_links(2, 12, stream(seed, "links")) for seed in range(2000)]
    share = np.mean([nx.is_connected(nx.Graph(links)) for links in draws])
    right = math.factorial(11) / 2 / graphs_of_degree_two(12)
    assert right == pytest.approx(0.571, abs=5e-4)
    assert share == pytest.approx(right, abs=4 * np.sqrt(right * (1 - right) / 2000))


def graphs_of_degree_two(count):
    """Labelled graphs that are disjoint rings: node 1 is in a ring of k, one of (k - 1)!/2 on C(n - 1, k - 1) sets."""
    if count == 0:
        return 1
    return sum(
        math.comb(count - 1, k - 1) * math.factorial(k - 1) // 2 * graphs_of_degree_two(count - k)
        for k in range(3, count + 1)
    )


@pytest.mark.parametrize("draw", [regular_links, _switched], ids=["pairing", "switching"])
def test_every_regular_graph_is_as_likely_as_any_other(draw):
    """Of degree 3 on six nodes there are 70, 10 of them bipartite: chi-squared over 7,000 draws."""
    rng = stream(1, "links")
    drawn = Counter(tuple(sorted(draw(3, 6, rng))) for _ in range(7000))
    assert len(drawn) == 70
    assert chisquare(list(drawn.values())).pvalue > 1e-3
    bipartite = sum(times for links, times in drawn.items() if nx.is_bipartite(nx.Graph(links)))
    assert bipartite / 7000 == pytest.approx(1 / 7, abs=4 * np.sqrt(6 / 49 / 7000))


def test_regular_links_are_drawn_until_they_connect_also_between_devices_that_stay():
    """Two links each make one ring of all devices, or several: of 2-regular graphs on 12, 57 % are one ring."""
    grid = Grid(Grid.Options(spacing_m=10))
    topologies = [draw_topology(grid, regular(2), 12, {}, seed, True) for seed in range(20)]
    assert all(nx.is_connected(topology.graph) for topology in topologies)
    assert max(topology.draws for topology in topologies) > 1
    with pytest.raises(ScenarioError, match="the graph is not connected in any of 1000 graphs drawn"):
        draw_topology(grid, regular(1), 4, {}, 0, True)


@pytest.mark.parametrize(
    ("count", "degree", "message"),
    [
        (5, 3, r"degree times devices must be even.*got 3 × 5"),
        (4, 4, r"must be less than the number of devices, 4 \(got 4\)"),
    ],
)
def test_a_regular_graph_that_does_not_exist_is_refused(count, degree, message):
    with pytest.raises(ScenarioError, match="topology.links.degree: " + message):
        draw_topology(disc(), regular(degree), count, {}, 0, True)


def test_placements_are_drawn_until_every_graph_is_connected():
    """At Γ = 0 with six owners each, about 58 % of placements will do: over 40 seeds some need several draws."""
    owners = {"audio": frozenset(range(6)), "visual": frozenset(range(6, 12))}
    draws = []
    for seed in range(40):
        topology = draw_topology(disc(), within(), 12, owners, seed, True)
        assert nx.is_connected(topology.graph)
        assert all(nx.is_connected(topology.graph.subgraph(o)) for o in owners.values())
        draws.append(topology.draws)
    assert 1.2 < np.mean(draws) < 2.8


def test_the_same_seed_is_the_same_placement_whoever_asks():
    a, b = (draw_topology(disc(), within(), 12, {}, 4, True) for _ in range(2))
    assert np.array_equal(a.positions, b.positions)
    assert not np.array_equal(a.positions, draw_topology(disc(), within(), 12, {}, 5, True).positions)


def test_a_network_that_cannot_be_connected_is_refused_with_the_way_out():
    with pytest.raises(ScenarioError, match="the graph is not connected in any of 1000 placements") as error:
        draw_topology(disc(1e5), within(1.0), 12, {}, 0, True)
    assert "require_connected: false" in str(error.value)


def test_a_modality_whose_owners_cannot_reach_each_other_is_named():
    placement = Coordinates(Coordinates.Options(positions_m=[(0, 0), (40, 0), (80, 0)]))
    with pytest.raises(ScenarioError, match="sub-graph of modality 'audio' is not connected"):
        draw_topology(placement, within(), 3, {"audio": frozenset({0, 2})}, 0, True)


def test_the_check_can_be_switched_off():
    placement = Coordinates(Coordinates.Options(positions_m=[(0, 0), (4000, 0)]))
    assert draw_topology(placement, within(), 2, {}, 0, False).draws == 1


# Metropolis-Hastings weights.


def test_two_devices_average_in_one_step():
    """1/(1 + max(1, 1)) = 1/2. The weights 1/max(1, 1) would swap the two states for ever."""
    assert weights(nx.path_graph(2)).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_a_star_of_three_by_hand():
    """Degrees 2, 1, 1: each edge 1/(1 + 2) = 1/3; the centre keeps 1/3, the leaves 2/3."""
    third = 1 / 3
    assert weights(nx.star_graph(2)) == pytest.approx(
        np.array([[third, third, third], [third, 2 * third, 0], [third, 0, 2 * third]])
    )


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_symmetric_doubly_stochastic_and_zero_off_the_graph(seed):
    graph = nx.gnp_random_graph(12, 0.3, seed=seed)
    w = weights(graph)
    assert np.allclose(w, w.T) and np.allclose(w.sum(0), 1) and np.allclose(w.sum(1), 1) and (w >= 0).all()
    assert all(w[i, j] == 0 for i in graph for j in graph if i != j and not graph.has_edge(i, j))


def test_an_isolated_device_keeps_its_own_state():
    assert metropolis_weights(nx.empty_graph(1)) == {0: {0: 1.0}}


@pytest.mark.parametrize(
    ("graph", "second_eigenvalue"),
    [
        (nx.cycle_graph(12), (1 + 2 * np.cos(np.pi / 6)) / 3),
        (nx.star_graph(11), 11 / 12),
        (nx.complete_graph(12), 0.0),
        (nx.path_graph(3), 2 / 3),
    ],
)
def test_second_largest_eigenvalue_modulus(graph, second_eigenvalue):
    moduli = sorted(np.abs(np.linalg.eigvalsh(weights(graph))))
    assert moduli[-1] == pytest.approx(1.0)
    assert moduli[-2] == pytest.approx(second_eigenvalue, abs=1e-9)
