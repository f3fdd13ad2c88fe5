"""Devices that die, are charged and return, crash, come late or leave: nobody waits for them, nothing is lost."""

import math

import pytest
from bookkeeping import Log, check_joules, check_times, check_transfers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netsim.app.build import build
from netsim.scenario import load_plan

COUNT = 4
PLACES = {
    "placement": {"name": "coordinates", "positions_m": [[10, 0], [50, 0], [10, 40], [90, 0]]},
    "links": {"name": "range", "range_m": 60.0},
}
PROTOCOLS = st.sampled_from(
    [
        {"name": "decentralized_rounds"},
        {"name": "decentralized_rounds", "deadline_s": 1.5},
        {"name": "decentralized_rounds", "deadline_s": 1.5, "schedule": "own", "late": "keep"},
        {"name": "server_rounds", "participants": 2},
        {"name": "server_rounds", "deadline_s": 2.0},
        {"name": "asynchronous_server", "concurrency": 3, "buffer": 2},
        {"name": "asynchronous_gossip"},
        {"name": "asynchronous_gossip", "peers": 1, "duration_s": 8.0},
        {"name": "hierarchical_rounds", "edges": 2, "edge_rounds": 2},
    ]
)
BATTERIES = st.sampled_from(
    [
        {},
        {"capacity_j": 3.0},
        {"capacity_j": 0.7, "revive_at": 0.4},
        {"name": "kibam", "capacity_j": 2.0, "rate_per_s": 0.05, "revive_at": 0.2},
        {"name": "peukert", "capacity_j": 2.0, "rated_power_w": 0.1, "revive_at": 0.5},
    ]
)
HARVESTS = st.sampled_from(
    [
        {"name": "constant", "power_w": 0.3},
        {"name": "profile", "steps": [[1.0, 0.5], [2.5, 0.0]], "period_s": 4.0},
        {"name": "profile", "steps": [[0.0, 1.0], [5.0, 0.0]]},
        {"name": "solar", "area_m2": 0.01, "step_s": 0.4, "start_h": 12.0, "cloudy": 0.5, "cloud_s": 0.7},
    ]
)
CHURNS = st.sampled_from(
    [
        {},
        {"name": "exponential", "mean_here_s": 2.0, "mean_away_s": 1.0},
        {"name": "exponential", "mean_here_s": 0.3, "mean_away_s": 0.3, "arrival_s": {0: 1.0}},
        {"arrival_s": {0: 0.7, 1: 2.2}, "departure_s": {2: 2.6}},
        {"departure_s": {k: 0.9 + k / 10 for k in range(COUNT)}},
    ]
)


@st.composite
def worlds(draw):
    protocol = draw(PROTOCOLS)
    decentralized = protocol["name"] == "decentralized_rounds"
    coordinated = decentralized and "deadline_s" not in protocol and draw(st.booleans())
    overrides = []
    for k in range(COUNT):
        own = {"devices": [k], "battery": draw(BATTERIES)}
        if own["battery"]:
            own["harvest"] = draw(HARVESTS)
        overrides.append(own)
    return {
        "seed": draw(st.integers(0, 99)),
        "rounds": draw(st.integers(1, 6)),
        "devices": {
            "count": COUNT,
            "idle_power_w": draw(st.sampled_from([0.0, 0.3])),
            "rx_power_w": 0.1,
            "sleep_power_w": draw(st.sampled_from([None, 0.01])),
            "churn": draw(CHURNS),
            "overrides": overrides,
        },
        "topology": PLACES,
        "radio": {"access": draw(st.sampled_from(["dedicated", "shared"]))},
        "protocol": protocol,
        "learner": {"name": "stub", "flops": 4e9, "bits": 1e6}
        | ({"coordinated": True, "report_bits": 1e4} if coordinated else {}),
    }


def watched(plan, cache, log):
    """Run a scenario; return it and the times at which each device went and came."""
    simulation = build(plan, cache, lambda text: None)
    simulation.watch(log)
    log.follow(simulation)
    simulation.run()
    return simulation, log.absences


