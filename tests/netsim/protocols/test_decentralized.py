"""Rounds without a barrier. The radio here moves 1e6 bits a second (1e5 Hz at SNR 1023) unless said otherwise."""

import math

import numpy as np
import pytest

from netsim.world.radio.theory import harmonic_number

# 1 FLOP/s and 1 J/FLOP; no fading; 0 dB of loss at 1 m; SNR 2^10 - 1, so 10 bit/s/Hz.
PROCESSOR = {"frequency_hz": 1.0, "flops_per_cycle": 1.0, "effective_capacitance_f": 1.0}
RADIO = {
    "bandwidth_hz": 1e5,
    "noise_dbm_per_hz": 10 * math.log10(1 / (1023 * 1e5)) + 30,
    "path_loss": {"name": "log_distance", "reference_loss_db": 0.0, "exponent": 1e-9},
    "channel": "none",
}


def line(count, spacing_m=40.0):
    """Devices in a row that hear their direct neighbours only."""
    return {
        "placement": {"name": "coordinates", "positions_m": [[spacing_m * k, 0.0] for k in range(count)]},
        "links": {"name": "range", "range_m": 50.0},
    }


def devices(count, **more):
    return {"count": count, "processor": PROCESSOR, "tx_power_w": 1.0, **more}


def world(count=3, flops=10.0, bits=2e6, rounds=2, protocol=None, learner=None, **device):
    return {
        "rounds": rounds,
        "devices": devices(count, **device),
        "topology": line(count),
        "radio": RADIO,
        "protocol": {"name": "decentralized_rounds", **(protocol or {})},
        "learner": {"name": "stub", "flops": flops, "bits": bits, **(learner or {})},
    }


def by(rows, **values):
    return [row for row in rows if all(getattr(row, key) == value for key, value in values.items())]


def conserve(simulation, log):
    """Capacity - remaining = all that rounds report, per device and to float precision; and no row is silly."""
    for device in simulation.network.devices:
        rows = by(log.rounds, device=device.number)
        spent = sum(r.compute_j + r.sending_j + r.receiving_j + r.idle_j for r in rows)
        assert spent == pytest.approx(sum(device.battery.spent_j.values()), rel=1e-12, abs=1e-15)
        if not math.isinf(device.battery.capacity_j):
            assert device.battery.capacity_j - rows[-1].battery_j == pytest.approx(
                spent, rel=1e-12, abs=1e-15
            )
        sent = sum(t.energy_j for t in by(log.transfers, sender=device.number))
        assert sent == pytest.approx(sum(r.sending_j for r in rows), rel=1e-9, abs=1e-15)
    for row in log.rounds:
        assert row.end_s >= row.start_s
        assert min(row.compute_s, row.sending_s, row.receiving_s, row.idle_s) >= 0
        assert row.compute_s + row.sending_s + row.receiving_s + row.idle_s >= (row.end_s - row.start_s) * (
            1 - 1e-9
        )


def test_a_round_is_computing_and_then_sending(simulate):
    """10 FLOPs at 1 FLOP/s, then 2e6 bits at 1e6 bit/s at 1 W to each neighbour: 12 s; 10 J + 2 J per neighbour."""
    simulation, log = simulate(**world())
    assert [r.start_s for r in by(log.rounds, device=0)] == pytest.approx([0, 12])
    assert [r.end_s for r in by(log.rounds, device=0)] == pytest.approx([12, 24])
    assert [r.sending_j for r in by(log.rounds, round=1)] == pytest.approx([2, 4, 2])
    assert [r.compute_j for r in log.rounds] == pytest.approx([10.0] * 6)
    assert [
        (r.sent, r.received, r.missed) for r in sorted(log.rounds, key=lambda r: (r.round, r.device))
    ] == [
        (1, 1, 0),
        (2, 2, 0),
        (1, 1, 0),
    ] * 2
    conserve(simulation, log)


def test_a_device_waits_for_its_neighbours_and_for_nobody_else(simulate):
    """Device 0 of five in a row is ten times slower: 1 waits for it in round 1, 2 (through 1) in round 2, 4 never."""
    blocks = world(5, rounds=2, stragglers={"name": "given", "factors": {0: 10.0}})
    _, log = simulate(**blocks)
    ends = {(r.device, r.round): r.end_s for r in log.rounds}
    assert [ends[k, 1] for k in range(5)] == pytest.approx([102, 102, 12, 12, 12])
    assert [ends[k, 2] for k in range(5)] == pytest.approx([204, 204, 114, 24, 24])


