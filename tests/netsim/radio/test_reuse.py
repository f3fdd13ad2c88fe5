"""Interference where channels are reused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from test_access import send

from netsim.world.radio.fading import Rayleigh
from netsim.world.radio.reuse import Reuse


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
