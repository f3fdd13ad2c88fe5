"""Transfers on the clock. Noise 1 W/Hz, 1 Hz, 1 W, gain 1: SNR 1, so exactly one bit per second and joule."""

import math

import numpy as np
import pytest

from netsim.world.radio import theory
from netsim.world.radio.access import Dedicated, Shared
from netsim.world.radio.fading import Channel, Rayleigh


class Steps(Channel):
    """Power gains given second by second."""

    def __init__(self, *powers):
        super().__init__(None, 0)
        self.powers = powers

    def power(self, sender, receiver, round, now_s):
        block = int(now_s)
        return self.powers[min(block, len(self.powers) - 1)], block + 1.0


def after(env, delay_s, process):
    yield env.timeout(delay_s)
    yield from process


def test_five_bits_take_five_seconds_and_five_joules(env, air):
    radio, (a, b, _), rows = air()
    env.run(until=env.process(radio.send(a, b, 5.0, 1, "model")))
    (row,) = rows
    assert (row.start_s, row.end_s, row.airtime_s, row.energy_j, row.outcome) == (0, 5, 5, 5, "delivered")
    assert (row.sent_bits, row.gain, row.snr_db) == (5, 1, 0)
    assert a.battery.spent_j["sending"] == 5.0


def test_dedicated_bands_do_not_share(env, air):
    radio, (a, b, c), rows = air(Dedicated)
    env.run(until=env.all_of([env.process(radio.send(a, r, 5.0, 1, "model")) for r in (b, c)]))
    assert [row.end_s for row in rows] == [5, 5]
    assert a.battery.spent_j["sending"] == 10.0


def test_equal_transfers_share_a_band_equally(env, air):
    """Two of 5 bits in one band at the same SNR density: half rate and half power each, both done at 10 s, 5 J each."""
    radio, (a, b, c), rows = air(Shared)
    env.run(until=env.all_of([env.process(radio.send(a, r, 5.0, 1, "model")) for r in (b, c)]))
    assert [row.end_s for row in rows] == [10, 10]
    assert [row.energy_j for row in rows] == [5, 5]


def test_a_newcomer_takes_half_the_band(env, air):
    """4 bits each: alone until 2 s, both at half rate until 6 s, the second alone until 8 s."""
    radio, (a, b, c), rows = air(Shared)
    env.process(radio.send(a, b, 4.0, 1, "model"))
    env.process(after(env, 2.0, radio.send(a, c, 4.0, 1, "model")))
    env.run(until=20)
    assert [(row.receiver, row.end_s) for row in rows] == [(1, 6), (2, 8)]
    assert [row.energy_j for row in rows] == [4, 4]


def test_n_transfers_in_one_band_are_done_when_the_sum_of_their_work_is(env, air):
    """Work conservation: whatever the sizes and starts, a busy band moves one bit per second."""
    radio, (a, b, c), rows = air(Shared)
    rng = np.random.default_rng(0)
    sizes = rng.uniform(0.1, 3.0, 40)
    for size, receiver in zip(sizes, [b, c] * 20, strict=True):
        env.process(after(env, float(rng.uniform(0, 5)), radio.send(a, receiver, float(size), 1, "model")))
    env.run(until=1000)
    begin = min(row.start_s for row in rows)
    assert max(row.end_s for row in rows) - begin == pytest.approx(sizes.sum(), rel=1e-9)
    assert sum(row.energy_j for row in rows) == pytest.approx(sizes.sum(), rel=1e-9)
    assert all(row.outcome == "delivered" and row.sent_bits == row.size_bits for row in rows)


def test_bands_of_different_senders_are_different(env, air):
    radio, (a, b, c), rows = air(Shared)
    env.run(until=env.all_of([env.process(radio.send(s, c, 5.0, 1, "model")) for s in (a, b)]))
    assert [row.end_s for row in rows] == [5, 5]


def test_a_transfer_longer_than_the_coherence_time_sees_several_gains(env, air):
    """SNR 1, 3, 7: 1 + 2 + 3 bit/s. Five bits: 1 in the first second, 2 in the second, 2 of 3 in the third."""
    radio, (a, b, _), rows = air(channel=Steps(1.0, 3.0, 7.0))
    env.run(until=env.process(radio.send(a, b, 5.0, 1, "model")))
    assert rows[0].end_s == pytest.approx(2 + 2 / 3)
    assert rows[0].energy_j == pytest.approx(2 + 2 / 3)


