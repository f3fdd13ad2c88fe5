"""Transfers whose links go, rounds whose neighbours change, and what that costs."""

from __future__ import annotations

import math
import os
from functools import partial

import numpy as np
import pytest
from bookkeeping import check_joules, check_times, check_transfers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from retiming import refused, retimed_as, run

import netsim.protocols.decentralized
from netsim.core.errors import ScenarioError
from netsim.core.pairs import Pairs
from netsim.core.registry import load
from netsim.protocols.company import Company
from netsim.protocols.decentralized_at_once import RoundsAtOnce
from netsim.world.mobility.mobility import Moving
from netsim.world.mobility.motion import Motion
from netsim.world.radio.losses import MovingLosses
from netsim.world.topology.links import distance_m
from netsim.world.topology.mixing import metropolis_row
from netsim.world.topology.topology import Topology

WORLDS = settings(
    max_examples=int(os.environ.get("NETSIM_WORLDS", "25")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
RATE_BPS = 5e5 * math.log2(1 + 10)
"""With a loss of 0 dB, 1e-17 W/Hz and 5e5 Hz: an SNR of 10 dB needs 5e-11 W."""


def meeting(tmp_path, rows, device_count=2, **mobility):
    """Blocks of a world in which devices walk as ``rows`` say, and each link within 50 m has an SNR of 10 dB."""
    text = "\n".join(",".join(map(str, row)) for row in rows)
    (tmp_path / "ways.csv").write_text(f"time_s,device,x_m,y_m\n{text}\n")
    return {
        "rounds": 1,
        "devices": {"count": device_count, "tx_power_w": 5e-11},
        "topology": None,
        "mobility": {"name": "trace", "file": str(tmp_path / "ways.csv"), "end": "hold", **mobility},
        "radio": {
            "channel": "none",
            "path_loss": {
                "name": "log_distance",
                "exponent": 1e-9,
                "reference_loss_db": 0,
            },
        },
    }


AWAY = [(0, 0, 0, 0), (0, 1, 49, 0), (4, 1, 49, 0), (4.5, 1, 90, 0), (9, 1, 90, 0), (9.5, 1, 49, 0)]
"""Device 1 is out of range from 5 s on, the first update, and back at 10 s."""


def test_a_transfer_whose_link_goes_is_dropped_with_the_bits_that_got_through(simulate, tmp_path):
    """1 s of computing, 4 s on the air until the link goes; each direction has used 4 s of power."""
    blocks = meeting(tmp_path, AWAY) | {"learner": {"name": "stub", "flops": 4e9, "bits": 20 * RATE_BPS}}
    _, log = simulate(**blocks)
    for row in log.transfers:
        assert (row.outcome, row.start_s, row.end_s) == ("outage", 1.0, 5.0)
        assert row.sent_bits == pytest.approx(4 * RATE_BPS)
        assert row.energy_j == pytest.approx(4 * 5e-11)
    assert [(row.received, row.missed, row.end_s) for row in log.rounds] == [(0, 1, 5.0)] * 2


def test_a_transfer_is_resumed_when_the_link_is_back(simulate, tmp_path):
    """4 s on the air, 5 s without power, 3 s for the other bits: it ends at 13 s and costs 7 s of power."""
    blocks = meeting(tmp_path, AWAY, on_link_loss="resume")
    _, log = simulate(**blocks, learner={"name": "stub", "flops": 4e9, "bits": 7 * RATE_BPS})
    for row in log.transfers:
        assert row.outcome == "delivered" and row.end_s == pytest.approx(13.0)
        assert row.airtime_s == pytest.approx(7.0) and row.energy_j == pytest.approx(7 * 5e-11)
    assert all(row.received == 1 for row in log.rounds)


def test_a_link_that_stays_away_is_given_up(simulate, tmp_path):
    blocks = meeting(tmp_path, AWAY, on_link_loss="resume", resume_within_s=3.0)
    _, log = simulate(**blocks, learner={"name": "stub", "flops": 4e9, "bits": 7 * RATE_BPS})
    assert [(row.outcome, row.end_s) for row in log.transfers] == [("outage", 8.0)] * 2


def test_who_left_before_sending_keeps_nobody_waiting_and_who_is_alone_trains(simulate, tmp_path):
    """Device 1 computes until 8 s and is away then: device 0 goes on; device 2 is alone from the start."""
    rows = [(0, 0, 0, 0), (0, 1, 40, 0), (2, 1, 400, 0), (0, 2, 1000, 0)]
    blocks = meeting(tmp_path, rows, 3)
    blocks["devices"]["stragglers"] = {"name": "given", "factors": {1: 8}}
    simulation, log = simulate(**{**blocks, "rounds": 2}, learner={"name": "stub", "flops": 4e9, "bits": 1e6})
    ends_s = {(row.device, row.round): row.end_s for row in log.rounds}
    assert ends_s[0, 1] == 8.0 and ends_s[0, 2] == 9.0
    assert ends_s[2, 1] == 1.0 and ends_s[2, 2] == 2.0
    assert simulation.network.alone == {0, 1, 2}  # the first two in their second round
    assert {row.outcome for row in log.transfers} == {"outage"}


def test_a_way_that_ends_early_stops_the_run_with_a_line(simulate, tmp_path):
    blocks = meeting(tmp_path, AWAY, end="error")
    with pytest.raises(
        ScenarioError, match=r"mobility\.file: .*the way of device 0 ends at 0 s, and the run goes"
    ):
        simulate(**blocks, learner={"name": "stub", "flops": 4e9, "bits": 7 * RATE_BPS})


def test_shadowing_along_a_way_is_that_of_the_place():
    """Correlation exp(-d / 10 m) after d, of 500 links in 12 worlds; and whoever comes back finds what it left."""
    walk, loss = load("mobilities", "gauss_markov"), load("path_losses", "log_distance")
    upwards = walk.Options(area_m=(0, 0, 9000, 4000), alpha=1, speed_mps=5, sigma_mps=0, direction_deg=90)
    alone = loss.Options(exponent=1e-9, reference_loss_db=0, shadowing={"sigma_db": 1})
    pairs = np.stack([np.arange(500), np.arange(500, 1000)], axis=1)
    correlations = []
    for seed in range(12):
        placed_m = np.random.default_rng(seed).random((1000, 2)) * 4000
        placed_m[500:, 0] += 5000  # nobody near anybody's other end
        first = Topology(placed_m, Pairs(pairs, distance_m(placed_m, pairs)), 1)
        motion = Motion(Still(placed_m[:500], walk(upwards, placed_m[500:], seed)), None, first, seed)
        of_links = partial(loss(alone, seed).losses_db, carrier_hz=1e9)
        moving = MovingLosses(first.distance_m, 0.0, motion, of_links)
        power = {update: moving.powers(pairs, update) for update in (0, 1, 2, 4)}
        np.testing.assert_array_equal(moving.powers(pairs, 0), power[0])
        correlations.append([np.mean(np.log10(power[0]) * np.log10(late)) * 100 for late in power.values()])
    error = np.std(correlations, axis=0) / math.sqrt(12)
    assert (np.abs(np.mean(correlations, axis=0) - np.exp(-np.array([0, 5, 10, 20]) / 10)) < 4 * error).all()


class Still(Moving):
    """Some stand still, and others move."""

    def __init__(self, standing_m, others):
        super().__init__(others.options, standing_m, 0)
        self.others = others

    def positions_m(self, time_s):
        return np.vstack([self.placed_m, self.others.positions_m(time_s)])


def test_neighbours_of_a_round_have_each_other_and_their_weights_average():
    """Whoever begins first meets those that are near; later ones meet them, wherever these are now."""
    company = Company(4)
    assert company.begin(0, 1, [1, 2], 0.0) == [1, 2]
    assert company.begin(2, 1, [1, 3], 1.0) == [0, 1, 3]
    assert company.begin(1, 1, [], 2.0) == [0, 2]
    assert company.begin(3, 1, [0], 3.0) == [2]
    rows = [metropolis_row(k, company.around(k, 1)) for k in range(4)]
    matrix = np.array([[row.get(n, 0.0) for n in range(4)] for row in rows])
    np.testing.assert_allclose(matrix, matrix.T)
    np.testing.assert_allclose(matrix.sum(axis=0), 1)
    assert company.begin(0, 2, [3], 4.0) == [3]
    assert company.begin(0, 3, [1, 2, 3], 5.0) == [], "they are not in round 2 yet"
    company.begin(3, 2, [0, 2], 5.0)
    assert company.begin(2, 2, [3], 6.0) == [3]
    assert company.begin(3, 3, [0, 2], 7.0) == [2], "device 0 began round 3 without it"


walks = st.one_of(
    st.fixed_dictionaries(
        {
            "name": st.just("random_waypoint"),
            "diameter_m": st.sampled_from([80.0, 200.0]),
            "speed_mps": st.sampled_from([[1.0, 3.0], [5.0, 40.0]]),
            "pause_s": st.sampled_from([0.0, 3.0]),
        }
    ),
    st.just({"name": "gauss_markov", "area_m": [0.0, 0.0, 90.0, 90.0], "speed_mps": 8.0, "sigma_mps": 4.0}),
)
ways_of_loss = st.one_of(
    st.just({"on_link_loss": "drop"}),
    st.fixed_dictionaries(
        {"on_link_loss": st.just("resume"), "resume_within_s": st.sampled_from([2.0, 60.0])}
    ),
)


@st.composite
def worlds(draw):
    """Devices that move, with links shorter than their area, and messages longer than an update."""
    return {
        "seed": draw(st.integers(0, 99)),
        "rounds": 3,
        "devices": {
            "count": 7,
            "stragglers": draw(st.sampled_from([{"name": "none"}, {"name": "lognormal", "sigma": 1.0}])),
            "antenna_gain_dbi": draw(st.sampled_from([0.0, 2.0])),
            **draw(st.sampled_from([{}, {"rx_power_w": 0.3, "idle_power_w": 0.05}])),
        },
        "topology": {
            "placement": {"name": "grid", "spacing_m": 25},
            "links": {"name": "range", "range_m": draw(st.sampled_from([30.0, 60.0]))},
        },
        "mobility": {**draw(walks), **draw(ways_of_loss), "every_s": draw(st.sampled_from([0.3, 1.0]))},
        "radio": {
            "channel": draw(st.sampled_from(["none", "rayleigh", "rician", "nakagami"])),
            "rate": draw(st.sampled_from(["shannon", {"name": "shannon", "gap_db": 3, "cap_bps_per_hz": 9}])),
            "outage_snr_db": draw(st.sampled_from([None, 25.0])),
            "path_loss": draw(st.sampled_from(["free_space", {"name": "free_space", "shadowing": {}}])),
        },
        "learner": {"name": "stub", "bits": draw(st.sampled_from([1e6, 2e7])), "flops": 4e9},
    }


@WORLDS
@given(world=worlds())
def test_arrays_and_events_make_the_same_run(simulate, world):
    """Sums of joules are added in another order; all else is equal to the last bit."""
    begun, life = [], RoundsAtOnce.life
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RoundsAtOnce, "life", lambda rounds: begun.append(rounds) or life(rounds))
        at_once = simulate(**world)[1]
        patch.setattr(netsim.protocols.decentralized, "undisturbed", lambda *_: False)
        by_events = simulate(**world)[1]
    assert len(begun) == 1

    def numbers(rows, *order):
        rows = sorted(rows, key=lambda row: [getattr(row, name) for name in order])
        return [[value for value in row if not isinstance(value, str)] for row in rows], [
            row.outcome for row in rows
        ]

    for table, order in {
        "rounds": ("round", "device"),
        "transfers": ("round", "sender", "receiver"),
        "outside": ("device",),
    }.items():
        (one, outcomes), (other, same) = (
            numbers(getattr(log, table), *order) for log in (at_once, by_events)
        )
        assert outcomes == same
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
    assert at_once.closed == by_events.closed


@WORLDS
@given(
    world=worlds(),
    capacity_j=st.sampled_from([math.inf, 0.5, 3.0]),
    coherence_s=st.sampled_from([None, 0.5]),
    access=st.sampled_from(
        ["dedicated", "shared", "ofdma", "tdma", "csma", {"name": "reuse", "channels": 3}]
    ),
    rate=st.sampled_from(["shannon", "mcs"]),
    half_duplex=st.booleans(),
    goes=st.booleans(),
    protocol=st.sampled_from(
        [
            {"name": "decentralized_rounds"},
            {"name": "decentralized_rounds", "deadline_s": 4.0, "late": "keep", "schedule": "own"},
            {"name": "server_rounds", "participants": 4},
            {"name": "asynchronous_server", "buffer": 2},
            {"name": "asynchronous_gossip", "peers": 2, "duration_s": 30.0},
            {"name": "hierarchical_rounds", "edges": 2, "edge_rounds": 2, "deadline_s": 20.0},
        ]
    ),
    coordinated=st.booleans(),
)
def test_all_joules_and_bits_are_recorded_where_links_break(
    simulate, world, capacity_j, coherence_s, access, rate, half_duplex, goes, protocol, coordinated
):
    """Capacity = recorded + left, what transfers cost = what was spent on sending, rows without gap, nobody hangs."""
    world["protocol"], world["devices"]["battery"] = protocol, {"capacity_j": capacity_j}
    world["radio"] |= {"access": access, "rate": rate, "half_duplex": half_duplex}
    if goes:  # and nobody dies
        world["devices"]["battery"]["capacity_j"] = 1e6
        world["devices"]["churn"] = {"name": "exponential", "mean_here_s": 6.0, "mean_away_s": 2.0}
    if coherence_s is not None:
        world["radio"]["channel"] = {"name": "rayleigh", "coherence_time_s": coherence_s}
    world["learner"]["coordinated"] = coordinated and protocol["name"] == "decentralized_rounds"
    simulation, log = simulate(**world)
    check_transfers(log.transfers)
    for node in simulation.network.nodes:
        own = [row for row in [*log.rounds, *log.outside] if row.device == node.number]
        own += log.server if node.number == 7 else []
        own += [row for row in log.edges if row.server == node.number]
        own.sort(key=lambda row: (row.start_s, row.end_s))
        check_times(own, simulation.network.env.now)
        sent = [row for row in log.transfers if row.sender == node.number]
        check_joules(own, sent, node.battery.capacity_j)


def test_a_run_of_devices_that_move_is_retimed_if_they_meet_the_same_ones(write_scenario):
    path = write_scenario(
        rounds=4,
        devices={"count": 6},
        topology={"links": {"name": "range", "range_m": 60.0}},
        mobility={"name": "random_waypoint", "diameter_m": 100.0, "speed_mps": [1.0, 3.0]},
        learner={"name": "stub", "flops": 4e9, "bits": 0},
    )
    first = run(path, "first")
    fresh = run(first / "scenario.yaml", "fresh", "devices.processor.effective_capacitance_f=1e-27")
    retimed_as(fresh, first, "devices.processor.effective_capacitance_f=1e-27")
    assert "would meet devices" in refused(first, "mobility.speed_mps=[5.0, 30.0]")
