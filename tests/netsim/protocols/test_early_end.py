"""Runs that end early, at the close of a round, with the same records on every executor.

1 FLOP/s and 1 J/FLOP; the radio moves 1e6 bits a second at 1 W. Three devices in a row: 10 FLOPs, then 2e6 bits to each
neighbour. A round of equals takes 12 s.
"""

from __future__ import annotations

import json

import pytest
from bookkeeping import check_joules, check_times
from test_decentralized import by, world

from netsim.app.python import run
from netsim.app.retime import retime
from netsim.app.stopping import Target
from netsim.core.errors import ScenarioError
from netsim.events import MetricRow
from netsim.scenario.model import StopOptions

SLOW = {"stragglers": {"name": "given", "factors": {0: 1.5}}}


def rows_of(log, device):
    return sorted([*by(log.rounds, device=device), *by(log.outside, device=device)], key=lambda r: r.start_s)


def check_all(simulation, log, end_s):
    for device in simulation.network.devices:
        own = rows_of(log, device.number)
        check_times(own, end_s)
        check_joules(own, by(log.transfers, sender=device.number), device.battery.capacity_j)


@pytest.mark.parametrize(
    ("factor", "end_s", "computed_j", "sent_j"), [(1.5, 17, 5, 0), (2.1, 23, 10, 1), (3.0, 32, 10, 2)]
)
@pytest.mark.parametrize("deadline", [{}, {"deadline_s": 100.0, "schedule": "own"}])
def test_who_is_ahead_is_cut_off_and_pays(simulate, factor, end_s, computed_j, sent_j, deadline):
    """Device 0 takes 10 · factor s to compute and 2 s to send, so round 1 closes then, after 5 s: the run ends.

    Device 2 began round 2 at 12 s. It has computed for 5 s of its 10 s at 17 s, has sent 1 s of 2 s at 23 s, and waits
    for device 1 at 32 s.
    """
    simulation, log = simulate(
        **world(rounds=9, protocol=deadline, stragglers={"name": "given", "factors": {0: factor}}),
        stop={"seconds": 5.0},
    )
    assert log.closed == [(1, pytest.approx(end_s))]
    assert {row.round for row in log.rounds} == {1} and len(log.rounds) == 3
    (ahead,) = by(log.outside, device=2)
    assert (ahead.compute_j, ahead.sending_j) == pytest.approx((computed_j, sent_j), rel=1e-6)
    assert [t.outcome for t in by(log.transfers, round=2, sender=2)] == (
        [] if not sent_j else ["delivered" if sent_j == 2 else "cut_off"]
    )
    check_all(simulation, log, simulation.network.env.now)
    assert simulation.target.reason == f"{end_s} s ≥ 5 s in round 1"


@pytest.mark.parametrize("battery", [{}, {"battery": {"capacity_j": 1e6}}])
def test_equals_end_after_the_round_that_spends_enough(simulate, battery):
    """Devices spend 12, 14 and 12 J a round, 38/3 J in the mean: three rounds are 38 J. Arrays of rounds are off."""
    simulation, log = simulate(**world(rounds=9, **battery), stop={"joules": 30.0})
    assert [t for t, _ in log.closed] == [1, 2, 3] and {row.round for row in log.rounds} == {1, 2, 3}
    assert log.outside == [] and log.closed[-1][1] == pytest.approx(36)
    check_all(simulation, log, simulation.network.env.now)


@pytest.mark.parametrize("protocol", ["server_rounds", "asynchronous_server"])
def test_a_server_ends_with_its_round(simulate, protocol):
    """The first round that closes after 1 s is the last of the server, too."""
    blocks = world(rounds=50, protocol={"name": protocol})
    simulation, log = simulate(**blocks, stop={"seconds": 1.0})
    last, time_s = log.closed[-1]
    assert time_s >= 1.0 and all(before_s < 1.0 for _, before_s in log.closed[:-1]) and last < 50
    assert max(row.round for row in log.server) == last
    check_all(simulation, log, simulation.network.env.now)
    assert all(row.end_s <= simulation.network.env.now for row in log.transfers)


def target(**options):
    ended = []
    return Target(StopOptions(**options), 2, lambda: ended.append(True)), ended


def curve(values, **options):
    """The round in which a run with these means of ``accuracy`` ends: devices have 0.1 more and 0.1 less."""
    looks, ended = target(metric="accuracy", **options)
    for t, value in enumerate(values, start=1):
        rows = [] if value is None else [(t, 0, value - 0.1), (t, 1, value + 0.1)]
        looks.on_metrics([MetricRow(a, b, 1.0 * t, "accuracy", "", c) for a, b, c in rows])
        looks.on_metrics([MetricRow(t, 0, 1.0 * t, "accuracy", "audio", 1.0)])
        looks.on_round_closed(t, 1.0 * t)
    assert len(ended) == (looks.round is not None)
    return looks


