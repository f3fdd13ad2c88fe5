"""A server's round by hand: what it takes, who is waited for, and what becomes of the others."""

from __future__ import annotations

import gc
import math

import pytest

from learners.training.late_fusion.evaluation import evaluate
from learners.training.late_fusion.local_update import Trained
from netsim.core.errors import ScenarioError
from netsim.work.graph import TaskGraph

COUNT = 4
NOISE_W_PER_HZ = 1e-3 * 10 ** (-140 / 10)


@pytest.fixture
def star(simulate):
    """Four devices at 100 m around the server, no fading: every link has the same gain."""

    def run(protocol=None, server=None, devices=None, learner=None, rounds=1, radio=None, settings=()):
        return simulate(
            settings,
            rounds=rounds,
            devices={"count": COUNT, "tx_power_w": 0.1, **(devices or {})},
            topology={
                "placement": {
                    "name": "coordinates",
                    "positions_m": [[100, 0], [-100, 0], [0, 100], [0, -100]],
                },
            },
            radio={"channel": "none", **(radio or {})},
            protocol={"name": "server_rounds", **(protocol or {})},
            server={"uplink": {"bandwidth_hz": 1e6}, "downlink": {"bandwidth_hz": 1e6}, **(server or {})},
            learner={
                "name": "stub", "flops": 4e9, "bits": 1e6, "download_bits": 2e6, **(learner or {})
            },
        )  # fmt: skip

    return run


def rate_bps(simulation, tx_power_w, bandwidth_hz=1e6):
    """B log2(1 + p g²/(B N0)) of a link, from the path loss that the simulation states."""
    loss_db = simulation.network.server.uplink.path_loss_db[0, COUNT]
    return bandwidth_hz * math.log2(1 + tx_power_w * 10 ** (-loss_db / 10) / (bandwidth_hz * NOISE_W_PER_HZ))


def test_a_round_takes_download_computing_upload_and_aggregation(star):
    """4e9 FLOPs at 4e9 FLOP/s: 1 s. 2e6 bits down once at 1 W; 1e6 bits up in a quarter of the band at 0.1 W each."""
    simulation, log = star(learner={"server_flops": 96e9})
    down_s = 2e6 / rate_bps(simulation, 1.0)
    up_s = 1e6 / rate_bps(simulation, 0.1, 0.25e6)
    (row,) = log.server
    assert (row.outcome, row.chosen, row.arrived, row.flops) == ("aggregated", 4, 4, 96e9)
    assert row.end_s == pytest.approx(down_s + 1.0 + up_s + 1.0, rel=1e-12)
    assert row.compute_s == pytest.approx(1.0) and row.sending_s == pytest.approx(down_s, rel=1e-9)
    assert row.sending_j == pytest.approx(1.0 * down_s, rel=1e-12)
    for device in log.rounds:
        assert device.outcome == "finished" and (device.sent, device.received, device.missed) == (1, 1, 0)
        assert device.compute_j == pytest.approx(0.2) and device.end_s == row.end_s
        assert device.sending_j == pytest.approx(0.1 * up_s, rel=1e-12)
        assert device.compute_s + device.sending_s + device.receiving_s + device.idle_s == pytest.approx(
            row.end_s, rel=1e-12
        )


def test_a_broadcast_costs_its_sender_once(star):
    _, log = star()
    downloads = [row for row in log.transfers if row.kind == "download"]
    assert sum(row.energy_j for row in downloads) == pytest.approx(log.server[0].sending_j, rel=1e-12)
    assert len({row.end_s for row in downloads}) == 1


def test_unicast_shares_band_and_power(star):
    """Four downloads side by side, each in a quarter of the band with a quarter of the power: four times as long."""
    simulation, log = star(server={"downlink": {"bandwidth_hz": 1e6, "mode": "unicast"}})
    downloads = [row for row in log.transfers if row.kind == "download"]
    assert [row.end_s for row in downloads] == pytest.approx(
        [4 * 2e6 / rate_bps(simulation, 1.0)] * 4, rel=1e-9
    )
    assert sum(row.energy_j for row in downloads) == pytest.approx(log.server[0].sending_j, rel=1e-9)


