"""Time lines of access methods by hand: 1 Hz, 1 W, SNR 1 alone, so one bit per second and joule on the whole band."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from netsim.core.errors import ScenarioError
from netsim.world.radio.access import Dedicated, Shared
from netsim.world.radio.half_duplex import HalfDuplex
from netsim.world.radio.ofdma import OFDMA
from netsim.world.radio.schedulers import BestGain, Bid, Equal, Proportional, Scheduler
from netsim.world.radio.tdma import TDMA


def ofdma(**options):
    return lambda _, env: OFDMA(OFDMA.Options(**options), env)


def tdma(**options):
    return lambda _, env: TDMA(TDMA.Options(slot_s=1.0, **options), env)


def half_duplex(access=Dedicated):
    return lambda _, env: HalfDuplex(access(None, env))


def send(env, radio, sender, receiver, bits, at_s=0.0, stop=None):
    def later():
        yield env.timeout(at_s)
        yield from radio.send(sender, receiver, bits, 1, "model", stop)

    return env.process(later())


def log2(x):
    return math.log2(x)


def test_ofdma_deals_anew_when_a_transfer_begins_or_ends(env, air):
    """Four sub-carriers. Two senders have two each from 2 s on, with all their power on half the band: SNR 2 there."""
    radio, (a, b, c), rows = air(ofdma(subcarriers=4))
    send(env, radio, a, b, 4.0)
    send(env, radio, c, b, 1.0, at_s=2.0)
    env.run(until=100)
    both = log2(3) / 2
    short, long = rows
    assert (short.sender, long.sender) == (2, 0)
    assert short.end_s == pytest.approx(2 + 1 / both)
    assert long.end_s == pytest.approx(2 + 1 / both + (4 - 2 - 1))
    assert [row.energy_j for row in rows] == pytest.approx([1 / both, long.end_s])
    assert short.snr_db == pytest.approx(10 * math.log10(2))
    assert long.snr_db == 0


def test_sub_carriers_are_whole_numbers(env, air):
    """Four sub-carriers for three senders: 2, 1, 1; rates log2(3)/2 and log2(5)/4, and 2, 2 when the first is done."""
    radio, devices, rows = air(ofdma(subcarriers=4), count=4)
    for sender in devices[:3]:
        send(env, radio, sender, devices[3], 1.0)
    env.run(until=100)
    two, one = log2(3) / 2, log2(5) / 4
    first_s = 1 / two
    rest_s = (1 - one * first_s) / two
    assert [row.end_s for row in rows] == pytest.approx([first_s, first_s + rest_s, first_s + rest_s])


def test_sub_carriers_of_one_sender_share_its_power(env, air):
    """A device's own band: half the sub-carriers with half the power each, at the SNR of the whole: as FDM."""
    radio, (a, b, c), rows = air(ofdma(subcarriers=2, per="device"))
    for receiver in (b, c):
        send(env, radio, a, receiver, 5.0)
    env.run(until=100)
    assert [(row.end_s, row.energy_j, row.snr_db) for row in rows] == [(10, 5, 0), (10, 5, 0)]


def test_who_gets_no_sub_carrier_waits_and_draws_nothing(env, air):
    radio, (a, b, c), rows = air(ofdma(subcarriers=1), rx_power_w=0.5, idle_power_w=0.25)
    send(env, radio, a, c, 3.0)
    send(env, radio, b, c, 2.0)
    env.run(until=2.0)
    assert b.meter.account()[:4] == (0, 0, 0, 2)  # it does not even seem to send
    env.run(until=10)
    assert [(row.end_s, row.airtime_s, row.energy_j) for row in rows] == [(3, 3, 3), (5, 2, 2)]
    assert c.meter.account().receiving_j == 2.5
    assert b.meter.account()[:4] == (0, 2, 0, 8)


def test_a_deadline_while_waiting(env, air):
    radio, (a, b, c), rows = air(ofdma(subcarriers=1))
    send(env, radio, a, c, 3.0)
    send(env, radio, b, c, 2.0, stop=env.timeout(1.0))
    env.run(until=10)
    assert [(row.outcome, row.end_s, row.sent_bits) for row in rows] == [
        ("cut_off", 1, 0),
        ("delivered", 3, 3),
    ]
    assert math.isnan(rows[0].snr_db)


def test_best_gain_first(env, air):
    """SNR 1 and 3: the better link has everything until it is done."""
    losses = {(0, 2): 0.0, (1, 2): -10 * math.log10(3)}
    radio, (a, b, c), rows = air(ofdma(subcarriers=8, scheduler="best_gain"), losses_db=losses)
    send(env, radio, a, c, 3.0)
    send(env, radio, b, c, 4.0, at_s=1.0)
    env.run(until=100)
    assert [(row.sender, row.end_s) for row in rows] == [(1, 3), (0, 5)]


@pytest.mark.parametrize("power_moves", [True, False])
def test_proportional_fairness_is_the_best_product_of_rates(power_moves):
    """Against all ways to deal eight sub-carriers to three transfers."""
    draw = np.random.default_rng(3)
    for _ in range(20):
        bids = [Bid(k, 9, float(snr), power_moves) for k, snr in enumerate(draw.exponential(10, size=3))]

        def product(counts, bids=bids):
            return math.prod(bid.rate(count, 8) for bid, count in zip(bids, counts, strict=True))

        best = max(product(counts) for counts in itertools.product(range(9), repeat=3) if sum(counts) == 8)
        counts = Proportional(None).deal(bids, 8)
        assert sum(counts) == 8 and product(counts) == pytest.approx(best)
    if not power_moves:
        assert counts == [3, 3, 2]  # then all rates are linear, and equal numbers are best


