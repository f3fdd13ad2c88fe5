"""A hierarchy by hand. All links move 1e6 bits a second; a FLOP takes a second and a joule."""

from __future__ import annotations

import math
from typing import Any

import pytest
from bookkeeping import JOULES, check_times
from test_decentralized import PROCESSOR, RADIO, by

from learners.algorithms.stub import Stub
from netsim.core.errors import ScenarioError
from netsim.learner import Metric, Step
from netsim.protocols import hierarchical

EDGES, CLOUD = (3, 4), 5
NOTES: list[tuple] = []


class Noting(Stub):
    """A server's model is the list of all that is in it."""

    def train(self, work, node, round, state, cost):
        return Step(state, state) if self.setup.is_server(node) else Step(None, (node, round))

    def aggregate(self, work, node, round, state, arrived):
        if not self.setup.is_server(node):
            return Step(None)
        NOTES.append((node, round, sorted(arrived.values())))
        return Step(f"{node}/{round}", metrics=(Metric("arrived", len(arrived)),))

    def merge(self, work, node, round, state, arrived, devices):
        NOTES.append((node, round, dict(arrived), dict(devices)))
        return Step(f"{node}/{round}", metrics=(Metric("arrived", len(arrived)),))


@pytest.fixture
def hierarchy(simulate):
    """Devices 0 (4 s) and 1 (10 s) at one edge server, device 2 (4 s) at another."""

    def run(settings=(), rounds=2, **protocol):
        NOTES.clear()
        link = {"bandwidth_hz": 1e5, "path_loss": RADIO["path_loss"]}
        return simulate(
            settings,
            rounds=rounds,
            devices={
                "count": 3,
                "processor": PROCESSOR,
                "tx_power_w": 1.0,
                "stragglers": {"name": "given", "factors": {1: 2.5}},
            },
            topology={"placement": {"name": "coordinates", "positions_m": [[0, 10], [0, -10], [1000, 10]]}},
            radio=RADIO,
            server={"processor": PROCESSOR, "uplink": link, "downlink": link},
            protocol={
                "name": "hierarchical_rounds",
                "edge_rounds": 2,
                "positions_m": [[0, 0], [1000, 0]],
                "attach": "nearest",
                "backhaul": {"rate_bps": 1e6, "latency_s": 0.25, "power_w": 2.0},
                "cloud": PROCESSOR,
                **protocol,
            },
            learner={
                "name": "test_hierarchical:Noting",
                "flops": 4.0,
                "server_flops": 3.0,
                "bits": 2e6,
                "download_bits": 1e6,
            },
        )

    return run


def test_two_time_scales(hierarchy):
    """A round of the first edge server: 1 s down, 10 s, 2 s up, 3 s; of the second: 1 + 4 + 2 + 3 s.

    The first is done with two of them at 32 s, its model is with the cloud at 33.25 s, the average is made at 36.25 s
    and back at 37.5 s.
    """
    simulation, log = hierarchy()
    assert [(row.server, row.round, row.start_s, row.end_s) for row in log.edges] == [
        (4, 1, 0, pytest.approx(10)),
        (3, 1, 0, pytest.approx(16)),
        (4, 2, pytest.approx(10), pytest.approx(20)),
        (3, 2, pytest.approx(16), pytest.approx(32)),
        (5, 2, 0, pytest.approx(37.5)),
    ]
    assert [(row.attached, row.chosen, row.arrived, row.handovers) for row in log.edges] == [
        (1, 1, 1, 0), (2, 2, 2, 0), (1, 1, 1, 0), (2, 2, 2, 0), (2, 2, 2, 0),
    ]  # fmt: skip
    assert simulation.network.env.now == pytest.approx(37.5)
    backhaul = by(log.transfers, kind="backhaul")
    assert [(row.sender, row.receiver, row.end_s) for row in backhaul] == [
        (4, 5, pytest.approx(21.25)), (3, 5, pytest.approx(33.25)),
        (5, 3, pytest.approx(37.5)), (5, 4, pytest.approx(37.5)),
    ]  # fmt: skip
    assert log.closed == [(1, pytest.approx(16)), (2, pytest.approx(37.5))]


