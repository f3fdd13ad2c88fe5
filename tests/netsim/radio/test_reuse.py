"""Interference where channels are reused."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_access import send

from netsim.core.streams import stream
from netsim.world.radio.access import Traffic
from netsim.world.radio.air import Air
from netsim.world.radio.fading import Rayleigh
from netsim.world.radio.reuse import Channel, Reuse


def reuse(**options):
    return lambda _, env: Reuse(Reuse.Options(**options), env)


def db(power):
    return 10 * math.log10(power)


def test_two_links_by_hand(env, air):
    """SNR 3 each, alone 2 bit/s. Gains across are -3 dB of those along: SINR 3 / (1 + 1.5) = 1.2 while both send."""
    losses = {(0, 1): -db(3), (2, 3): -db(3), (0, 3): -db(1.5), (1, 2): -db(1.5)}
    radio, (a, b, c, d), rows = air(reuse(), losses_db=losses, count=4)
    send(env, radio, a, b, 6.0)
    send(env, radio, c, d, 2.0, at_s=1.0)
    env.run(until=50)
    both = math.log2(1 + 1.2)
    second_s = 2 / both
    assert [row.end_s for row in rows] == pytest.approx([1 + second_s, 1 + second_s + (6 - 2 - 2) / 2])
    assert [row.energy_j for row in rows] == pytest.approx([second_s, rows[1].end_s])
    assert [row.snr_db for row in rows] == pytest.approx([db(1.2), db(3)])


def test_other_channels_do_not_disturb(env, air):
    """Devices 0 and 2 have channel 0 of two, devices 1 and 3 channel 1; the least used one is always free for two."""
    for assignment, pair in (("number", (0, 1)), ("least_used", (0, 2))):
        radio, devices, rows = air(reuse(channels=2, assignment=assignment), count=4)
        begin_s = env.now
        for k in pair:
            send(env, radio, devices[k], devices[3], 5.0)
        env.run(until=begin_s + 50)
        assert [row.end_s - begin_s for row in rows] == [5, 5]


def test_transfers_of_one_sender_divide_its_channel_and_a_receiver_hears_itself_not(env, air):
    radio, (a, b, c), rows = air(reuse())
    send(env, radio, a, b, 5.0)
    send(env, radio, a, c, 5.0)
    env.run(until=50)
    assert [row.end_s for row in rows] == [10, 10]
    radio, (a, b, _), rows = air(reuse())
    send(env, radio, a, b, 5.0)
    send(env, radio, b, a, 5.0)
    env.run(until=100)
    assert [row.end_s for row in rows] == [55, 55]


def test_who_is_drowned_out_gives_up_and_costs_what_it_cost(env, air):
    """Threshold 0.8. 0 -> 1 has SNR 1 alone, and SINR 0.5 from 2 s on; the other one is strong."""
    losses = {(2, 3): -db(100)}
    radio, (a, b, c, d), rows = air(reuse(), losses_db=losses, count=4, outage_snr=0.8)
    send(env, radio, a, b, 5.0)
    send(env, radio, c, d, 1.0, at_s=2.0)
    env.run(until=50)
    first = rows[0]
    assert (first.outcome, first.end_s, first.sent_bits, first.energy_j) == ("outage", 2, 2, 2)
    assert (rows[1].outcome, rows[1].end_s) == ("delivered", pytest.approx(2 + 1 / math.log2(101)))


@pytest.mark.parametrize(("signal", "interferers"), [(4.0, [1.0, 0.25])])
def test_sinr_of_rayleigh_signal_and_interferers(env, air, signal, interferers):
    """P(SINR < t) = 1 - exp(-t N/S) prod 1/(1 + t I_i/S): Kolmogorov-Smirnov on 1,500 rounds."""
    losses = {(0, 1): -db(signal), **{(1, 2 + i): -db(power) for i, power in enumerate(interferers)}}
    channel = Rayleigh(Rayleigh.Options(normalisation="unit_power"), 4)
    radio, devices, rows = air(reuse(), channel, losses_db=losses, count=5)

    def one_round(t):
        yield env.timeout(float(t))
        yield from radio.send(devices[0], devices[1], 1e-9, t, "model")

    def noise(t, sender):
        yield env.timeout(float(t))
        yield from radio.send(sender, devices[4], 1e-9, t, "noise")

    for t in range(1500):
        env.process(one_round(t))
        for sender in devices[2:4]:
            env.process(noise(t, sender))
    env.run()
    sinr = [10 ** (row.snr_db / 10) for row in rows if row.kind == "model"]
    assert len(sinr) == 1500

    def below(t):
        disturbed = np.prod([1 / (1 + t * power / signal) for power in interferers], axis=0)
        return 1 - np.exp(-t / signal) * disturbed

    assert stats.kstest(sinr, below).pvalue > 0.01
    assert (
        stats.kstest(sinr, lambda t: 1 - np.exp(-t / signal)).pvalue < 1e-9
    )  # the test would see no interference


def test_devices_out_of_range_disturb_too(simulate):
    """Two pairs 180 m apart, linked within 50 m: free space at 2.6 GHz, 0.1 W, 5e-12 W of noise; all send at once."""
    _, log = simulate(
        rounds=1,
        devices={"count": 4},
        topology={
            "placement": {"name": "coordinates", "positions_m": [[0, 0], [20, 0], [200, 0], [220, 0]]},
            "links": {"name": "range", "range_m": 50.0},
            "require_connected": False,
        },
        radio={"channel": "none", "access": "reuse"},
    )

    def heard_w(length_m):
        return 0.1 * 10 ** -((32.4 + 20 * math.log10(2.6) + 20 * math.log10(length_m)) / 10)

    (row,) = (row for row in log.transfers if (row.sender, row.receiver) == (0, 1))
    sinr = heard_w(20) / (5e-12 + heard_w(180) + heard_w(200))
    assert row.snr_db == pytest.approx(db(sinr), abs=1e-9)
    assert len(log.transfers) == 4


@given(data=st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_sums_of_interference_are_those_of_the_slow_way(data):
    """Transfers begin and end at random, with gains over 16 decades: each sum is that of all terms, to rounding."""
    env, now = simpy.Environment(), [0.0]
    coherence_s = data.draw(st.sampled_from([math.inf, 1.0]))

    def gain(sender, receiver, round):
        draw = stream(7, sender, receiver, round, 0 if math.isinf(coherence_s) else int(env.now))
        return 10.0 ** draw.uniform(-16, 0)

    class Gains:
        def across(self, senders, receivers, round):
            until_s = coherence_s if math.isinf(coherence_s) else math.floor(env.now) + 1.0
            return [gain(*pair, round) for pair in zip(senders, receivers, strict=True)], until_s

        def until_s(self, until_s, now_s=None):
            return until_s

    channel = Channel(env, Air(1.0, 1.0), Gains(), 0.0)
    sitting = []
    for _ in range(data.draw(st.integers(1, 12))):
        if sitting and data.draw(st.booleans()):
            place = data.draw(st.integers(0, len(sitting) - 1))
            sitting.pop(place)[0].__exit__(None, None, None)
        else:
            sender, receiver = data.draw(st.permutations(range(5)))[:2]
            device = SimpleNamespace(number=sender, tx_power_w=data.draw(st.sampled_from([0.1, 1.0])))
            traffic = Traffic(device, receiver, data.draw(st.integers(1, 2)))
            held = channel.join(traffic)
            seat = held.__enter__()
            seat.hear(data.draw(st.sampled_from([0.0, 1.0])))
            sitting.append((held, seat, traffic))
        now[0] += data.draw(st.sampled_from([0.25, 1.0]))
        env.run(until=now[0])
        latest = {one.sender.number: one for _, seat, one in sitting if seat.on_air}
        for _, seat, (sender, receiver, _) in sitting:
            terms = [
                one.sender.tx_power_w * gain(number, receiver, one.round)
                for number, one in latest.items()
                if number not in (sender.number, receiver)
            ]
            assert seat.grant.interference_w == pytest.approx(math.fsum(terms), rel=4e-16, abs=0)


def test_only_those_who_hear_it_look_again(env, air):
    """Noise 1 W; the other pair is heard with 0.05 W, 13 dB below it, which counts unless 10 dB below is negligible."""
    losses = {pair: -db(0.05) for pair in ((0, 3), (1, 2), (0, 2), (1, 3))}
    ends_s = {}
    for negligible_db in (None, 10.0, 20.0):
        radio, (a, b, c, d), rows = air(reuse(negligible_db=negligible_db), losses_db=losses, count=4)
        begin_s = env.now
        send(env, radio, a, b, 5.0)
        send(env, radio, c, d, 50.0)
        env.run(until=begin_s + 200)
        ends_s[negligible_db] = rows[0].end_s - begin_s
    assert ends_s[10.0] == 5
    disturbed_s = 5 / math.log2(1 + 1 / 1.05)
    assert [ends_s[None], ends_s[20.0]] == pytest.approx([disturbed_s] * 2)