def test_round_latency_is_that_of_the_slowest(simulate):
    """Complete graph of 3, no bits: each round lasts as long as its slowest device computes."""
    blocks = world(3, bits=0.0, rounds=3, stragglers={"name": "lognormal", "sigma": 1.0})
    blocks["topology"] = line(3, spacing_m=10.0)
    simulation, log = simulate(**blocks)
    for t in (1, 2, 3):
        rows = by(log.rounds, round=t)
        slowest = max(10.0 * simulation.network.stragglers.factor(k, t) for k in range(3))
        assert [r.end_s - r.start_s for r in rows] == pytest.approx([slowest] * 3)


def test_mean_latency_with_exponential_stragglers_is_the_harmonic_number(simulate):
    """12 devices on a complete graph, factors Exp(1): E[max] = H_12 = 3.1032; 300 rounds, 4 std. errors."""
    blocks = world(
        12, flops=1.0, bits=0.0, rounds=300, stragglers={"name": "exponential", "mean": 1.0, "minimum": 0.0}
    )
    blocks["topology"] = line(12, spacing_m=1.0)
    _, log = simulate(**blocks)
    latency = [r.end_s - r.start_s for r in by(log.rounds, device=0)]
    deviation = math.sqrt(sum(1 / k**2 for k in range(1, 13)))
    assert np.mean(latency) == pytest.approx(harmonic_number(12), abs=4 * deviation / math.sqrt(300))


def test_a_deadline_cuts_the_straggler_off_and_its_energy_is_charged(simulate):
    """Device 0 needs 100 s for 10 J; the deadline of 20 s lets it spend 2 J for nothing. The others go on at 20 s."""
    blocks = world(3, protocol={"deadline_s": 20.0}, stragglers={"name": "given", "factors": {0: 10.0}})
    simulation, log = simulate(**blocks)
    first = {r.device: r for r in by(log.rounds, round=1)}
    assert (first[0].outcome, first[0].end_s, first[0].compute_j) == ("cut_off", 20.0, pytest.approx(2.0))
    assert math.isnan(first[0].compute_end_s)
    # Told at once that nothing will come, device 1 need not wait beyond the moment of the cut.
    assert (first[1].outcome, first[1].end_s, first[1].received, first[1].missed) == ("finished", 20.0, 1, 1)
    assert (
        first[0].received == 1
    )  # what arrived in time is combined, even by a device that was too slow itself
    conserve(simulation, log)


def test_a_deadline_cuts_transfers_too(simulate):
    """10 s of computing and 2 s of sending against a deadline of 11 s: half of the bits, 1 J a neighbour."""
    simulation, log = simulate(**world(2, rounds=1, protocol={"deadline_s": 11.0}))
    assert [(t.outcome, t.sent_bits, t.energy_j) for t in log.transfers] == [
        ("cut_off", pytest.approx(1e6), pytest.approx(1.0))
    ] * 2
    assert [(r.outcome, r.received, r.missed) for r in log.rounds] == [("cut_off", 0, 1)] * 2
    conserve(simulation, log)


def test_a_device_that_dies_computing_leaves_its_neighbours_to_go_on(simulate):
    """Device 1 of three has 15 J: round 1 costs it 14 J, so it dies 1 s into round 2, and 0 and 2 go on alone."""
    blocks = world(3, rounds=3, overrides=[{"devices": [1], "battery": {"capacity_j": 15.0}}])
    simulation, log = simulate(**blocks)
    assert log.deaths == [(1, pytest.approx(13.0))]
    (last,) = by(log.rounds, device=1, round=2)
    assert (last.outcome, last.compute_j, last.battery_j) == ("died", pytest.approx(1.0), 0.0)
    assert not by(log.rounds, device=1, round=3)
    assert [r.end_s for r in by(log.rounds, device=0)] == pytest.approx([12, 22, 32])
    assert [t for t, _ in log.closed] == [1, 2, 3]
    conserve(simulation, log)


def test_a_device_that_dies_sending_delivers_nothing(simulate):
    """11 J: 10 J of computing, and 1 J of two transfers at 1 W each: dead 0.5 s into sending."""
    blocks = world(3, rounds=1, overrides=[{"devices": [1], "battery": {"capacity_j": 11.0}}])
    simulation, log = simulate(**blocks)
    assert log.deaths == [(1, pytest.approx(10.5))]
    assert sorted(t.outcome for t in log.transfers) == ["receiver_died"] * 2 + ["sender_died"] * 2
    assert {r.device: (r.received, r.missed) for r in log.rounds} == {0: (0, 1), 1: (0, 2), 2: (0, 1)}
    conserve(simulation, log)


