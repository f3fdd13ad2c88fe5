"""What is known to happen later is noted, and done at its time as soon as anybody looks."""

import math

import pytest
import simpy

from netsim.world.devices import Battery, Device, Processor
from netsim.world.devices.diary import Diary


def test_notes_are_done_in_the_order_of_their_times_and_see_their_times():
    env, seen = simpy.Environment(), []
    diary = Diary(env)
    for at_s in (3.0, 1.0, 2.0, 1.0):
        diary.note(at_s, lambda at_s=at_s: seen.append((at_s, diary.now)))
    env.run(until=2.5)
    diary.catch_up()
    assert seen == [(1.0, 1.0), (1.0, 1.0), (2.0, 2.0)] and diary.pending and diary.now == 2.5


def test_a_booking_costs_what_it_says_and_the_device_dies_when_the_rest_is_idled_away():
    """20 J: 5 J of sending until 4 s, receiving 0.5 W until 6 s; then 0.1 W until 12 J are gone: 126 s."""
    env = simpy.Environment()
    device = Device(env, 0, Processor(), Battery(20.0), tx_power_w=1.0, rx_power_w=0.5, idle_power_w=0.1)
    device.book_receiving(6.0)
    device.meter.book_sending([2.0, 4.0], [1.0, 2.0, 2.0])
    assert device.meter.left_j() == 15.0
    env.run(until=10.0)
    account = device.meter.account()
    assert account[:4] == (0.0, 4.0, 6.0, 4.0)
    assert account[4:] == (0.0, 5.0, 3.0, pytest.approx(0.4, rel=1e-15))
    env.run(until=device.gone)
    assert env.now == pytest.approx(6 + 12 / 0.1, rel=1e-12)


def test_nobody_dies_before_the_bound():
    """4 W of computing at half the time, two messages of 1 W, receiving and idling."""
    env = simpy.Environment()
    processor = Processor(frequency_hz=1e9, flops_per_cycle=4.0, effective_capacitance_f=2e-27)
    device = Device(env, 0, processor, Battery(46.0), tx_power_w=1.0, rx_power_w=0.5, idle_power_w=0.1)
    assert device.lives_until_s(0.5, 2) == pytest.approx(46 / (2 / 0.5 + 2 + 0.5 + 0.1), rel=1e-8)
    assert Device(env, 1, processor, Battery(math.inf), tx_power_w=1.0).lives_until_s(1.0, 9) == math.inf
