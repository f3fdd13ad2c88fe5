"""Decisions take effect: seconds, joules and bits of runs by hand; and what cannot be decided is stopped."""

from __future__ import annotations

import math

import numpy as np
import pytest

from learners.algorithms.stub import Stub
from netsim.core.errors import ScenarioError
from netsim.world.policies.policy import Policy
from netsim.world.selection import Selection

BANDWIDTH_HZ, NOISE_W_PER_HZ = 5e5, 1e-17
SERVER = {"name": "server_rounds"}
SMALL = {"uplink": {"bandwidth_hz": 1e6}, "downlink": {"bandwidth_hz": 1e6}}


class Alternating(Policy):
    """Other powers and frequencies in each round and of each device."""

    def tx_power(self, sight):
        return 0.1 / (1 + (sight.round + sight.device) % 3)

    def cpu_frequency(self, sight):
        return 1e9 / (1 + (sight.round + 2 * sight.device) % 3)


class Noting(Policy):
    """Keeps what it sees."""

    seen: list = []  # noqa: RUF012

    def tx_power(self, sight):
        self.seen.append(sight)
        return sight.tx_power_w


class Nonsense(Policy):
    """Decides what it is told to, from round 2 on."""

    answer: object = None

    def tx_power(self, sight):
        return sight.tx_power_w if sight.round < 2 else self.answer

    def iterations(self, sight):
        return None if sight.round < 2 else self.answer

    def cpu_frequency(self, sight):
        return sight.top_hz if sight.round < 2 else self.answer

    def links(self, links, round):
        return [link[:2] for link in links] if round < 2 else self.answer


class InRoundFour(Policy):
    """Leaves device 2 alone but for round 4."""

    def links(self, links, round):
        return [(a, b) for a, b, _ in links if b != 2 or round == 4]


class Meeting(Stub):
    """Keeps whom it is told that devices meet."""

    met: dict = {}  # noqa: RUF012

    def meets(self, node, round, neighbours):
        self.met[node, round] = {k: list(near) for k, near in neighbours.items()}


class Twice(Selection):
    """Chooses one device as often as devices are wanted."""

    def choose(self, candidates, count, round):
        return [candidates[0].device] * count


def mine(name):
    return {"name": f"{__name__}:{name}"}


def rate_bps(row, power_w, bandwidth_hz=BANDWIDTH_HZ):
    """B log2(1 + p g²/(B N0)) at the gain that was recorded."""
    return bandwidth_hz * math.log2(1 + power_w * row.gain**2 / (bandwidth_hz * NOISE_W_PER_HZ))


@pytest.mark.parametrize("battery_j", [math.inf, 100.0])
def test_power_and_frequency_are_charged(simulate, battery_j):
    """4e9 FLOPs are 1e9 cycles at 2e-28 f² joules each; a message takes its bits' time at p watts."""
    policies = {"tx_power": mine("Alternating"), "cpu_frequency": mine("Alternating")}
    simulation, log = simulate(
        policies=policies, rounds=4, devices={"count": 3, "battery": {"capacity_j": battery_j}}
    )
    assert len(log.rounds) == 12 and len(log.transfers) == 24
    for row in log.rounds:
        frequency_hz = 1e9 / (1 + (row.round + 2 * row.device) % 3)
        assert row.compute_s == pytest.approx(1e9 / frequency_hz, rel=1e-12)
        assert row.compute_j == pytest.approx(1e9 * 2e-28 * frequency_hz**2, rel=1e-12)
        sent = [one.energy_j for one in log.transfers if (one.round, one.sender) == (row.round, row.device)]
        assert row.sending_j == pytest.approx(sum(sent), rel=1e-9)
    for row in log.transfers:
        power_w = 0.1 / (1 + (row.round + row.sender) % 3)
        assert row.airtime_s == pytest.approx(1e6 / rate_bps(row, power_w), rel=1e-9)
        assert row.energy_j == pytest.approx(power_w * row.airtime_s, rel=1e-9)
    if battery_j < math.inf:
        for device in simulation.network.devices:
            rows = [row for row in (*log.rounds, *log.outside) if row.device == device.number]
            spent_j = sum(row.compute_j + row.sending_j + row.receiving_j + row.idle_j for row in rows)
            assert spent_j == pytest.approx(battery_j - device.battery.remaining_j, rel=1e-9)