def test_a_block_in_outage_is_waited_out_for_free(env, air):
    """SNR 1, 0.1, 3 with threshold 0.5: one bit, a second of silence, two bits."""
    radio, (a, b, _), rows = air(channel=Steps(1.0, 0.1, 3.0), outage_snr=0.5)
    env.run(until=env.process(radio.send(a, b, 3.0, 1, "model")))
    assert (rows[0].end_s, rows[0].airtime_s, rows[0].energy_j) == (3.0, 2.0, 2.0)


def test_a_link_in_outage_for_the_whole_round_drops_its_message_at_once(env, air):
    radio, (a, b, _), rows = air(outage_snr=2.0)
    env.run(until=env.process(radio.send(a, b, 3.0, 1, "model")))
    assert (rows[0].outcome, rows[0].end_s, rows[0].energy_j, rows[0].sent_bits) == ("outage", 0, 0, 0)


def test_a_sender_dies_in_mid_transfer(env, air):
    """3 J: three of five bits get out."""
    radio, (a, b, _), rows = air(capacity_j=3.0)
    env.run(until=env.process(radio.send(a, b, 5.0, 1, "model")))
    assert (rows[0].outcome, rows[0].end_s, rows[0].sent_bits, rows[0].energy_j) == ("sender_died", 3, 3, 3)
    assert not a.alive and a.battery.remaining_j == 0.0


def test_a_receiver_dies_in_mid_transfer_and_the_sender_stops(env, air, make_device):
    radio, (a, _, _), rows = air()
    weak = make_device(1, capacity_j=2.0, rx_power_w=1.0)
    env.run(until=env.process(radio.send(a, weak, 5.0, 1, "model")))
    assert (rows[0].outcome, rows[0].end_s, rows[0].energy_j) == ("receiver_died", 2, 2)
    assert weak.battery.spent_j["receiving"] == 2.0


def test_the_last_bit_counts_when_the_battery_runs_out_with_it(env, air):
    radio, (a, b, _), rows = air(capacity_j=5.0)
    env.run(until=env.process(radio.send(a, b, 5.0, 1, "model")))
    assert (rows[0].outcome, rows[0].end_s) == ("delivered", 5)
    env.run(until=a.gone)
    assert env.now == 5


def test_a_deadline_cuts_a_transfer_and_its_energy_stays_spent(env, air):
    radio, (a, b, _), rows = air()
    env.run(until=env.process(radio.send(a, b, 5.0, 1, "model", stop=env.timeout(2.0))))
    assert (rows[0].outcome, rows[0].end_s, rows[0].sent_bits, rows[0].energy_j) == ("cut_off", 2, 2, 2)


def test_what_ends_with_the_deadline_is_delivered(env, air):
    radio, (a, b, _), rows = air()
    stop = env.timeout(5.0)
    env.run(until=env.process(radio.send(a, b, 5.0, 1, "model", stop=stop)))
    assert rows[0].outcome == "delivered"


def test_a_message_of_no_bits_is_free_and_leaves_no_record(env, air):
    radio, (a, b, _), rows = air()
    row = env.run(until=env.process(radio.send(a, b, 0.0, 1, "report")))
    assert (row.outcome, env.now, a.battery.spent_j["sending"], rows) == ("delivered", 0, 0, [])


def test_double_bandwidth_at_the_same_total_noise_halves_airtime(env, air):
    """N0 B fixed means the same SNR; the radio here has N0 = 1, so double B needs double power for it."""
    radio, (a, b, _), rows = air(bandwidth_hz=2.0, tx_power_w=2.0)
    env.run(until=env.process(radio.send(a, b, 5.0, 1, "model")))
    assert rows[0].end_s == 2.5


def test_long_transfers_over_short_coherence_times_reach_ergodic_capacity(env, air):
    """1,000 blocks at 10 dB mean SNR: goodput within 4 standard errors of e^{1/s} E1(1/s) / ln 2 (renewal theorem)."""
    channel = Rayleigh(Rayleigh.Options(normalisation="unit_power", coherence_time_s=1.0), 5)
    radio, (a, b, _), rows = air(channel=channel, tx_power_w=10.0)
    capacity = theory.ergodic_capacity_bps_per_hz(10.0)
    blocks = 1000
    env.run(until=env.process(radio.send(a, b, blocks * capacity, 1, "model")))
    rates = np.log2(1 + 10 * np.random.default_rng(0).exponential(size=100_000))
    assert rows[0].airtime_s == pytest.approx(blocks, abs=4 * rates.std() / capacity * math.sqrt(blocks))
    assert rows[0].energy_j == pytest.approx(10.0 * rows[0].airtime_s, rel=1e-9)