def test_schedulers_deal_all_that_there_is():
    bids = [Bid(k, 9, snr, True) for k, snr in enumerate([2.0, 5.0, 5.0])]
    assert Equal(None).deal(bids, 8) == [3, 3, 2]
    assert Equal(None).deal(bids, 2) == [1, 1, 0]
    assert BestGain(None).deal(bids, 8) == [0, 8, 0]
    assert sum(Proportional(None).deal(bids, 8)) == 8


class Nonsense(Scheduler):
    """Deals what is not there."""

    def deal(self, bids, subcarriers):
        return [subcarriers, 0.5]


@pytest.mark.parametrize("scheduler", ["test_access:Nonsense"])
def test_a_scheduler_that_deals_nonsense_is_named(env, air, scheduler):
    radio, (a, b, c), _ = air(ofdma(subcarriers=4, scheduler=scheduler))
    send(env, radio, a, c, 3.0)
    send(env, radio, b, c, 3.0)
    with pytest.raises(
        ScenarioError, match=r"'Nonsense' deals \[4, 0.5\] to 2 transfers; it must return a whole"
    ):
        env.run(until=10)


def test_tdma_takes_turns(env, air):
    """Slots of 1 s. A: 0-1, 2-3, then 3.5-4.5. B comes at 0.5 with 1.5 bits: 1-2 and 3-3.5; it passes the turn on."""
    radio, (a, b, c), rows = air(tdma(), idle_power_w=0.5)
    send(env, radio, a, c, 3.0)
    send(env, radio, b, c, 1.5, at_s=0.5)
    env.run(until=1.5)
    assert (a.meter.account().sending_j, b.meter.account().sending_j) == (1.0, 0.5)
    env.run(until=10)
    assert [(row.sender, row.start_s, row.end_s, row.airtime_s, row.energy_j) for row in rows] == [
        (1, 0.5, 3.5, 1.5, 1.5),
        (0, 0.0, 4.5, 3.0, 3.0),
    ]
    assert a.meter.account().idle_j == 0.5 * 7


def test_three_in_turn_and_bands_of_their_own(env, air):
    """A cell: bits 2, 2, 1 end in slots 5, 4... of 0 1 2 0 1; with a band for each device nobody waits."""
    ends = {}
    for per in ("cell", "device"):
        radio, devices, rows = air(tdma(per=per), count=4)
        begin_s = env.now
        for sender, bits in zip(devices, (2.0, 2.0, 1.0), strict=False):
            send(env, radio, sender, devices[3], bits)
        env.run(until=begin_s + 50)
        ends[per] = {row.sender: row.end_s - begin_s for row in rows}
    assert ends == {"cell": {0: 4.0, 1: 5.0, 2: 3.0}, "device": {0: 2.0, 1: 2.0, 2: 1.0}}


def test_slots_that_end_with_a_transfer_cost_no_cycle_of_rounding(env, air):
    """Slots of 0.1 s, sums of which are rounded: three of ten slots' bits each are done after thirty slots."""
    radio, devices, rows = air(lambda _, env: TDMA(TDMA.Options(slot_s=0.1), env), count=4)
    for sender in devices[:3]:
        send(env, radio, sender, devices[3], 1.0)
    env.run(until=50)
    assert [row.end_s for row in rows] == pytest.approx([2.8, 2.9, 3.0], rel=1e-9)


def test_short_slots_are_processor_sharing(env, air):
    """In the limit each of n has an n-th of the time, as FDM at the same SNR has an n-th of the band."""
    found = []
    for access in (lambda _, env: TDMA(TDMA.Options(slot_s=1e-3, per="device"), env), Shared):
        radio, (a, b, c), rows = air(access)
        begin_s = env.now
        for at_s, receiver, bits in [(0.0, b, 3.0), (0.5, c, 1.0), (1.25, b, 2.0)]:
            send(env, radio, a, receiver, bits, at_s)
        env.run(until=begin_s + 20)
        found.append([row.end_s - begin_s for row in rows])
    assert found[0] == pytest.approx(found[1], abs=5e-3)


def test_a_half_duplex_radio_waits_and_nobody_overtakes(env, air):
    """1 -> 0 waits for 0 -> 1. 2 -> 1 comes later; it could go on beside that but would hold 1 -> 0 up, and waits."""
    radio, (a, b, c), rows = air(half_duplex())
    send(env, radio, a, b, 5.0)
    send(env, radio, b, a, 3.0, at_s=1.0)
    send(env, radio, c, b, 1.0, at_s=2.0)
    env.run(until=20)
    assert [(row.sender, row.start_s, row.end_s, row.airtime_s) for row in rows] == [
        (0, 0, 5, 5),
        (1, 1, 8, 3),
        (2, 2, 9, 1),
    ]


def test_half_duplex_radios_send_to_many_and_hear_many(env, air):
    radio, (a, b, c), rows = air(half_duplex())
    send(env, radio, a, b, 2.0)
    send(env, radio, a, c, 2.0)
    send(env, radio, b, c, 1.0, at_s=0.5)  # b receives until 2 s
    env.run(until=20)
    assert [(row.sender, row.end_s) for row in rows] == [(0, 2), (0, 2), (1, 3)]


def test_a_death_frees_who_waits_for_the_dead(env, air, make_device):
    radio, (_, b, c), rows = air(half_duplex())
    weak = make_device(0, capacity_j=2.0)
    send(env, radio, weak, b, 5.0)
    send(env, radio, b, weak, 3.0, at_s=1.0)
    send(env, radio, b, c, 1.0, at_s=1.0)
    env.run(until=20)
    assert [(row.sender, row.receiver, row.outcome, row.end_s) for row in rows] == [
        (0, 1, "sender_died", 2),
        (1, 0, "receiver_died", 2),
        (1, 2, "delivered", 3),
    ]