@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(blocks=worlds())
def test_whoever_goes_and_returns_every_joule_is_recorded_and_nobody_acts_who_is_not_there(
    blocks, write_scenario, tmp_path
):
    log = Log()
    simulation, absences = watched(load_plan(write_scenario(**blocks)), tmp_path, log)
    end_s = simulation.network.env.now
    check_transfers(log.transfers)
    for node in simulation.network.nodes:
        own = [row for row in [*log.rounds, *log.outside] if row.device == node.number]
        own += log.server if node.number == COUNT else []
        own += [row for row in log.edges if row.server == node.number]
        own.sort(key=lambda row: (row.start_s, row.end_s))
        check_times(own, end_s)
        sent = [row for row in log.transfers if row.sender == node.number]
        charges = [row for row in log.charges if row.device == node.number]
        battery = node.battery
        spent_j = check_joules(own, sent, battery.capacity_j, charges)
        assert spent_j == pytest.approx(sum(battery.spent_j.values()), rel=1e-9, abs=1e-12)
        assert sum(row.harvested_j for row in charges) == pytest.approx(battery.harvested_j)
        if math.isfinite(battery.capacity_j):
            assert battery.remaining_j <= battery.capacity_j * (1 + 1e-9)
    for k, gaps in absences.items():
        for from_s, to_s in gaps:
            for row in log.transfers:
                if k in (row.sender, row.receiver):
                    assert row.end_s <= from_s or row.start_s >= to_s, (row, from_s, to_s)
            for row in log.rounds:
                assert row.device != k or not from_s < row.compute_end_s < to_s
                assert (
                    row.device != k
                    or blocks["protocol"]["name"] == "server_rounds"
                    or not (from_s < row.start_s < to_s)
                )
    died = sorted(log.deaths + [(k, s) for k, s in log.revivals])
    assert all(any(s in gap for gap in absences[k]) for k, s in died)
    rounds = [row.round for row in log.rounds if row.device == 0]
    assert rounds == sorted(set(rounds)), "rounds of a device only go on"


def test_same_seed_same_records(write_scenario, tmp_path):
    blocks = {
        "rounds": 20,
        "devices": {
            "count": COUNT,
            "idle_power_w": 1.0,
            "battery": {"capacity_j": 0.5, "revive_at": 0.4},
            "harvest": {"name": "solar", "area_m2": 5e-4, "step_s": 0.4, "start_h": 12.0, "cloudy": 0.5},
            "churn": {"name": "exponential", "mean_here_s": 2.0, "mean_away_s": 1.0},
        },
        "topology": PLACES,
    }
    logs = [Log(), Log()]
    for log in logs:
        watched(load_plan(write_scenario(**blocks)), tmp_path, log)
    a, b = (vars(log) for log in logs)
    assert repr(a) == repr(b) and a["deaths"] and a["revivals"]


def test_a_device_that_crashed_takes_part_again_with_its_old_state(simulate):
    """Rounds of a bit over 1 s: 0 is away from 1.5 to 2.7 s, its neighbours do rounds 2 and 3 alone, and 4 with it."""
    _, log = simulate(
        rounds=5,
        devices={
            "count": 3,
            "churn": {"name": "netsim.world.devices.churn:TraceChurn", "file": "there.csv"},
        },
        learner={"name": "stub", "flops": 4e9, "bits": 1e3},
    )
    own = [(row.round, row.outcome) for row in log.rounds if row.device == 0]
    assert own == [(1, "finished"), (2, "away"), (4, "finished"), (5, "finished")]
    (gap,) = (row for row in log.outside if row.device == 0 and row.outcome == "away")
    assert (gap.start_s, gap.end_s, gap.idle_s) == (1.5, 2.7, 0.0)
    received = {row.round: row.received for row in log.rounds if row.device == 1}
    assert received == {1: 2, 2: 1, 3: 1, 4: 2, 5: 2}


def test_a_dead_device_stays_dead_whatever_churn_says(simulate):
    """Device 0 draws 1 W, dies of 0.5 J at 0.5 s in the first round, and its churn takes it away at 2 s, for good.

    Nothing charges it: its last row is that of its death. With 0.1 W and a battery that revives when it is full it
    would be back at 5.5 s: until it leaves it was dead, and not away.
    """
    for revives in (False, True):
        battery = {"capacity_j": 0.5, **({"revive_at": 1.0} if revives else {})}
        own = {"devices": [0], "battery": battery, "idle_power_w": 1.0}
        _, log = simulate(
            rounds=5,
            devices={
                "count": 3,
                "processor": {"effective_capacitance_f": 0, "static_power_w": 1.0},
                "churn": {"departure_s": {0: 2.0}},
                "overrides": [own | ({"harvest": {"name": "constant", "power_w": 0.1}} if revives else {})],
            },
            learner={"name": "stub", "flops": 4e9, "bits": 1e3},
        )
        died_s = 0.5 / (1.0 - 0.1 * revives)
        assert log.deaths == [(0, pytest.approx(died_s))] and not log.revivals
        (row,) = (row for row in log.rounds if row.device == 0)
        assert row.outcome == "died"
        after = [row for row in log.outside if row.device == 0]
        assert [row.outcome for row in after] == ["dead"] * revives
        assert all(row.end_s == 2.0 and row.idle_s == row.idle_j == 0 for row in after)


