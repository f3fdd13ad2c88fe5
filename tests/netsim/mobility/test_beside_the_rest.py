"""Devices that move beside fading, rates, access methods and protocols."""

from __future__ import annotations

import math

import numpy as np
import pytest

from learners.algorithms.stub import Stub
from netsim.core.errors import ScenarioError

PLACES = [[0, 0], [30, 0], [0, 30], [90, 0]]
LINKS = {"name": "range", "range_m": 70.0}
UNICAST = {"downlink": {"mode": "unicast", "access": {"name": "ofdma", "subcarriers": 7}}}


def walk(tmp_path, rows, **options):
    """A block in which devices walk as ``rows`` say, and stay where these end."""
    text = "\n".join(",".join(map(str, row)) for row in rows)
    (tmp_path / "ways.csv").write_text(f"time_s,device,x_m,y_m\n{text}\n")
    return {"name": "trace", "file": str(tmp_path / "ways.csv"), "end": "hold", **options}


@pytest.mark.parametrize(
    "radio",
    [
        {"channel": {"name": "rayleigh", "coherence_time_s": 0.2}, "access": "shared"},
        {"channel": "rician", "rate": {"name": "shannon", "gap_db": 2.0, "cap_bps_per_hz": 6.0}},
        {"channel": "none", "rate": "mcs", "outage_snr_db": 0.0},
        {"channel": {"name": "jakes", "speed_m_per_s": 3.0}, "access": {"name": "tdma", "slot_s": 0.03}},
        {"access": {"name": "ofdma", "subcarriers": 7, "scheduler": "best_gain"}, "half_duplex": True},
        {"access": "csma", "acknowledgement_bits": 1e4},
        {"channel": "nakagami", "access": "reuse"},
    ],
)
@pytest.mark.parametrize(
    "protocol",
    [
        {"name": "decentralized_rounds"},
        {"name": "asynchronous_gossip", "peers": 1, "staleness": "polynomial"},
    ],
)
def test_a_world_in_which_everybody_stands_still_is_the_one_that_does_not_move(
    simulate, tmp_path, radio, protocol
):
    """Updates of the positions cut transfers into pieces that come to the same, with antennas and far interferers."""
    check_alike(simulate, tmp_path, {"radio": radio, "protocol": protocol})


@pytest.mark.parametrize(
    "blocks",
    [
        {"protocol": {"name": "server_rounds", "participants": 3}},
        {"protocol": {"name": "asynchronous_server", "buffer": 2}, "radio": {"rate": "mcs"}},
        {"protocol": {"name": "hierarchical_rounds", "edges": 2, "edge_rounds": 2}, "server": UNICAST},
    ],
)
def test_the_same_holds_with_edge_servers(simulate, tmp_path, blocks):
    check_alike(simulate, tmp_path, blocks)


def check_alike(simulate, tmp_path, blocks):
    world = {
        "rounds": 3,
        "devices": {
            "count": 4,
            "antenna_gain_dbi": 3.0,
            "battery": {"capacity_j": 1e6},
            "stragglers": {"name": "lognormal", "sigma": 1.0},
        },
        "topology": {"placement": {"name": "coordinates", "positions_m": PLACES}, "links": LINKS},
        "learner": {"name": "stub", "flops": 4e8, "bits": 3e6},
        **blocks,
    }
    rows = [(0, k, *place) for k, place in enumerate(PLACES)]
    logs = [simulate(**world)[1], simulate(**world, mobility=walk(tmp_path, rows, every_s=0.13))[1]]
    for table, key in (
        ("transfers", lambda row: (row.round, row.kind, row.sender, row.receiver, row.start_s)),
        ("rounds", lambda row: (row.round, row.device)),
        ("edges", lambda row: (row.round, row.server)),
    ):
        still, moving = (sorted(getattr(log, table), key=key) for log in logs)
        assert [row.outcome for row in still] == [row.outcome for row in moving]
        numbers = [[[v for v in row if not isinstance(v, str)] for row in rows] for rows in (still, moving)]
        np.testing.assert_allclose(*numbers, rtol=1e-6, atol=1e-9)
    assert logs[0].transfers


def pairs_that_meet(tmp_path, near_m, **blocks):
    """Devices 0 and 1 have a link, 2 and 3 another one; the second pair is ``near_m`` away from 3 to 6 s, else far."""
    way = [(0, 1e5), (2, 1e5), (3, near_m), (5, near_m), (6, 1e5)]
    rows = [(0, 0, 0, 0), (0, 1, 0, 10)]
    rows += [(time_s, k, x_m, 10 * (k - 2)) for time_s, x_m in way for k in (2, 3)]
    return {
        "rounds": 1,
        "devices": {"count": 4, "tx_power_w": 1e-3},
        "topology": {"links": {"name": "range", "range_m": 15.0}},
        "mobility": walk(tmp_path, rows, **blocks),
    }


def rate_bps(near_m):
    """Of all four transfers, at 5e5 Hz and noise of 1e-6 W: a loss of d² and 10 m between the ends of a link."""
    noise_w, interference_w = 1e-6, 1e-3 * (near_m**-2 + (near_m**2 + 100) ** -1)
    return 5e5 * math.log2(1 + 1e-3 / 100 / (noise_w + interference_w))


RADIO = {
    "bandwidth_hz": 5e5,
    "noise_dbm_per_hz": 10 * math.log10(1e-6 / 5e5) + 30,
    "channel": "none",
    "access": "reuse",
    "path_loss": {"name": "log_distance", "exponent": 2, "reference_loss_db": 0},
}