def test_who_averages_what(hierarchy):
    """An edge server averages its devices, the cloud the edge servers' last models; all go on from its model."""
    simulation, log = hierarchy(rounds=4)
    assert NOTES[:5] == [
        (4, 1, [(2, 1)]),
        (3, 1, [(0, 1), (1, 1)]),
        (4, 2, [(2, 2)]),
        (3, 2, [(0, 2), (1, 2)]),
        (5, 2, {3: "3/2", 4: "4/2"}, {3: [0, 1], 4: [2]}),
    ]
    assert {k: simulation.states[k] for k in (*EDGES, CLOUD)} == dict.fromkeys((*EDGES, CLOUD), "5/4")
    assert [(row.round, row.device) for row in log.metrics if row.device == CLOUD] == [(2, CLOUD), (4, CLOUD)]


def test_what_it_costs(hierarchy):
    """A backhaul message of 1 s costs 2 J, an edge server's work 3 J, its broadcasts 1 J each; devices wait for 0 W."""
    _, log = hierarchy()
    rows = {k: [*by(log.edges, server=k), *by(log.outside, device=k)] for k in (*EDGES, CLOUD)}
    joules = {k: [sum(getattr(row, name) for row in own) for name in JOULES] for k, own in rows.items()}
    assert joules[3] == joules[4] == pytest.approx([6, 2 * 1 + 2, 0, 0])
    assert joules[5] == pytest.approx([3, 2 + 2, 0, 0])
    (waited,) = by(log.outside, device=2)
    assert (waited.start_s, waited.end_s) == (pytest.approx(20), pytest.approx(37.5))
    assert [row.sending_j for row in by(log.rounds, device=2)] == pytest.approx([2, 2])


def test_a_dead_device_holds_nobody_up(hierarchy):
    """Device 1 has 3 J, and would need 4 for its training: its edge server goes on with device 0, 1 + 4 + 2 + 3 s."""
    _, log = hierarchy(("devices.overrides=[{devices: [1], battery: {capacity_j: 3}}]",))
    assert [row.end_s for row in by(log.edges, server=3)] == pytest.approx([8.5 + 3, 8.5 + 3 + 10])
    assert [row.arrived for row in by(log.edges, server=3)] == [1, 1]


def test_it_ends_when_nobody_is_left(hierarchy):
    """The second edge server has nobody from 4 s on, and the first from 8.5 s; there is nothing to average."""
    _, log = hierarchy(("devices.battery.capacity_j=3",), rounds=9)
    assert [(row.server, row.outcome, row.attached) for row in log.edges] == [
        (4, "empty", 1), (4, "empty", 0), (3, "empty", 2), (5, "empty", 2),
    ]  # fmt: skip
    assert len(log.deaths) == 3


def test_devices_are_handed_over_at_the_next_round(hierarchy, monkeypatch):
    """Device 2 moves at 5 s, while it is in a round: the first edge server takes it into its second, at 16 s."""
    best = hierarchical.best_server

    def moving(network, device, attach):
        moved = device == 2 and network.env.now > 5
        return network.servers[0] if moved else best(network, device, attach)

    monkeypatch.setattr(hierarchical, "best_server", moving)
    simulation, log = hierarchy()
    first, second = (by(log.edges, server=k) for k in EDGES)
    assert [(row.attached, row.handovers) for row in first] == [(2, 0), (3, 1)]
    assert [(row.attached, row.handovers, row.outcome) for row in second] == [
        (1, 0, "aggregated"), (0, 0, "empty"),
    ]  # fmt: skip
    assert (5, 2, {3: "3/2", 4: "4/1"}, {3: [0, 1, 2], 4: [2]}) in NOTES
    own = [*by(log.rounds, device=2), *by(log.outside, device=2)]
    check_times(sorted(own, key=lambda row: row.start_s), simulation.network.env.now)


