"""Gossip without waiting, by hand. The radio moves 1e6 bits a second; a FLOP takes a second and a joule."""

from __future__ import annotations

import pytest
from test_decentralized import by, world

from learners.algorithms.stub import Stub
from netsim.core.errors import ScenarioError
from netsim.learner import Step

SLOW = {"name": "given", "factors": {1: 2.5, 2: 6}}
"""Of 4 FLOPs: devices 0, 1 and 2 train for 4, 10 and 24 s."""

NOTES: list[tuple] = []


class Noting(Stub):
    """Sends its round, and notes what it mixes."""

    def aggregate(self, work, node, round, state, arrived):
        return self.aggregate_weighed(work, node, round, state, arrived, {})

    def aggregate_weighed(self, work, node, round, state, arrived, factors):
        NOTES.append((node, round, dict(arrived), factors))
        return Step(state)


class Deaf(Stub):
    """Cannot weigh what it hears."""

    aggregate_weighed = Stub.__mro__[1].aggregate_weighed


@pytest.fixture
def gossip(simulate):
    """Three devices in a row, three rounds, messages of 1.5 s; what is mixed is noted."""

    def run(bits=1.5e6, rounds=3, settings=(), learner=None, **protocol):
        NOTES.clear()
        blocks = world(
            rounds=rounds,
            flops=4.0,
            bits=bits,
            learner=learner or {"name": "test_asynchronous_gossip:Noting"},
        )
        blocks["devices"]["stragglers"] = SLOW
        blocks["protocol"] = {"name": "asynchronous_gossip", **protocol}
        return simulate(settings, **blocks)

    return run


def test_who_mixes_what_and_when(gossip):
    """0 sends at 4, 8, 12 s, 1 at 10, 20, 30 s, 2 at 24, 48, 72 s; what is sent is there 1.5 s later.

    Device 1 hears both messages of 0 in its first round, and mixes the newer one. Device 0 has ended two rounds while 1
    was in its first one.
    """
    simulation, log = gossip()
    assert [(row.device, row.round, row.end_s) for row in log.rounds] == [
        (0, 1, 4), (0, 2, 8), (1, 1, 10), (0, 3, 12), (1, 2, 20), (2, 1, 24), (1, 3, 30), (2, 2, 48), (2, 3, 72),
    ]  # fmt: skip
    assert {(node, t): heard for node, t, heard, _ in NOTES if heard} == {
        (1, 1): {0: 2}, (0, 3): {1: 1}, (1, 2): {0: 3}, (2, 1): {1: 2}, (1, 3): {2: 1}, (2, 2): {1: 3},
    }  # fmt: skip
    assert all(not factors for *_, factors in NOTES)
    stale = {(row.device, row.round): row.value for row in log.metrics if row.name == "staleness"}
    assert stale == {(1, 1): 0, (0, 3): 2, (1, 2): 1, (2, 1): 0, (1, 3): 2, (2, 2): 1}
    assert simulation.network.env.now == pytest.approx(73.5)
    assert log.closed == [(1, 24), (2, 48), (3, 72)]


def test_what_it_costs(gossip):
    """4 J a training and 1.5 J a message; the last message is sent after the last round."""
    simulation, log = gossip()
    assert [row.sending_j for row in by(log.rounds, device=0)] == pytest.approx([0, 1.5, 1.5])
    assert [row.sent for row in by(log.rounds, device=1)] == [0, 2, 2]
    (after,) = by(log.outside, device=0)
    assert (after.start_s, after.sending_j) == (12, pytest.approx(1.5))
    spent_j = [sum(device.battery.spent_j.values()) for device in simulation.network.devices]
    assert spent_j == pytest.approx([12 + 4.5, 12 + 9, 12 + 4.5])
    assert len(log.transfers) == 12 and sum(row.energy_j for row in log.transfers) == pytest.approx(18)


@pytest.mark.parametrize(
    ("kind", "factor"), [("polynomial", 3**-0.5), ("exponential", 2.718281828**-1), ("hinge", 1 / 11)]
)
def test_stale_messages_count_for_less(gossip, kind, factor):
    """Two rounds late: (1 + 2)^-½, e^(-½ · 2), 1/(10 (2 - 1) + 1); messages that are not stale keep their weight."""
    gossip(staleness=kind, staleness_delay=1)
    factors = {(node, t): found for node, t, _, found in NOTES if found}
    assert factors[0, 3] == {1: pytest.approx(factor)} and factors[1, 3] == {2: pytest.approx(factor)}
    assert (1, 1) not in factors and (2, 1) not in factors


