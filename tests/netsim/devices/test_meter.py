"""Energy is charged when it is drawn, and a battery is empty at the moment that arithmetic says."""

import math
from itertools import accumulate, pairwise

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from netsim.world.devices import Battery, PowerMeter


def test_a_battery_of_ten_joules_feeds_two_watts_for_five_seconds(env, make_device):
    """1 W of computing plus 1 W of something else on 10 J: dead at 5 s, 5 J each."""
    device = make_device(capacity_j=10.0)
    device.meter.start("sending", 1.0)
    env.process(device.compute(100.0))
    env.run(until=device.gone)
    assert env.now == 5.0
    assert device.battery.spent_j == {"compute": 5.0, "sending": 5.0, "receiving": 0.0, "idle": 0.0}
    assert device.battery.remaining_j == 0.0
    assert not device.alive


def test_a_load_that_stops_moves_death_to_a_later_time(env, make_device):
    """10 J: 2 W for 3 s leave 4 J, which 1 W empties at 7 s; the timer set for 5 s must not kill."""
    device = make_device(capacity_j=10.0)
    extra = device.meter.start("sending", 1.0)
    env.process(device.compute(100.0))
    env.timeout(3.0).callbacks.append(lambda _: device.meter.stop(extra))
    env.run(until=device.gone)
    assert env.now == 7.0


def test_a_computation_that_ends_as_the_battery_runs_out_is_done(env, make_device):
    """4 FLOPs at 1 W on 4 J: done at 4 s, and dead at 4 s, in this order."""
    device = make_device(capacity_j=4.0)
    work = env.process(device.compute(4.0))
    assert env.run(until=work) is True
    assert env.now == 4.0
    env.run(until=device.gone)
    assert env.now == 4.0
    assert device.battery.spent_j["compute"] == 4.0


@pytest.mark.parametrize("flops", [0.1, 1 / 3, 7.7e-3, 1234.567, 1e9 / 7])
def test_death_at_the_finish_does_not_depend_on_rounding(env, make_device, flops):
    device = make_device(capacity_j=flops)
    assert env.run(until=env.process(device.compute(flops))) is True
    env.run(until=device.gone)
    assert device.battery.spent_j["compute"] == pytest.approx(flops, rel=1e-12)


def test_a_computation_one_percent_too_long_is_not_done(env, make_device):
    device = make_device(capacity_j=4.0)
    assert env.run(until=env.process(device.compute(4.04))) is False
    assert env.now == pytest.approx(4.0)
    assert device.battery.spent_j["compute"] == 4.0


def test_idle_power_runs_only_while_nothing_else_does(env, make_device):
    """2 W idle for 3 s, 1 W computing for 4 s, 2 W idle for 3 s: 12 J idle, 4 J computing."""
    device = make_device(capacity_j=100.0, idle_power_w=2.0)

    def life():
        yield env.timeout(3)
        yield from device.compute(4.0)
        yield env.timeout(3)

    env.run(until=env.process(life()))
    account = device.meter.account()
    assert (account.compute_j, account.sending_j, account.receiving_j, account.idle_j) == (4, 0, 0, 12)
    assert (account.compute_s, account.sending_s, account.receiving_s, account.idle_s) == (4, 0, 0, 6)


def test_an_idle_device_dies_too(env, make_device):
    device = make_device(capacity_j=6.0, idle_power_w=2.0)
    env.run(until=device.gone)
    assert env.now == 3.0


def test_a_slow_down_stretches_time_and_not_energy(env, make_device):
    device = make_device()
    env.run(until=env.process(device.compute(4.0, slowdown=2.5)))
    assert env.now == 10.0
    assert device.meter.account().compute_j == pytest.approx(4.0, rel=1e-15)


def test_reading_the_account_in_between_changes_nothing(env, make_device):
    """Energy must not depend on the reporting interval: 1,000 looks against none."""
    watched, alone = make_device(0, 1e6), make_device(1, 1e6)
    flops = 1234.5678

    def look():
        while True:
            yield env.timeout(1.2345678)
            watched.meter.account()

    env.process(look())
    done = env.all_of([env.process(d.compute(flops)) for d in (watched, alone)])
    env.run(until=done)
    assert watched.battery.spent_j["compute"] == pytest.approx(alone.battery.spent_j["compute"], rel=1e-12)
    assert alone.battery.spent_j["compute"] == pytest.approx(flops, rel=1e-15)


def test_receiving_power_is_drawn_once_however_many_arrive(env, make_device):
    """Receptions from 0 to 4 s and from 2 to 6 s at 0.5 W: 6 s, 3 J."""
    device = make_device(rx_power_w=0.5)

    def receive(begin, length):
        yield env.timeout(begin)
        with device.listening():
            yield env.timeout(length)

    env.run(until=env.all_of([env.process(receive(0, 4)), env.process(receive(2, 4))]))
    account = device.meter.account()
    assert account.receiving_s == 6.0
    assert account.receiving_j == 3.0


def test_many_changes_of_load_do_not_fill_the_event_queue(env, make_device):
    device = make_device(capacity_j=1e9)
    for _ in range(1000):
        device.meter.stop(device.meter.start("sending", 1.0))
    assert len(env._queue) < 10


@given(
    capacity_j=st.floats(0.5, 50),
    pieces=st.lists(
        st.tuples(
            st.floats(0, 3), st.floats(0.01, 5), st.floats(0, 4), st.sampled_from(["compute", "sending"])
        ),
        min_size=1,
        max_size=12,
    ),
    idle_w=st.floats(0, 1),
)
def test_what_is_spent_is_what_is_gone_whatever_the_loads(capacity_j, pieces, idle_w):
    """Conservation, and death exactly when the integral of power reaches the capacity."""
    env = simpy.Environment()
    battery = Battery(capacity_j)
    died_at = []
    meter = PowerMeter(env, battery, idle_w, lambda: died_at.append(env.now))

    def load(begin, length, power, category):
        yield env.timeout(begin)
        draw = meter.start(category, power, length)
        yield env.timeout(length)
        meter.stop(draw, length)

    for piece in pieces:
        env.process(load(*piece))
    env.run(until=30.0)
    meter.account()
    assert battery.capacity_j - battery.remaining_j == pytest.approx(
        sum(battery.spent_j.values()), rel=1e-12, abs=1e-12
    )

    # The same integral by brute force over the breakpoints.
    times = sorted({0.0, 30.0, *(b for b, *_ in pieces), *(b + n for b, n, *_ in pieces)})
    steps = []
    for a, b in pairwise(times):
        running = [p for begin, length, p, _ in pieces if begin <= a and b <= begin + length]
        steps.append((b - a) * (math.fsum(running) if running else idle_w))
    energy_j = list(accumulate(steps))
    if energy_j[-1] < capacity_j * (1 - 1e-9):
        assert not died_at
        assert sum(battery.spent_j.values()) == pytest.approx(energy_j[-1], rel=1e-9, abs=1e-9)
    elif energy_j[-1] > capacity_j * (1 + 1e-9):
        place = next(i for i, e in enumerate(energy_j) if e >= capacity_j * (1 - 1e-9))
        assert times[place] - 1e-6 <= died_at[0] <= times[place + 1] + 1e-6
        assert sum(battery.spent_j.values()) == pytest.approx(capacity_j, rel=1e-9)