def test_server_rounds_at_once_are_those_by_events(simulate):
    """A deadline that never comes lets each event happen."""
    blocks = {
        "policies": {"tx_power": mine("Alternating"), "cpu_frequency": mine("Alternating")},
        "rounds": 3,
        "server": SMALL,
    }
    _, at_once = simulate(protocol=SERVER, **blocks)
    _, by_events = simulate(protocol={**SERVER, "deadline_s": 1e6}, **blocks)
    for name in ("rounds", "transfers"):
        one, other = sorted(getattr(at_once, name)), sorted(getattr(by_events, name))
        for a, b in zip(one, other, strict=True):
            assert [v for v in a if isinstance(v, str)] == [v for v in b if isinstance(v, str)]
            np.testing.assert_allclose(
                *([v for v in row if not isinstance(v, str)] for row in (a, b)), rtol=1e-9
            )
    uploads = [row for row in at_once.transfers if row.kind == "upload"]
    assert len(uploads) == 9
    for row in uploads:
        assert row.energy_j == pytest.approx(
            0.1 / (1 + (row.round + row.sender) % 3) * row.airtime_s, rel=1e-9
        )


def test_steps_are_at_most_those_of_the_policy(simulate):
    """Seven iterations of 4e9 FLOPs, of which 2, 3 and 9 are allowed."""
    policies = {"iterations": {"name": "fixed", "value": [2, 3, 9]}}
    learner = {"name": "stub", "flops": 4e9, "iterations": 7}
    _, log = simulate(policies=policies, learner=learner, rounds=1)
    assert [row.flops for row in sorted(log.rounds, key=lambda row: row.device)] == [8e9, 12e9, 28e9]


def test_a_policy_sees_the_past_only(simulate):
    """Gains are those of the last transfers; the last round's times and joules are those of its row."""
    Noting.seen = []
    _, log = simulate(policies={"tx_power": mine("Noting")}, rounds=3)
    assert [sight.last for sight in Noting.seen if sight.round == 1] == [None] * 3
    rows = {(row.device, row.round): row for row in log.rounds}
    used = {(row.sender, row.receiver, row.round): row for row in log.transfers}
    later = [sight for sight in Noting.seen if sight.round > 1]
    assert len(later) == 6
    for sight in later:
        row = rows[sight.device, sight.round - 1]
        last = sight.last
        assert (last.round, last.flops, last.compute_s) == (row.round, row.flops, row.compute_s)
        assert last.energy_j == pytest.approx(row.compute_j + row.sending_j)
        for peer, gain in sight.power_gains.items():
            assert gain == pytest.approx(used[sight.device, peer, sight.round - 1].gain ** 2, rel=1e-12)


def test_the_oldest_updates_come_in_turn(simulate):
    _, log = simulate(
        protocol={**SERVER, "participants": 1}, server={**SMALL, "selection": "age_of_update"}, rounds=6
    )
    turns = [row.device for row in sorted(log.rounds) if row.outcome == "finished"]
    assert sorted(turns[:3]) == [0, 1, 2] and turns[3:] == turns[:3]


def test_thinned_links_are_symmetric_and_nobody_waits_for_others(simulate):
    """On a triangle with sides 20, 20 and 28 m, without fading, the tree is the two short sides, through device 0."""
    _, log = simulate(
        policies={"links": {"name": "greedy_links", "degree": 1}}, radio={"channel": "none"}, rounds=3
    )
    used = {(row.round, row.sender, row.receiver) for row in log.transfers}
    assert used == {(t, a, b) for t in (1, 2, 3) for a, b in [(0, 1), (1, 0), (0, 2), (2, 0)]}
    assert {(row.device, row.received, row.missed) for row in log.rounds} == {(0, 2, 0), (1, 1, 0), (2, 1, 0)}


def test_a_learner_is_told_whom_devices_meet(simulate):
    """Mixing weights need the neighbours of a round, of a device and of its neighbours."""
    Meeting.met = {}
    thin = {"links": {"name": "greedy_links", "degree": 1}}
    simulate(policies=thin, radio={"channel": "none"}, learner={"name": f"{__name__}:Meeting"}, rounds=2)
    star = {0: [1, 2], 1: [0], 2: [0]}
    around = {0: star, 1: {0: [1, 2], 1: [0]}, 2: {0: [1, 2], 2: [0]}}
    assert Meeting.met == {(k, t): around[k] for k in star for t in (1, 2)}


def test_links_of_devices_that_move_are_thinned(simulate):
    """Both ends use a link or none does, in every round."""
    moving = {"name": "random_waypoint", "diameter_m": 150.0, "speed_mps": [5, 20]}
    blocks = {"mobility": moving, "policies": {"links": {"name": "greedy_links", "degree": 0}}, "rounds": 6}
    simulation, log = simulate(
        **blocks, topology={"links": {"name": "range", "range_m": 80.0}, "require_connected": False}
    )
    assert simulation.network.motion is not None and len(log.rounds) == 18
    used = {(row.round, row.sender, row.receiver) for row in log.transfers}
    assert used and used == {(t, b, a) for t, a, b in used}
    assert all(sum(t == row[0] for row in used) <= 4 for t in range(1, 7))