def test_a_dead_device_holds_nobody_up(gossip):
    """Device 1 has 6 J: 4 for its first training, 2 · 1 W from 10 s on and 0.4 W beside: it dies while it sends."""
    battery = "devices.overrides=[{devices: [1], battery: {capacity_j: 6}}]"
    simulation, log = gossip(settings=[battery])
    assert log.deaths == [(1, pytest.approx(10 + 2 / 2.4))]
    assert [row.end_s for row in by(log.rounds, device=0)] == [4, 8, 12]
    assert [row.end_s for row in by(log.rounds, device=2)] == [24, 48, 72]
    assert [row.outcome for row in by(log.rounds, device=1)] == ["finished", "died"]
    assert [t for t, _ in log.closed] == [1, 2, 3]
    assert len(by(log.transfers, sender=0)) == 2 + 1 - 1 and not by(log.transfers, sender=2)
    conserve_all(simulation, log)


def conserve_all(simulation, log):
    """Every joule is in a row of a round, or outside one."""
    for device in simulation.network.devices:
        rows = [*by(log.rounds, device=device.number), *by(log.outside, device=device.number)]
        recorded_j = sum(row.compute_j + row.sending_j + row.receiving_j + row.idle_j for row in rows)
        assert recorded_j == pytest.approx(sum(device.battery.spent_j.values()), rel=1e-12)


def test_nothing_is_sent_to_whom_the_last_message_has_not_reached(gossip):
    """Messages of 9 s: device 0 sends at 4 s, and at 8 and 12 s it does not; the others are slow enough."""
    simulation, log = gossip(bits=9e6)
    sent = {k: sorted({row.start_s for row in by(log.transfers, sender=k)}) for k in range(3)}
    assert sent == {0: [4], 1: [10, 20, 30], 2: [24, 48, 72]}
    conserve_all(simulation, log)


def test_it_sends_to_as_many_as_it_is_told(gossip):
    _, log = gossip(peers=1, rounds=20)
    sent = [row.receiver for row in by(log.transfers, sender=1)]
    assert len(sent) == 20 and 4 < sent.count(0) < 16


def test_it_ends_by_the_clock(gossip):
    """At 25 s device 1 is in its third round, 2 has sent for a second and is in its second."""
    simulation, log = gossip(duration_s=25.0)
    assert simulation.network.env.now == pytest.approx(25)
    assert [(row.device, row.round, row.compute_s) for row in by(log.rounds, outcome="cut_off")] == [
        (1, 3, pytest.approx(5)), (2, 2, pytest.approx(1)),
    ]  # fmt: skip
    (cut,) = by(log.transfers, outcome="cut_off")
    assert (cut.sender, cut.receiver, cut.sent_bits) == (2, 1, pytest.approx(1e6))
    conserve_all(simulation, log)


@pytest.mark.parametrize(
    ("learner", "protocol", "says"),
    [
        (
            {"name": "stub", "coordinated": True},
            {},
            "a cluster head coordinates it; use decentralized_rounds",
        ),
        ({"name": "test_asynchronous_gossip:Deaf"}, {"staleness": "hinge"}, "use constant"),
    ],
)
def test_learners_that_cannot_do_without_rounds_are_refused(gossip, learner, protocol, says):
    with pytest.raises(ScenarioError, match=says):
        gossip(learner=learner, **protocol)


def test_in_step_it_is_decentralized_sgd_one_round_late(simulate):
    """Equal devices, messages shorter than a round: everybody mixes what the others have sent the round before."""
    NOTES.clear()
    blocks = world(rounds=4, flops=4.0, bits=1e6, learner={"name": "test_asynchronous_gossip:Noting"})
    simulation, log = simulate(**{**blocks, "protocol": {"name": "asynchronous_gossip"}})
    assert {(node, t): heard for node, t, heard, _ in NOTES if node == 1} == {
        (1, 1): {}, **{(1, t): {0: t - 1, 2: t - 1} for t in (2, 3, 4)},
    }  # fmt: skip
    assert {row.value for row in log.metrics if row.name == "staleness"} == {1}
    assert simulation.network.env.now == pytest.approx(17)
    conserve_all(simulation, log)