def test_everybody_may_die_and_the_run_still_ends(simulate):
    simulation, log = simulate(**world(3, rounds=50, battery={"capacity_j": 100.0}))
    assert len(log.deaths) == 3
    assert all(not d.alive and d.battery.remaining_j == 0 for d in simulation.network.devices)
    finished = max(r.round for r in log.rounds if r.outcome == "finished")
    assert [t for t, _ in log.closed] == list(range(1, finished + 1))
    conserve(simulation, log)


def test_messages_in_outage_are_given_up_without_a_deadlock(simulate):
    blocks = world(3)
    blocks["radio"] = {**RADIO, "outage_snr_db": 60.0}
    simulation, log = simulate(**blocks)
    assert {t.outcome for t in log.transfers} == {"outage"}
    assert [(r.outcome, r.received) for r in log.rounds] == [("finished", 0)] * 6
    conserve(simulation, log)


def test_idle_and_receiving_power_are_in_the_account(simulate):
    """Two devices, one twice as slow: 10 s of idling at 0.1 W; both receive 2 s at 0.5 W."""
    blocks = world(2, rounds=1, stragglers={"name": "given", "factors": {0: 2.0}})
    blocks["devices"] |= {"rx_power_w": 0.5, "idle_power_w": 0.1}
    simulation, log = simulate(**blocks)
    fast = by(log.rounds, device=1)[0]
    # Fast: computes 0-10, sends 10-12, idles 12-20, receives 20-22.
    assert (fast.idle_s, fast.idle_j) == (pytest.approx(8.0), pytest.approx(0.8))
    assert (fast.receiving_s, fast.receiving_j) == (pytest.approx(2.0), pytest.approx(1.0))
    conserve(simulation, log)


def test_a_device_that_never_links_changes_nothing_else(simulate):
    """Common random numbers: everybody has streams of their own."""
    base = world(3)
    base["radio"] = {**RADIO, "channel": "rayleigh"}
    base["topology"]["require_connected"] = False
    more = {**base, "devices": devices(4)}
    more["topology"] = {**line(3), "require_connected": False}
    more["topology"]["placement"] = {
        "name": "coordinates",
        "positions_m": [*base["topology"]["placement"]["positions_m"], [9e3, 9e3]],
    }
    (_, a), (_, b) = simulate(**base), simulate(**more)
    assert a.transfers == b.transfers
    assert a.rounds == [r for r in b.rounds if r.device != 3]


def test_looking_on_changes_nothing(simulate):
    """Twice the same world, once with an observer that reads every account at every event."""
    blocks = world(3, battery={"capacity_j": 40.0}, rounds=9)
    _, a = simulate(**blocks)
    _, b = simulate(**blocks)
    assert (a.rounds, a.transfers, a.deaths) == (b.rounds, b.transfers, b.deaths)


# Coordination with a cluster head.


def coordinated(bits=1e5, **more):
    return world(5, learner={"coordinated": True, "report_bits": bits}, **more)


def test_reports_and_decisions_travel_hop_by_hop(simulate):
    """Five in a row: degrees 1 2 2 2 1, so 1 is the head. 1e5 bits take 0.1 s a hop; device 4 is three hops away.

    Everybody reports at 12 s: device 4's report is there at 12.3 s, and its decision back at 12.6 s.
    """
    simulation, log = simulate(**coordinated())
    small = by(log.transfers, kind="report")
    assert len(small) == 1 + 1 + 2 + 3
    assert {t.receiver for t in small} == {1, 2, 3}
    assert len(by(log.transfers, kind="decision")) == 7
    ends = {r.device: r.end_s for r in by(log.rounds, round=1)}
    assert ends[4] == pytest.approx(12.6)
    assert ends[1] == pytest.approx(12.3)
    conserve(simulation, log)


def test_free_coordination_costs_nothing(simulate):
    _, log = simulate(**coordinated(bits=0.0))
    assert {t.kind for t in log.transfers} == {"model"}
    assert [r.end_s for r in by(log.rounds, round=1)] == pytest.approx([12.0] * 5)


def test_the_head_may_die_and_another_takes_over(simulate):
    """Device 1 dies in round 2 (15.5 J; a round costs 14 J and decisions).

    Living degrees are then 0, -, 1, 2, 1: device 3 is the next head, and device 0, which cannot reach it, goes on
    without a decision.
    """
    blocks = coordinated(rounds=3, overrides=[{"devices": [1], "battery": {"capacity_j": 15.5}}])
    simulation, log = simulate(**blocks)
    assert [d for d, _ in log.deaths] == [1]
    assert {t.receiver for t in by(log.transfers, kind="report", round=2)} == {3}
    assert len(by(log.rounds, round=3)) == 4
    conserve(simulation, log)