@pytest.fixture(autouse=True)
def trace(tmp_path):
    (tmp_path / "there.csv").write_text("device,from_s,to_s\n0,0,1.5\n0,2.7,inf\n")


@pytest.mark.parametrize("protocol", ["decentralized_rounds", "server_rounds", "asynchronous_server"])
def test_nobody_waits_for_the_sun_after_the_last_day(simulate, protocol):
    """All die at once, and the last light is too little to revive anybody: the run ends."""
    simulation, log = simulate(
        rounds=50,
        devices={
            "count": 3,
            "battery": {"capacity_j": 0.5, "revive_at": 0.5},
            "harvest": {"name": "profile", "steps": [[0.0, 0.01], [20.0, 0.0]]},
        },
        protocol={"name": protocol},
        **({} if protocol == "decentralized_rounds" else {"server": {"idle_power_w": 1.0}}),
    )
    assert len(log.deaths) == 3 and not log.revivals
    assert simulation.network.env.now == 20.0


def test_a_server_waits_for_the_first_to_be_charged(simulate):
    """Both devices die in the first round; the next begins when they are charged, and its energy is recorded."""
    _, log = simulate(
        rounds=3,
        devices={
            "count": 3,
            "battery": {"capacity_j": 0.3, "revive_at": 1.0},
            "harvest": {"name": "constant", "power_w": 0.01},
        },
        protocol={"name": "server_rounds"},
        server={"idle_power_w": 1.0},
        learner={"name": "stub", "flops": 1e10, "bits": 1e3},
    )
    assert {row.outcome for row in log.rounds} == {"died"} and {row.outcome for row in log.server} == {
        "empty"
    }
    assert [row.start_s for row in log.server][1:] == pytest.approx([36, 72], abs=10)
    assert [row.device for row in log.outside if row.outcome == "waited"] == [3] * 2
    assert len(log.revivals) == 6


def test_an_asynchronous_server_gives_up_where_every_turn_is_fruitless(simulate):
    _, log = simulate(
        rounds=3,
        devices={
            "count": 2,
            "battery": {"capacity_j": 0.3, "revive_at": 1.0},
            "harvest": {"name": "constant", "power_w": 0.01},
        },
        topology={"placement": {"name": "coordinates", "positions_m": [[0, 0], [20, 0]]}},
        protocol={"name": "asynchronous_server"},
        learner={"name": "stub", "flops": 1e10, "bits": 1e3},
    )
    assert not log.server and 200 < len(log.rounds) < 210


def test_sleep_costs_less_than_idling(simulate):
    """All are done after 0.1 s of a round of 1 s: 0.9 s asleep at 0.01 W, or idle at 1 W."""
    blocks = {
        "rounds": 2,
        "protocol": {"name": "decentralized_rounds", "deadline_s": 1.0},
        "learner": {"name": "stub", "flops": 4e8, "bits": 0},
    }
    devices = {"count": 3, "idle_power_w": 1.0, "battery": {"capacity_j": 100.0}}
    _, waking = simulate(**blocks, devices={**devices, "sleep_power_w": 0.01, "wake_j": 0.25})
    assert [row.idle_j for row in waking.rounds] == pytest.approx([0.009 + 0.25] * 6)
    dying = {**devices, "battery": {"capacity_j": 0.2}, "idle_power_w": 0.0, "sleep_power_w": 0.0}
    simulation, log = simulate(**blocks, devices={**dying, "wake_j": 0.25})
    assert [time_s for _, time_s in log.deaths] == pytest.approx([1.0] * 3)
    for device in simulation.network.devices:
        assert sum(device.battery.spent_j.values()) == pytest.approx(0.2)
    _, awake = simulate(**blocks, devices=devices)
    _, asleep = simulate(**blocks, devices={**devices, "sleep_power_w": 0.01})
    for log, idle_j in ((awake, 0.9), (asleep, 0.009)):
        assert [row.idle_j for row in log.rounds] == pytest.approx([idle_j] * 6)
        assert [row.idle_s for row in log.rounds] == pytest.approx([0.9] * 6)