def test_who_comes_near_disturbs_although_there_is_no_link(simulate, tmp_path):
    """From 1 s on; the SINR is another one from 3 s on, and the first one again from 6 s on."""
    blocks, near_m = pairs_that_meet(tmp_path, 40.0), 40.0
    bits = 3 * rate_bps(1e5) + 3 * rate_bps(near_m)
    _, log = simulate(**blocks, radio=RADIO, learner={"name": "stub", "flops": 4e9, "bits": bits})
    assert len(log.transfers) == 4
    for row in log.transfers:
        assert (row.outcome, row.start_s, row.end_s) == ("delivered", 1, pytest.approx(7))
        assert row.energy_j == pytest.approx(6e-3)


@pytest.mark.parametrize(("way", "outcome", "end_s"), [("drop", "outage", 3.0), ("resume", "delivered", 8.0)])
def test_who_is_drowned_out_waits_until_the_others_have_gone_if_it_may(
    simulate, tmp_path, way, outcome, end_s
):
    """From 3 to 6 s the SINR is below the threshold; the senders go on, since their links are there."""
    blocks = pairs_that_meet(tmp_path, 15.0, on_link_loss=way)
    radio = {**RADIO, "outage_snr_db": 3.0}
    bits = 4 * rate_bps(1e5)
    _, log = simulate(**blocks, radio=radio, learner={"name": "stub", "flops": 4e9, "bits": bits})
    for row in log.transfers:
        assert (row.outcome, row.end_s) == (outcome, pytest.approx(end_s))
        assert row.energy_j == pytest.approx((end_s - 1) * 1e-3)
        assert row.sent_bits == pytest.approx(bits if way == "resume" else 2 * rate_bps(1e5))


NOTES: list[tuple] = []


class Noting(Stub):
    """Notes whom it has met, and what it mixes."""

    def meets(self, node, round, neighbours):
        NOTES.append((node, round, dict(neighbours)))

    def aggregate(self, work, node, round, state, arrived):
        NOTES[-1] += (sorted(arrived),)
        return super().aggregate(work, node, round, state, arrived)


def test_gossip_follows_links_that_come_and_go(simulate, tmp_path):
    """A round takes 2 s, a message 1 s. Device 1 is beside 0 before 3 s, beside 2 from 5 s on, alone in between.

    What 0 and 1 send at 2 s arrives at 3 s, what 1 and 2 send at 6 s at 7 s, and is mixed with the round after.
    """
    NOTES.clear()
    rows = [(0, 0, 0, 0), (0, 1, 40, 0), (3, 1, 40, 0), (3.5, 1, 500, 0), (4.5, 1, 500, 0), (5, 1, 960, 0)]
    simulation, log = simulate(
        rounds=4,
        devices={"count": 3, "tx_power_w": 5e-11},
        topology={"links": {"name": "range", "range_m": 50.0}},
        mobility=walk(tmp_path, [*rows, (0, 2, 1000, 0)]),
        radio={
            "channel": "none",
            "path_loss": {"name": "log_distance", "exponent": 1e-9, "reference_loss_db": 0},
        },
        protocol={"name": "asynchronous_gossip"},
        learner={
            "name": "test_beside_the_rest:Noting",
            "flops": 8e9,
            "bits": 5e5 * math.log2(1 + 10),
        },
    )
    sent = {(row.round, row.sender, row.receiver): row.outcome for row in log.transfers}
    assert sent == dict.fromkeys(
        [(1, 0, 1), (1, 1, 0), (3, 1, 2), (3, 2, 1), (4, 1, 2), (4, 2, 1)], "delivered"
    )
    assert [note for note in NOTES if note[0] == 1] == [
        (1, 1, {1: [0], 0: [1]}, []),
        (1, 2, {1: [0], 0: [1]}, [0]),
        (1, 3, {1: [2], 2: [1]}, []),
        (1, 4, {1: [2], 2: [1]}, [2]),
    ]
    assert simulation.network.alone == {0, 1, 2}


@pytest.mark.parametrize(
    ("learner", "protocol"),
    [
        ("fedavg", {"name": "decentralized_rounds"}),
        ("fedavg", {"name": "asynchronous_gossip", "staleness": "polynomial"}),
        ("gradient_tracking", {"name": "decentralized_rounds"}),
    ],
)
def test_who_stands_still_learns_the_same(simulate, late_fusion, tmp_path, learner, protocol):
    """Weights are those of whom a device meets, and these are its neighbours."""
    world = {
        **late_fusion(learner, 4),
        "rounds": 3,
        "devices": {"count": 4, "battery": {"capacity_j": 1e9}},
        "topology": {"placement": {"name": "coordinates", "positions_m": PLACES}, "links": LINKS},
        "protocol": protocol,
    }
    rows = [(0, k, *place) for k, place in enumerate(PLACES)]
    still, moving = (
        simulate(**world, **blocks)[1].metrics for blocks in ({}, {"mobility": walk(tmp_path, rows)})
    )
    assert [row[:4] for row in still] == [row[:4] for row in moving]
    np.testing.assert_allclose([row.value for row in still], [row.value for row in moving], rtol=1e-6)


def test_a_learner_that_plans_with_the_first_links_is_refused(simulate, late_fusion, tmp_path):
    world = {**late_fusion("random_walk", 4), "devices": {"count": 3}}
    with pytest.raises(ScenarioError, match="mobility: 'trace' cannot be used with learner 'random_walk'"):
        simulate(**world, mobility=walk(tmp_path, [(0, k, k, 0) for k in range(3)]))