def test_joules_per_bit_are_those_of_the_gain_last_heard(env, air):
    """Before the first use: the mean gain 1 (1 J/bit). After a transfer at SNR 3, two bits a second: 0.5 J/bit."""
    radio, (a, b, _), _ = air(channel=Steps(3.0))
    assert radio.joules_per_bit(a, 1) == pytest.approx(1.0)
    env.run(until=env.process(radio.send(a, b, 1.0, 1, "model")))
    assert radio.joules_per_bit(a, 1, radio.power_gains(0)[1]) == pytest.approx(0.5)


def fan_out(env, radio, sender, receivers, size_bits=5.0, stop=None):
    """Send the same to all; returns the process, and what was told, when."""
    told = []

    def tell(*transfers):
        told.extend((env.now, *transfer) for transfer in zip(*transfers, strict=True))

    numbers, devices = tuple(r.number for r in receivers), {r.number: r for r in receivers}
    return env.process(radio.send_all(sender, numbers, devices, size_bits, 1, "model", stop, tell)), told


def test_undisturbed_transfers_are_known_when_they_begin(env, air):
    """SNR 1: one bit per second and joule; told at 0 s, over at 5 s, and not in the account before it happens."""
    radio, (a, b, c), rows = air()
    process, told = fan_out(env, radio, a, [b, c])
    env.run(until=2.0)
    assert told == [(0.0, 1, 5.0, True), (0.0, 2, 5.0, True)]
    assert (a.meter.account().sending_j, rows) == (4.0, [])
    assert b.meter.account().receiving_s == 2.0
    assert env.run(until=process) == ["delivered", "delivered"]
    assert [(row.receiver, row.end_s, row.energy_j) for row in rows] == [(1, 5, 5), (2, 5, 5)]
    assert a.meter.account().sending_j == 10.0


@pytest.mark.parametrize(
    "world",
    [{"access": Shared}, {"channel": Steps(1.0)}, {"capacity_j": 100.0}],
    ids=["shared band", "coherence time", "battery"],
)
def test_whatever_may_be_disturbed_is_told_when_it_ends(env, air, world):
    radio, (a, b, c), rows = air(**world)
    process, told = fan_out(env, radio, a, [b, c])
    env.run(until=process)
    assert [at_s for at_s, *_ in told] == [end_s for *_, end_s, _ in told] == [row.end_s for row in rows]


def test_a_deadline_disturbs(env, air):
    radio, (a, b, c), _ = air()
    process, told = fan_out(env, radio, a, [b, c], stop=env.timeout(2.0))
    assert env.run(until=process) == ["cut_off", "cut_off"]
    assert told == [(2.0, 1, 2.0, False), (2.0, 2, 2.0, False)]


def test_known_and_unknown_side_by_side(env, air, make_device):
    """Device 1 has 2 J and receives at 1 W: dead at 2 s. The transfer to device 2 is known from its start."""
    radio, (a, _, c), rows = air()
    weak = make_device(1, capacity_j=2.0, rx_power_w=1.0)
    process, told = fan_out(env, radio, a, [weak, c])
    assert sorted(env.run(until=process)) == ["delivered", "receiver_died"]
    assert told == [(0.0, 2, 5.0, True), (2.0, 1, 2.0, False)]
    assert a.meter.account().sending_j == 7.0
    assert {row.outcome for row in rows} == {"delivered", "receiver_died"}


def test_an_outage_is_told_at_once(env, air):
    radio, (a, b, c), rows = air(outage_snr=2.0)
    process, told = fan_out(env, radio, a, [b, c])
    assert env.run(until=process) == ["outage", "outage"]
    assert told == [(0.0, 1, 0.0, False), (0.0, 2, 0.0, False)]
    assert [(row.sent_bits, row.energy_j) for row in rows] == [(0, 0), (0, 0)]


def test_no_bits_leave_no_record_in_a_fan_out_either(env, air):
    radio, (a, b, c), rows = air()
    process, told = fan_out(env, radio, a, [b, c], size_bits=0.0)
    assert env.run(until=process) == ["delivered", "delivered"]
    assert (env.now, rows, len(told)) == (0.0, [], 2)