def test_a_head_that_dies_in_the_meeting_leaves_nobody_waiting(simulate):
    """The head relays nothing itself but sends decisions: a battery that ends in the middle of them."""
    blocks = coordinated(bits=1e6, rounds=2, overrides=[{"devices": [1], "battery": {"capacity_j": 14.5}}])
    simulation, log = simulate(**blocks)
    assert [d for d, _ in log.deaths] == [1]
    assert "sender_died" in {t.outcome for t in by(log.transfers, kind="decision")}
    assert {r.device: r.outcome for r in by(log.rounds, round=2)} == {
        1: "died",  # it had its own decision at once, and computed while it told the others
        **dict.fromkeys((0, 2, 3, 4), "finished"),
    }
    conserve(simulation, log)


# Deadlines: schedules, ties, and what is late.


def tie(**protocol):
    """Devices 0 and 1 are near each other; 0 is held up by its far neighbour 2 until the deadline."""
    return {
        "rounds": 200,
        "devices": {"count": 3},
        "topology": {
            "placement": {"name": "coordinates", "positions_m": [[0, 0], [10, 0], [0, 900]]},
            "links": {"name": "edges", "edges": [[0, 1], [0, 2]]},
        },
        "radio": {"channel": "none"},
        "protocol": {"name": "decentralized_rounds", **protocol},
        "learner": {"name": "stub", "flops": 0, "bits": 1e6},
    }


@pytest.mark.parametrize("schedule", ["shared", "own"])
@pytest.mark.parametrize("deadline_s", [0.5, 0.50001, 0.6, 0.1 + 0.2])
def test_what_is_delivered_within_a_round_is_combined(simulate, deadline_s, schedule):
    """With own schedules each message to device 1 arrives in the very moment of its deadline, by another sum."""
    _, log = simulate(**tie(deadline_s=deadline_s, schedule=schedule))
    delivered = [t for t in by(log.transfers, sender=0, receiver=1) if t.outcome == "delivered"]
    rows = by(log.rounds, device=1)
    assert len(delivered) == len(rows) == 200
    assert {(row.outcome, row.received, row.missed, row.late) for row in rows} == {("finished", 1, 0, 0)}


@pytest.mark.parametrize("schedule", ["shared", "own"])
@pytest.mark.parametrize(("flops", "bits"), [(0.3, 0.2e6), (0.1, 0.4e6), (0.45, 0.05e6)])
def test_what_arrives_in_the_very_moment_of_the_deadline_is_combined(simulate, flops, bits, schedule):
    """Computing 0.3 s and sending 0.2 s against 0.5 s, for 300 rounds, whose sums are rounded each its own way."""
    blocks = world(2, flops, bits, rounds=300, protocol={"deadline_s": 0.5, "schedule": schedule})
    blocks["topology"] = line(2, spacing_m=1.0)
    simulation, log = simulate(**blocks)
    assert {row.outcome for row in log.transfers} == {"delivered"}
    assert {(row.outcome, row.received, row.late) for row in log.rounds} == {("finished", 1, 0)}
    assert max(row.end_s for row in log.rounds) == pytest.approx(150.0, rel=1e-12)
    conserve(simulation, log)


def test_training_that_ends_in_the_very_moment_of_the_deadline_is_done(simulate):
    """It cannot be sent any more."""
    simulation, log = simulate(**world(2, flops=0.7, rounds=300, protocol={"deadline_s": 0.7}))
    assert [r.compute_end_s for r in log.rounds] == pytest.approx([r.end_s for r in log.rounds])
    assert {t.outcome for t in log.transfers} == {"cut_off"}
    assert max(t.sent_bits for t in log.transfers) == pytest.approx(0.0, abs=1e-6)
    conserve(simulation, log)


def test_on_a_shared_schedule_all_begin_together_and_who_is_done_early_waits(simulate):
    """Devices 0 and 1 of four in a row need 12 s, 3 computes for 100 s; idling costs 0.1 W."""
    blocks = world(
        4,
        rounds=5,
        protocol={"deadline_s": 20.0},
        idle_power_w=0.1,
        stragglers={"name": "given", "factors": {3: 10.0}},
    )
    simulation, log = simulate(**blocks)
    for row in log.rounds:
        assert (row.start_s, row.end_s) == (20.0 * (row.round - 1), 20.0 * row.round)
    assert {r.outcome for r in by(log.rounds, device=0)} == {"finished"}
    assert [(r.idle_s, r.idle_j) for r in by(log.rounds, device=0)] == [
        (pytest.approx(8.0), pytest.approx(0.8))
    ] * 5
    assert [time_s for _, time_s in log.closed] == [20.0 * t for t in range(1, 6)]
    conserve(simulation, log)


