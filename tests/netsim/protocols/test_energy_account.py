"""Capacity = recorded + left, to the end of the run, for every device, whoever died when, and for the server."""

import math

import pytest
from bookkeeping import check_books
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

COUNT = 4

powers_w = st.sampled_from([0.0, 0.3, 2.0])
batteries_j = st.one_of(st.just(math.inf), st.floats(0.05, 20.0))
protocols = st.one_of(
    st.fixed_dictionaries(
        {"name": st.just("decentralized_rounds")}, optional={"deadline_s": st.floats(0.3, 5.0)}
    ),
    st.fixed_dictionaries(
        {"name": st.just("server_rounds"), "participants": st.sampled_from([None, 2, 4])},
        optional={"deadline_s": st.floats(0.3, 5.0), "first": st.sampled_from([1, 2])},
    ),
    st.fixed_dictionaries(
        {"name": st.just("asynchronous_server")},
        optional={
            "concurrency": st.sampled_from([1, 3]),
            "buffer": st.sampled_from([1, 2]),
            "max_staleness": st.just(0),
        },
    ),
    st.fixed_dictionaries(
        {"name": st.just("asynchronous_gossip")},
        optional={"peers": st.just(1), "duration_s": st.floats(0.3, 5.0), "staleness": st.just("polynomial")},
    ),
    st.fixed_dictionaries(
        {"name": st.just("hierarchical_rounds"), "edges": st.sampled_from([1, 2])},
        optional={
            "edge_rounds": st.just(2),
            "deadline_s": st.floats(0.3, 5.0),
            "backhaul": st.just({"rate_bps": 1e6, "latency_s": 0.2, "power_w": 3.0}),
        },
    ),
)


@st.composite
def worlds(draw):
    protocol = draw(protocols)
    gossip = protocol["name"] == "asynchronous_gossip"
    server = protocol["name"] != "decentralized_rounds" and not gossip
    learner = (
        {"name": "stub", "flops": 4e9, "server_flops": 1e10, "bits": 1e6}
        if server
        else {
            "name": "stub",
            "flops": 4e9,
            "bits": 1e6,
            "coordinated": not gossip and draw(st.booleans()),
            "report_bits": 1e4,
        }
    )
    coherence_s = draw(st.sampled_from([None, 0.2]))
    return {
        "seed": draw(st.integers(0, 99)),
        "rounds": draw(st.integers(1, 4)),
        "devices": {
            "count": COUNT,
            "idle_power_w": draw(powers_w),
            "rx_power_w": draw(powers_w),
            "stragglers": {"name": "lognormal", "sigma": draw(st.sampled_from([0.0, 1.5]))},
            "overrides": [
                {"devices": [k], "battery": {"capacity_j": draw(batteries_j)}} for k in range(COUNT)
            ],
        },
        "topology": {
            "placement": {"name": "coordinates", "positions_m": [[10, 0], [50, 0], [10, 40], [90, 0]]},
            "links": {"name": "range", "range_m": 60.0},
        },
        "radio": {
            "channel": draw(
                st.sampled_from(
                    [
                        {"name": "rayleigh", "coherence_time_s": coherence_s},
                        {"name": "jakes", "coherence_time_s": 0.2},
                    ]
                )
            ),
            "rate": draw(
                st.sampled_from(["shannon", {"name": "mcs", "block_bits": 2e4, "retransmissions": 1}])
            ),
            "outage_snr_db": draw(st.sampled_from([None, 15.0])),
            "access": draw(st.sampled_from(["dedicated", "shared"])),
        },
        "server": {"idle_power_w": draw(powers_w), "rx_power_w": draw(powers_w)},
        "protocol": protocol,
        "learner": learner,
    }


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(blocks=worlds())
def test_every_joule_is_in_a_row(simulate, blocks):
    check_books(*simulate(**blocks), blocks)


def test_a_device_that_dies_after_its_last_round(simulate):
    """Device 0 is done at 0.31 s and idles with 1 W, device 2 takes 10 s: 2.96 J are left then, and gone at 3.27 s."""
    blocks = {
        "rounds": 1,
        "devices": {
            "count": 3,
            "idle_power_w": 1.0,
            "stragglers": {"name": "given", "factors": {2: 100}},
            "overrides": [{"devices": [0], "battery": {"capacity_j": 3.0}}],
        },
        "topology": {
            "placement": {"name": "coordinates", "positions_m": [[0, 0], [40, 0], [80, 0]]},
            "links": {"name": "range", "range_m": 50.0},
        },
        "radio": {"outage_snr_db": None},
        "learner": {"name": "stub", "flops": 4e8},
    }
    simulation, log = simulate(**blocks)
    check_books(simulation, log, {**blocks, "devices": {**blocks["devices"], "rx_power_w": 0.0}})
    (after,) = log.outside
    (row,) = (row for row in log.rounds if row.device == 0)
    assert (after.device, after.round, after.outcome) == (0, 1, "died")
    assert after.idle_j == pytest.approx(row.battery_j) and 2.9 < row.battery_j < 3.0
    assert log.deaths == [(0, pytest.approx(row.end_s + row.battery_j / 1.0))] == [(0, after.end_s)]
    assert log.deaths[0][1] < simulation.network.env.now == pytest.approx(10.2, abs=0.1)


def test_a_device_that_waits_in_the_buffer_is_in_a_row(simulate):
    """Compute 0.1, 0.2 and 10 s, two uploads make an aggregation, one round: 0 waits for 1, then both for nobody."""
    blocks = {
        "rounds": 3,
        "devices": {
            "count": COUNT - 1,
            "idle_power_w": 1.0,
            "stragglers": {"name": "given", "factors": {0: 1, 1: 2, 2: 100}},
        },
        "topology": {
            "placement": {"name": "coordinates", "positions_m": [[9, 0], [-9, 0], [0, 9]]},
        },
        "radio": {"channel": "none"},
        "protocol": {"name": "asynchronous_server", "buffer": 2},
        "learner": {
            "name": "stub",
            "flops": 4e8,
            "server_flops": 0.0,
            "bits": 1e-3,
            "download_bits": 1e-3,
        },
    }
    _, log = simulate(**blocks)
    waits = [(row.device, row.round, row.start_s, row.end_s, row.idle_j) for row in log.outside]
    assert waits == [
        (0, t, pytest.approx(t_s, abs=1e-6), pytest.approx(t_s + 0.1, abs=1e-6), pytest.approx(0.1, abs=1e-6))
        for t, t_s in ((1, 0.1), (2, 0.3), (3, 0.5))
    ]