def test_devices_that_are_not_linked_get_rounds_apart(simulate):
    """Device 2 computes for ten times as long, and has links in round 4 only."""
    slow = {"count": 3, "overrides": [{"devices": [2], "processor": {"frequency_hz": 1e8}}]}
    _, log = simulate(policies={"links": mine("InRoundFour")}, devices=slow, rounds=5)
    end_s = {(row.device, row.round): row.end_s for row in log.rounds}
    assert len(end_s) == 15 and end_s[0, 3] < 4 < 10 <= end_s[2, 1]
    assert end_s[0, 4] > 40  # device 0 waits for device 2, which computes four times for 10 s
    assert {(row.round, row.sender) for row in log.transfers if 2 in (row.sender, row.receiver)} == {
        (4, 0), (4, 1), (4, 2)
    }  # fmt: skip
    assert all(row.missed == 0 for row in log.rounds)


@pytest.mark.parametrize(
    ("decision", "answer", "allowed"),
    [
        ("tx_power", math.nan, "a power above 0, at most the device's tx_power_w, 0.1 W (got nan)"),
        ("tx_power", -0.1, "at most the device's tx_power_w, 0.1 W (got -0.1)"),
        ("tx_power", 0.2, "at most the device's tx_power_w, 0.1 W (got 0.2)"),
        ("tx_power", "loud", "at most the device's tx_power_w, 0.1 W (got 'loud')"),
        ("iterations", 0, "a whole number of at least 1, or None (got 0)"),
        ("iterations", 1.5, "a whole number of at least 1, or None (got 1.5)"),
        ("iterations", True, "a whole number of at least 1, or None (got True)"),
        ("cpu_frequency", math.inf, "one of frequencies_hz, 5e+08, 1e+09 (got inf)"),
        ("cpu_frequency", 0.7e9, "one of frequencies_hz, 5e+08, 1e+09 (got 700000000.0)"),
        ("cpu_frequency", None, "one of frequencies_hz, 5e+08, 1e+09 (got None)"),
        (
            "links",
            [(0, 7)],
            "pairs of devices, each one of the links that it was given, and once (got [(0, 7)])",
        ),
        ("links", [(0, 1), (0, 1)], "and once (got [(0, 1), (0, 1)])"),
        ("links", 5, "and once (got 5)"),
    ],
)
def test_nonsense_is_named_and_stopped_before_the_round(simulate, monkeypatch, decision, answer, allowed):
    monkeypatch.setattr(Nonsense, "answer", answer)
    processor = {"frequency_hz": 1e9, "frequencies_hz": [0.5e9, 1e9]}
    with pytest.raises(ScenarioError) as error:
        simulate(
            policies={decision: mine("Nonsense")}, rounds=3, devices={"count": 3, "processor": processor}
        )
    (line,) = str(error.value).splitlines()
    assert f"policies.{decision}: Nonsense.{decision} of " in line and "round 2: must return" in line
    assert (" of device " in line) == (decision != "links")
    assert line.endswith(allowed)


def test_a_selection_that_chooses_nonsense_is_named(simulate):
    with pytest.raises(ScenarioError) as error:
        simulate(protocol={**SERVER, "participants": 2}, server={"selection": mine("Twice")})
    assert str(error.value).endswith(
        "server.selection: Twice.choose, round 1: must return 2 different devices of 0, 1, 2 (got [0, 0])"
    )


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        (
            {"policies": {"links": {"name": "fixed", "value": 1}}},
            "policies.links: 'fixed' decides tx_power and iterations and cpu_frequency, not that",
        ),
        (
            {"policies": {"links": "greedy_links"}, "protocol": SERVER},
            "policies.links: rounds of protocol 'server_rounds' have no links to choose from; use decentralized_rounds",
        ),
        (
            {
                "policies": {"cpu_frequency": {"name": "fixed", "value": 1e9}},
                "devices": {
                    "count": 3,
                    "processor": {"frequencies_hz": [1e9], "governor": "race_to_idle"},
                },
            },
            "policies.cpu_frequency: device 0 has a governor, which decides that; use one of them",
        ),
        ({"policies": {"tx_power": "loudest"}}, "policies.tx_power.name: unknown name 'loudest'"),
        ({"policies": {"cpu_frequency": {"name": "deadline_frequency", "deadline_s": -1}}}, "deadline_s"),
    ],
)
def test_policies_that_do_not_fit_are_refused_before_the_run(simulate, blocks, said):
    with pytest.raises(ScenarioError, match=r"(?s).*") as error:
        simulate(**blocks)
    assert said in str(error.value) and len(str(error.value).splitlines()) == 1