def test_a_mean_over_devices_reaches_a_bound():
    assert curve([0.3, 0.59, 0.61, 0.7], at_least=0.6).reason == "accuracy 0.61 ≥ 0.6 in round 3"
    assert curve([3.0, None, 0.5], at_most=1.0).reason == "accuracy 0.5 ≤ 1 in round 3"


def test_patience_counts_evaluations_without_a_better_one():
    """The best is that of round 2; rounds 3, 5 and 6 are no better, round 4 is not evaluated."""
    found = curve([0.3, 0.5, 0.4, None, 0.5, 0.45, 0.9], patience=3)
    assert found.reason == "accuracy no better than 0.5 (round 2) in round 6"
    assert curve([3.0, 2.0, 1.5], at_most=0.1, patience=1).round is None, "lower is better"


def test_a_target_that_nobody_reaches_is_said():
    (note,) = curve([0.3, 0.5, 0.4], at_least=0.6).notes()
    assert "no round reached accuracy ≥ 0.6 (best: 0.5 in round 2)" in note
    assert curve([0.7], at_least=0.6).notes() == []


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ({}, "needs a target"),
        ({"metric": "accuracy"}, "goes with at_least"),
        ({"at_least": 0.6}, "goes with at_least"),
        ({"metric": "a", "at_least": 1, "at_most": 2}, "at_most: cannot be used with at_least"),
        (
            {"metric": "acuracy", "at_least": 1},
            r"stop.metric: the learner has no metric 'acuracy'; it measures arr",
        ),
    ],
)
def test_bad_targets_are_refused(simulate, stop, text):
    with pytest.raises(ScenarioError, match=text):
        simulate(**world(), stop=stop)


def learning(protocol="server_rounds", **more):
    return {
        "rounds": 12,
        "devices": {"count": 3},
        "protocol": {"name": protocol},
        "data": {"name": "generated", "samples": 75, "test_samples": 40, "shape": [8], "separation": 6.0},
        "partition": {"name": "iid"},
        "learner": {"name": "fedavg", "batch_size": 8, "learning_rate": 0.05, "head_hidden": 4,
                    "networks": {"features": {"name": "mlp", "hidden": [4]}}},
        "jobs": {"device": "cpu", "stacking": "off", "executor": "inline"},
        **more,
    }  # fmt: skip


def rows_and_states(found, log):
    model = found.states.get(3) or found.states[0]
    flat = [part.row.tensor.tolist() for part in model.parts.values()]
    return log.rounds, log.outside, log.transfers, log.metrics, log.server, log.closed, flat


@pytest.mark.parametrize("protocol", ["server_rounds", "asynchronous_server", "decentralized_rounds"])
@pytest.mark.parametrize("executor", ["threads", "forked"])
def test_it_ends_in_the_same_round_on_every_executor(simulate, protocol, executor):
    """The clock waits for a round's metrics; so nothing depends on how far ahead it could be."""
    stop = {"metric": "loss_test", "at_most": 0.715}
    slow = {"devices": {"count": 3, **SLOW}} if protocol == "decentralized_rounds" else {}
    blocks = learning(protocol, stop=stop, **slow)
    inline = rows_and_states(*simulate(**blocks))
    other = rows_and_states(*simulate((f"jobs.executor={executor}",), **blocks))
    assert inline == other
    assert 1 < len(inline[5]) < 12 and max(row.round for row in inline[3]) == len(inline[5])


def test_a_stopped_run_says_so_and_can_be_retimed(write_scenario, tmp_path):
    """Its folder has the reason; with twice the band it ends in the same round. A target of the clock is refused."""
    stop = {"metric": "loss_test", "at_most": 0.715}
    file = write_scenario(**learning("decentralized_rounds", stop=stop, devices={"count": 3, **SLOW}))
    found = run(file, runs=tmp_path, run_id="a", quiet=True)
    folder = tmp_path / file.stem / "a"
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["status"] == "finished" and metadata["rounds_finished"] < 12
    assert metadata["stopped"] == found.summary["stopped"]
    assert metadata["stopped"].startswith("loss_test ") and " ≤ 0.715 in round " in metadata["stopped"]
    again = retime(folder, ["radio.bandwidth_hz=1e6"], tmp_path, "b", tmp_path, lambda text: None)
    assert again.ended.summary["stopped"] == metadata["stopped"]
    assert again.ended.summary["rounds_finished"] == metadata["rounds_finished"]
    clock = run(file, set={"stop": {"joules": 1e-6}}, runs=tmp_path, run_id="c", quiet=True)
    assert clock.summary["rounds_finished"] == 1
    with pytest.raises(
        ScenarioError, match=r"stop.joules: under other physics the run would end in another round"
    ):
        retime(
            tmp_path / file.stem / "c", ["radio.bandwidth_hz=1e6"], tmp_path, "d", tmp_path, lambda text: None
        )