@pytest.mark.parametrize("division", ["redivided", "equal"])
def test_the_uplink_is_divided_again_when_somebody_is_done_or_not(star, division):
    """Device 3 computes twice as long, and is alone then: with the whole band, or with its quarter still.

    The first three share thirds of a redivided band, quarters of an equally divided one.
    """
    simulation, log = star(
        server={"uplink": {"bandwidth_hz": 1e6, "division": division}},
        devices={"overrides": [{"devices": [3], "processor": {"frequency_hz": 1e8}}]},
    )
    uploads = {row.sender: row for row in log.transfers if row.kind == "upload"}
    together, alone = (1e6 / 3, 1e6) if division == "redivided" else (1e6 / 4, 1e6 / 4)
    for k in (0, 1, 2):
        assert uploads[k].airtime_s == pytest.approx(1e6 / rate_bps(simulation, 0.1, together), rel=1e-12)
    assert uploads[3].airtime_s == pytest.approx(1e6 / rate_bps(simulation, 0.1, alone), rel=1e-12)
    assert uploads[3].energy_j == pytest.approx(0.1 * uploads[3].airtime_s, rel=1e-12)


def test_participants_are_drawn_without_replacement_and_the_others_idle(star):
    _, log = star({"participants": 2}, rounds=20)
    for t in range(1, 21):
        rows = [row for row in log.rounds if row.round == t]
        assert sorted(row.outcome for row in rows) == ["finished", "finished", "idle", "idle"]
    times = [sum(row.device == k and row.outcome == "finished" for row in log.rounds) for k in range(COUNT)]
    assert sum(times) == 40 and min(times) >= 4  # 10 each on average, standard deviation 2.2


def test_who_is_not_done_at_the_deadline_is_charged_and_discarded(star):
    """Device 3 needs 10 s of computing at a tenth of the clock; it has computed from the download to 5 s, at 2e-4 W."""
    simulation, log = star(
        {"deadline_s": 5.0}, devices={"overrides": [{"devices": [3], "processor": {"frequency_hz": 1e8}}]}
    )
    (row,) = log.server
    assert (row.arrived, row.end_s) == (3, 5.0)
    late = next(row for row in log.rounds if row.device == 3)
    computed_s = 5.0 - 2e6 / rate_bps(simulation, 1.0)
    assert late.outcome == "cut_off" and math.isnan(late.compute_end_s)
    assert late.compute_j == pytest.approx(2e-28 * 1e8**3 * computed_s, rel=1e-9)


def test_a_deadline_that_nobody_can_meet_makes_an_empty_round_and_the_run_goes_on(star):
    _, log = star({"deadline_s": 0.5}, rounds=3, learner={"server_flops": 96e9})
    assert [(row.outcome, row.arrived, row.flops) for row in log.server] == [("empty", 0, 0.0)] * 3
    assert [row.end_s for row in log.server] == [0.5, 1.0, 1.5]
    assert {row.outcome for row in log.rounds} == {"cut_off"} and [t for t, _ in log.closed] == [1, 2, 3]
    assert all(row.compute_j > 0 for row in log.rounds)


def test_the_first_uploads_are_enough_and_the_rest_is_cut_off(star):
    slow = [{"devices": [k], "processor": {"frequency_hz": 1e9 / (k + 1)}} for k in range(COUNT)]
    _, log = star({"first": 2}, devices={"overrides": slow})
    assert {row.device: row.outcome for row in log.rounds} == {
        0: "finished", 1: "finished", 2: "cut_off", 3: "cut_off"
    }  # fmt: skip
    assert log.server[0].arrived == 2
    assert [row.value for row in log.metrics if row.name == "arrived"] == [2.0]


def test_a_link_in_outage_loses_the_download_and_nobody_waits_for_it(star):
    """At 100 m the mean SNR of the downlink is the higher by 10 dB; a threshold between lets only downloads through."""
    simulation, _ = star()
    snr_db = 10 * math.log10(2 ** (rate_bps(simulation, 1.0) / 1e6) - 1)
    _, log = star(radio={"outage_snr_db": snr_db + 0.1})
    assert {row.outcome for row in log.rounds} == {"lost"} and log.server[0].outcome == "empty"
    assert {(row.received, row.missed) for row in log.rounds} == {(0, 1)}


def test_a_device_that_dies_is_not_waited_for(star):
    """0.1 J is half of a round's computing."""
    _, log = star(devices={"overrides": [{"devices": [2], "battery": {"capacity_j": 0.1}}]}, rounds=2)
    assert [k for k, _ in log.deaths] == [2]
    assert [row.arrived for row in log.server] == [3, 3] and [row.chosen for row in log.server] == [4, 3]
    assert [row.outcome for row in log.rounds if row.device == 2] == ["died"]
    (row,) = (row for row in log.rounds if row.device == 2)
    assert row.compute_j + row.sending_j + row.receiving_j + row.idle_j == pytest.approx(0.1, rel=1e-9)


