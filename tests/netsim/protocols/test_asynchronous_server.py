"""A server that waits for nobody: who is away, what makes an aggregation, and how stale an upload is."""

from __future__ import annotations

from itertools import pairwise

import pytest
from learners.stub import Stub

from netsim.core.errors import ScenarioError
from netsim.learner import Step

COUNT = 3


@pytest.fixture
def star(simulate):
    """Three devices whose rounds take 1, 2 and 4 s, for their messages take next to no time."""

    def run(protocol=None, rounds=8, settings=(), **blocks):
        slow = [{"devices": [k], "processor": {"frequency_hz": 1e9 / 2**k}} for k in range(COUNT)]
        return simulate(
            settings,
            rounds=rounds,
            devices={"count": COUNT, "overrides": slow, **blocks.pop("devices", {})},
            topology={
                "placement": {"name": "coordinates", "positions_m": [[10, 0], [-10, 0], [0, 10]]},
            },
            radio={"channel": "none", **blocks.pop("radio", {})},
            protocol={"name": "asynchronous_server", **(protocol or {})},
            **{
                "learner": {"name": "stub", "flops": 4e9, "bits": 1e-3, "download_bits": 1e-3},
                **blocks,
            },
        )

    return run


def test_every_upload_makes_an_aggregation_and_its_device_goes_on(star):
    """Uploads at 1 (0), 2 (0, 1), 3 (0), 4 (0, 1, 2) and 5 s (0): the eight rounds."""
    _, log = star()
    assert [row.end_s for row in log.server] == pytest.approx([1, 2, 2, 3, 4, 4, 4, 5], abs=1e-6)
    assert {row.outcome for row in log.server} == {"aggregated"} and {row.arrived for row in log.server} == {
        1
    }
    done = [(row.device, row.round) for row in log.rounds if row.outcome == "finished"]
    assert sorted(done) == [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 1), (1, 2), (2, 1)]
    assert [t for t, _ in log.closed] == list(range(1, 9))


def test_a_buffer_waits_for_so_many_uploads_of_different_devices(star):
    """1 s: 0, 2 s: 1, and both go on; 3 s: 0; 4 s: 1 or 2, whichever was first in the queue."""
    _, log = star({"buffer": 2}, rounds=2)
    assert [row.end_s for row in log.server] == pytest.approx([2, 4], abs=1e-6)
    assert [row.arrived for row in log.server] == [2, 2]


def test_no_more_devices_are_away_than_the_scenario_says(star):
    _, log = star({"concurrency": 1}, rounds=6)
    spans = sorted((row.start_s, row.end_s) for row in log.rounds)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_uploads_that_are_too_old_are_thrown_away(star):
    """Device 2 begins with the model of version 0 and is back after 4 s, when the server has done five rounds."""
    _, log = star({"max_staleness": 3}, rounds=8)
    assert log.server[-1].end_s > 5
    _, unbounded = star(rounds=8)
    assert unbounded.server[-1].end_s == pytest.approx(5, abs=1e-6)


def test_what_is_under_way_at_the_end_is_cut_off_and_charged(star):
    _, log = star(rounds=1)
    cut = {row.device: row for row in log.rounds if row.outcome == "cut_off"}
    assert set(cut) == {1, 2} and all(row.compute_j > 0 for row in cut.values())
    assert all(row.compute_s == pytest.approx(1.0, abs=1e-6) for row in cut.values())


def test_the_run_ends_when_nobody_is_left(star):
    _, log = star(rounds=50, devices={"battery": {"capacity_j": 0.3}})
    assert len(log.deaths) == COUNT and len(log.server) < 50


def test_links_in_outage_do_not_stop_the_clock(star):
    """One errand of 40,000 gets through: each device tries again every second, until its battery is empty."""
    _, log = star(
        rounds=2,
        radio={"channel": "rayleigh", "outage_snr_db": 50.5},
        devices={"tx_power_w": 1.0, "idle_power_w": 0.01, "battery": {"capacity_j": 0.05}},
    )
    assert not log.server and len(log.deaths) == COUNT
    assert {row.outcome for row in log.rounds} <= {"lost", "died"}


@pytest.mark.parametrize("key", ["concurrency", "buffer"])
def test_more_devices_than_there_are_is_refused(star, key):
    with pytest.raises(ScenarioError, match=rf"protocol.{key}: must be at most .* 3 \(got 4\)"):
        star({key: 4})


def test_an_evaluation_is_about_its_moment_however_far_workers_are(star, late_fusion):
    """Workers may have trained what the server takes in later; its model is evaluated without it."""
    found = []
    for executor in ("inline", "threads"):
        _, log = star(
            rounds=4,
            **late_fusion("fedasync", 4),
            costs={"flops_per_mac": 1e6},
            jobs={"device": "cpu", "executor": executor, "stacking": "off", "max_pending": 100},
        )
        found.append([row for row in log.metrics if row.name in ("loss_test", "accuracy")])
    assert found[0] == found[1] and len({row.value for row in found[0] if row.name == "loss_test"}) == 4


def one_more(trained):
    return trained + 1


class Counting(Stub):
    """The state of a device is how often it has trained."""

    def train(self, work, node, round, state, cost):
        if node == self.setup.server:
            return Step(state, state)
        trained = work.do(one_more, {"trained": state}, round)
        return Step(trained, trained)


@pytest.mark.parametrize("executor", ["inline", "threads", "forked"])
def test_a_device_keeps_what_it_trained_although_its_upload_is_thrown_away(star, executor):
    """Too stale, or cut off when the run ends: whatever was computed to its end is in the device's state."""
    learner = {"name": "test_asynchronous_server:Counting", "flops": 4e9, "bits": 1e-3, "download_bits": 1e-3}
    simulation, log = star({"max_staleness": 0}, learner=learner, jobs={"executor": executor})
    trained = [row.device for row in log.rounds if row.compute_end_s == row.compute_end_s]  # not NaN
    assert [simulation.states[k] for k in range(COUNT)] == [trained.count(k) for k in range(COUNT)]
    assert sum(row.arrived for row in log.server) == 8 < len(trained)