@pytest.mark.parametrize("attach", ["nearest", "strongest"])
def test_a_device_that_walks_to_another_edge_server_is_handed_over(hierarchy, tmp_path, attach):
    """Device 2 walks from one to the other within 5 and 7 s, in its first round; losses differ by 1e-8 dB."""
    ways = ["time_s,device,x_m,y_m", "0,0,0,10", "0,1,0,-10", "0,2,1000,10", "5,2,1000,10", "7,2,0,20"]
    (tmp_path / "ways.csv").write_text("\n".join(ways))
    walk = f"mobility={{name: trace, file: {tmp_path / 'ways.csv'}, end: hold}}"
    simulation, log = hierarchy([walk], attach=attach)
    first, second = (by(log.edges, server=k) for k in EDGES)
    assert [(row.attached, row.handovers) for row in first] == [(2, 0), (3, 1)]
    assert [(row.attached, row.handovers) for row in second] == [(1, 0), (0, 0)]
    assert (5, 2, {3: "3/2", 4: "4/1"}, {3: [0, 1, 2], 4: [2]}) in NOTES
    distance_m = simulation.network.topology.distance_m
    assert (distance_m[2, 3], distance_m[2, 4]) == pytest.approx((20, math.hypot(1000, 20)))


def test_edge_servers_stand_in_the_middle_of_clusters(hierarchy):
    simulation, _ = hierarchy(positions_m=None, edges=2)
    assert simulation.network.topology.positions[3:5].tolist() == [[0, 0], [1000, 10]]


@pytest.mark.parametrize(
    ("protocol", "says"),
    [
        ({"positions_m": None, "edges": 4}, r"protocol.edges: must be at most devices.count, 3 \(got 4\)"),
        ({"edges": 3}, r"positions_m: must have one \[x, y\] for each of 3 edge servers \(got 2\)"),
        ({"participants": 4}, "protocol.participants: must be at most"),
        ({"backhaul": {"rate_bps": 0}}, "protocol.backhaul.rate_bps: must be greater than 0"),
    ],
)
def test_what_cannot_be_is_refused(hierarchy, protocol, says):
    with pytest.raises(ScenarioError, match=says):
        hierarchy(**protocol)


LEARNING: dict[str, Any] = {
    "rounds": 3,
    "devices": {"count": 5, "stragglers": {"name": "lognormal", "sigma": 1.0}},
    "topology": {"placement": {"name": "disc", "diameter_m": 200}},
}
FREE = {"name": "hierarchical_rounds", "backhaul": {"rate_bps": float("inf")}}


@pytest.fixture
def learnt(simulate, late_fusion):
    """The parts of the states of servers and cloud."""

    def run(learner, protocol):
        blocks = late_fusion(learner, 4)
        if learner == "dmml":
            del blocks["learner"]["head_hidden"]
        simulation, log = simulate(**LEARNING, **blocks, protocol=protocol)
        states = [simulation.states[k] for k in range(5, len(simulation.network.nodes))]
        return [getattr(state, "parts", state) for state in states], log

    return run


def numbers(parts):
    return {name: part.row.tensor for name, part in parts.items()}


@pytest.mark.parametrize("learner", ["fedavg", "dmml"])
def test_one_edge_server_and_a_free_backhaul_are_rounds_of_a_server(learnt, learner):
    """The same states, bit for bit, and the same seconds and joules of devices."""
    (server,), flat = learnt(learner, {"name": "server_rounds"})
    (edge, cloud), log = learnt(learner, {**FREE, "positions_m": [[0, 0]]})
    for name, expected in numbers(server).items():
        assert numbers(edge)[name].equal(expected) and numbers(cloud)[name].equal(expected)
    assert [row.compute_j for row in log.rounds] == [row.compute_j for row in flat.rounds]
    assert [row.sending_j for row in log.rounds] == pytest.approx(
        [row.sending_j for row in flat.rounds], rel=1e-9
    )


@pytest.mark.parametrize("learner", ["fedavg", "dmml"])
def test_averages_of_averages_are_the_average_of_all(learnt, learner):
    """With one round between two averages, edge servers weighed by their devices' samples: n_k/Σn, up to rounding."""
    (server,), _ = learnt(learner, {"name": "server_rounds"})
    (*edges, cloud), log = learnt(learner, {**FREE, "edges": 2})
    assert {row.attached for row in log.edges if row.server in (5, 6)} == {1, 4} or len(edges) == 2
    for name, expected in numbers(server).items():
        assert numbers(cloud)[name] == pytest.approx(expected, rel=1e-4, abs=1e-6)