def test_the_run_ends_when_everybody_is_dead(star):
    _, log = star(devices={"battery": {"capacity_j": 0.1}}, rounds=5)
    assert [row.outcome for row in log.server] == ["empty"] and len(log.deaths) == COUNT


def test_fastest_takes_those_that_were_quick(star):
    slow = [{"devices": [k], "processor": {"frequency_hz": 1e9 / (4 - k)}} for k in range(COUNT)]
    _, log = star({"participants": 2}, {"selection": "fastest"}, {"overrides": slow}, rounds=4)
    chosen = [
        sorted(row.device for row in log.rounds if row.round == t and row.outcome == "finished")
        for t in range(1, 5)
    ]
    assert chosen == [[0, 1], [2, 3], [2, 3], [2, 3]]


def test_the_server_is_charged_for_its_work_and_its_model_evaluated_after_it(simulate, late_fusion):
    """ε f² / e = 2e-28 · 1e18 / 4 J per FLOP of the server, two FLOPs per number of each of 3 participants.

    8 numbers, hidden layers of 4, 2 classes: 32 + 4 + 16 + 4 numbers in the trunk and 16 + 4 + 8 + 2 in the one head.
    """
    simulation, log = simulate(
        rounds=3,
        topology=None,
        protocol={"name": "server_rounds"},
        server={"processor": {"frequency_hz": 1e9, "flops_per_cycle": 4.0, "effective_capacitance_f": 2e-28}},
        **late_fusion("fedavg", 4, 4),
        jobs={"device": "cpu", "executor": "inline", "stacking": "off"},
    )
    flops = 2 * 3 * (56 + 30)
    for row in log.server:
        assert (row.outcome, row.arrived, row.flops) == ("aggregated", 3, flops)
        assert row.compute_j == pytest.approx(5e-11 * flops, rel=1e-12)
        uploads_s = max(t.end_s for t in log.transfers if (t.round, t.kind) == (row.round, "upload"))
        assert row.end_s == pytest.approx(uploads_s + flops / 4e9, rel=1e-12)
    told = [row for row in log.metrics if row.name == "loss_test"]
    assert [(row.round, row.device, row.time_s) for row in told] == [
        (r.round, 3, r.end_s) for r in log.server
    ]

    federation = simulation.learner._federation

    def loss(parts):
        rows, store = federation.test_rows.value, federation.store.value
        return evaluate(federation.architecture, parts, store, rows, 256, "cpu")["loss"]

    losses = [loss(federation.initial), *(row.value for row in told)]
    assert len(set(losses)) == 4 and losses[3] == loss(simulation.states[3].parts)


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ({"participants": 5}, ["protocol.participants", "4", "got 5"]),
        ({"first": 5}, ["protocol.first", "4", "got 5"]),
        ({"participants": 2, "first": 3}, ["first", "at most participants, 2", "got 3"]),
        ({"deadline_s": 0}, ["deadline_s", "greater than 0"]),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_event(star, protocol, words):
    with pytest.raises(ScenarioError) as error:
        star(protocol)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_learner_and_protocol_must_fit(simulate):
    with pytest.raises(ScenarioError, match=r"learner\.name: 'dmml_kd_balance' cannot be run under protocol"):
        simulate(protocol="asynchronous_server", learner="dmml_kd_balance")


def test_what_is_uploaded_in_the_very_moment_of_the_deadline_is_in_time(star):
    """The deadline is when the uploads of an endless round end, or a rounding error earlier; or clearly earlier."""
    _, endless = star()
    end_s = max(row.end_s for row in endless.transfers)
    for deadline_s, arrived in ((end_s, 4), (math.nextafter(end_s, 0), 4), (end_s * (1 - 1e-9), 0)):
        _, log = star({"deadline_s": deadline_s}, rounds=50)
        assert {row.arrived for row in log.server} == {arrived}


def test_what_clients_have_trained_is_gone_once_it_is_aggregated(simulate, late_fusion, monkeypatch):
    """Else the memory, and each snapshot, would have a model for every client that ever took part."""
    held, close = [], TaskGraph.close

    def closed(graph, round, time_s):
        close(graph, round, time_s)
        gc.collect()
        held.append(sum(isinstance(one, Trained) for one in gc.get_objects()))

    monkeypatch.setattr(TaskGraph, "close", closed)
    simulate(
        rounds=3,
        protocol={"name": "server_rounds"},
        server={},
        evaluation={"every": 1},
        **late_fusion("fedavg", 4),
    )
    assert held == [0, 0, 0]