def test_a_device_can_die_while_it_waits_for_the_next_round(simulate):
    """14 J for the round and 1 J a second of waiting: device 1 of three has 17 J and dies at 15 s."""
    change = {"devices": [1], "battery": {"capacity_j": 17.0}, "idle_power_w": 1.0}
    simulation, log = simulate(**world(3, protocol={"deadline_s": 20.0}, overrides=[change]))
    assert log.deaths == [(1, pytest.approx(15.0))]
    assert [(r.outcome, r.received) for r in by(log.rounds, device=1)] == [("died", 2)]
    assert [r.missed for r in by(log.rounds, device=0)] == [0, 0]
    conserve(simulation, log)


def test_decisions_that_take_longer_take_from_the_next_round(simulate):
    """Reports of 3e6 bits take 3 s a hop, after 12 s of round: device 4's decision comes at 12 + 9 + 9 = 30 s.

    It begins round 2 then; the round ends at 40 s all the same.
    """
    _, log = simulate(**coordinated(bits=3e6, protocol={"deadline_s": 20.0}))
    assert [r.start_s for r in by(log.rounds, round=2, device=4)] == pytest.approx([30.0])
    assert {r.end_s for r in by(log.rounds, round=2)} == {40.0}


def test_on_their_own_schedules_devices_drift_apart(simulate):
    """Device 0 hears 1 at once and goes on; 2 has nobody to hold it up. With a shared schedule nothing is ever late."""
    blocks = tie(deadline_s=0.5, schedule="own")
    blocks["radio"] = {"channel": "rayleigh"}
    _, own = simulate(**blocks)
    _, shared = simulate(**{**blocks, "protocol": {**blocks["protocol"], "schedule": "shared"}})
    used = {}
    for name, log in (("own", own), ("shared", shared)):
        delivered = sum(t.outcome == "delivered" for t in log.transfers)
        assert sum(r.received + r.late for r in log.rounds) == pytest.approx(delivered, abs=2)
        used[name] = sum(r.received for r in log.rounds) / delivered
    assert used["own"] < 0.6
    assert used["shared"] == 1.0


@pytest.mark.parametrize("late", ["drop", "keep"])
def test_a_late_message_is_cut_off_or_has_one_round_more(simulate, late):
    """1 s of computing, 2.5 s on the air, rounds of 2 s: sent at 2t - 1, there at 2t + 1.5, in round t + 1.

    Kept, they overlap for 1.5 s with those of the next round, on bands of their own, and cost 2.5 J each. In the last
    round there is none more: what is sent in it is cut off after 1 s, and what was sent in the last but one is there.
    """
    simulation, log = simulate(
        **world(2, flops=1.0, bits=2.5e6, rounds=4, protocol={"deadline_s": 2.0, "late": late})
    )
    rows = [(r.outcome, r.sent, r.received, r.missed, r.late) for r in by(log.rounds, device=0)]
    mine = [(t.outcome, t.start_s, t.end_s, t.energy_j) for t in by(log.transfers, sender=0)]
    if late == "drop":
        assert rows == [("cut_off", 0, 0, 1, 0)] * 4
        assert mine == [("cut_off", 2 * t - 1, 2 * t, pytest.approx(1.0)) for t in (1, 2, 3, 4)]
    else:
        assert rows == [("finished", 0, 0, 1, 0), *[("finished", 1, 1, 1, 1)] * 2, ("finished", 1, 1, 1, 1)]
        there = [("delivered", 2 * t - 1, pytest.approx(2 * t + 1.5), pytest.approx(2.5)) for t in (1, 2, 3)]
        assert mine == [*there, ("cut_off", 7.0, 8.0, pytest.approx(1.0))]
    conserve(simulation, log)


def test_a_message_that_needs_more_than_one_round_more_is_cut_off(simulate):
    """4.5 s on the air from 2t - 1 on: cut off at 2t + 2, after 3 s; the last at its own deadline."""
    _, log = simulate(
        **world(2, flops=1.0, bits=4.5e6, rounds=4, protocol={"deadline_s": 2.0, "late": "keep"})
    )
    assert [t.energy_j for t in by(log.transfers, sender=0)] == pytest.approx([3.0, 3.0, 3.0, 1.0])
    assert {t.outcome for t in log.transfers} == {"cut_off"}
    assert {(r.received, r.late) for r in log.rounds} == {(0, 0)}
