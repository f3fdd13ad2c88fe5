"""Batteries of all kinds against closed forms, published times and an integration of their equations."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from netsim.world.devices import Battery, PowerMeter
from netsim.world.devices.harvest import ConstantHarvest
from netsim.world.devices.kibam import Kibam
from netsim.world.devices.peukert import Peukert

PAPER = {"capacity_j": 7200.0, "available": 0.625, "rate_per_s": 4.5e-5}
"""The battery of Cloth, Jongerden and Haverkort (DSN 2007), with 1 V: amperes are watts."""


def test_kibam_lasts_as_long_as_published():
    """91 min of 0.96 A without a break; 203 min if it is on for every other half second."""
    assert round(Kibam(**PAPER).left_s(0.96) / 60) == 91
    battery, seconds = Kibam(**PAPER), 0
    while battery.level_j > 1.0:  # more than a half second of 0.96 W takes out of the available charge
        for load_w in (0.96, 0.0):
            battery.flow(load_w, 0.0, 0.5)
            battery.take("compute", load_w * 0.5)
        seconds += 1
    assert round(seconds / 60) == 203


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    pieces=st.lists(
        st.tuples(st.floats(0, 1.5), st.floats(0, 1.5), st.floats(1, 3000)), min_size=1, max_size=6
    )
)
def test_kibam_is_the_solution_of_its_equations(pieces):
    """Until it is empty, under any loads and harvests, full battery included: y1 and y2 of an integrator."""
    c, k = 0.6, 2e-4
    battery = Kibam(1000.0, c, k)
    y = np.array([c * 1000.0, (1 - c) * 1000.0])
    for load_w, harvest_w, length_s in pieces:
        length_s = min(length_s, battery.left_s(load_w, harvest_w) * 0.999)
        if length_s < 1e-6:  # empty
            break

        def rates(_, y, net_w=load_w - harvest_w):
            bound = k * (y[1] / (1 - c) - y[0] / c)
            inflow = bound - net_w
            if y[0] >= c * 1000.0 and inflow > 0:  # full: what does not flow on is wasted
                inflow = 0.0
            return [inflow, -bound]

        y = solve_ivp(rates, (0, length_s), y, rtol=1e-9, atol=1e-9, max_step=length_s / 100).y[:, -1]
        battery.flow(load_w, harvest_w, length_s)
        battery.take("compute", load_w * length_s)
        assert battery.level_j == pytest.approx(y[0] / c, abs=0.2)
        assert battery.remaining_j == pytest.approx(y.sum(), abs=0.2)
        y = np.array([battery.level_j * c, battery.remaining_j - battery.level_j * c])
    assert battery.capacity_j - battery.remaining_j == pytest.approx(
        sum(battery.spent_j.values()) - battery.harvested_j + battery.wasted_j, abs=1e-9
    )


def test_kibam_matches_the_published_formula():
    """y1 and y2 of Manwell and McGowan (1993) as printed, with k' = k/(c (1 - c))."""
    c, k, load_w, t = 0.625, 4.5e-5, 0.96, 3000.0
    rate = k / (c * (1 - c))
    e, y0 = math.exp(-rate * t), 7200.0
    y1 = c * y0 * e + (y0 * rate * c - load_w) * (1 - e) / rate - load_w * c * (rate * t - 1 + e) / rate
    y2 = (1 - c) * y0 * e + y0 * (1 - c) * (1 - e) - load_w * (1 - c) * (rate * t - 1 + e) / rate
    battery = Kibam(**PAPER)
    battery.flow(load_w, 0.0, t)
    battery.take("compute", load_w * t)
    assert battery.level_j * c == pytest.approx(y1, rel=1e-12)
    assert battery.remaining_j == pytest.approx(y1 + y2, rel=1e-12)


def test_kibam_recovers_while_it_rests_and_revives_its_device(env, make_device):
    """0.96 W empties it with a third of its charge bound; at rest its level rises to a tenth: the device is back."""
    device = make_device(battery=Kibam(**PAPER, revive_at=0.1))
    draw = device.meter.start("sending", 0.96)
    env.run(until=device.gone)
    assert env.now / 60 == pytest.approx(91, abs=0.5) and device.may_return and not device.alive
    left_j = device.battery.remaining_j
    assert left_j == pytest.approx(7200 - 0.96 * env.now) and left_j > 1900
    rate = 4.5e-5 / (0.625 * 0.375)
    died_s = env.now
    env.run(until=device.back)
    assert device.alive and env.now - died_s == pytest.approx(math.log(left_j / (left_j - 720)) / rate)
    assert device.meter.stop(draw) == pytest.approx(0.96 * died_s), "what ended with the device stays ended"


def test_peukert_as_printed():
    """2 Ah rated for 20 h, drawn at 1 A with k = 1.2: 1.261915 h."""
    battery = Peukert(capacity_j=2 * 3600, rated_power_w=0.1, exponent=1.2)
    assert battery.left_s(1.0) / 3600 == pytest.approx(1.261915, abs=5e-7)
    assert battery.left_s(0.05) == pytest.approx(2 * 3600 / 0.05), "below the rate it is linear"


def test_what_peukert_loses_is_in_the_account(env):
    """At ten times the rated power with k = 2 it lasts a tenth as long: 90 of 100 J are lost."""
    battery, died_at = Peukert(100.0, 1.0, 2.0), []
    meter = PowerMeter(env, battery, 10.0, lambda: died_at.append(env.now))
    env.run()
    assert died_at == [pytest.approx(1.0)]
    assert (battery.spent_j["idle"], battery.wasted_j) == (pytest.approx(10.0), pytest.approx(90.0))
    assert meter.hopeless and battery.remaining_j == pytest.approx(0.0, abs=1e-9)


def harvest(power_w):
    return ConstantHarvest(ConstantHarvest.Options(power_w=power_w), 0, 0)


def test_a_harvest_delays_death_and_what_does_not_fit_is_wasted(env, make_device):
    """10 J, 1 W of harvest: full for 5 s, so 5 J are wasted; then 3 W of load empty it in 5 s."""
    device = make_device(battery=Battery(10.0), harvest=harvest(1.0))
    env.timeout(5.0).callbacks.append(lambda _: device.meter.start("compute", 3.0))
    env.run(until=device.gone)
    assert env.now == 10.0 and not device.may_return
    assert (device.battery.harvested_j, device.battery.wasted_j) == (10.0, 5.0)
    assert device.battery.spent_j["compute"] == pytest.approx(15.0)


def test_a_dead_device_is_back_when_it_is_charged(env, make_device):
    """10 J are gone at 10 s; 0.5 W give the 2 J at which it revives at 14 s; idle, it dies again at 18 s, and so on."""
    device = make_device(battery=Battery(10.0, revive_at=0.2), harvest=harvest(0.5), idle_power_w=1.0)
    went, came = [], []
    device.on_going.append(lambda _: went.append(env.now))
    device.on_return.append(lambda _: came.append(env.now))
    env.run(until=33.0)
    assert went == pytest.approx([20.0, 28.0]) and came == pytest.approx([24.0, 32.0])
    account = device.meter.account()
    assert account.idle_s == pytest.approx(20 + 4 + 1) and account.idle_j == pytest.approx(25.0)
    assert device.battery.harvested_j == pytest.approx(16.5)
    assert device.battery.remaining_j == pytest.approx(10 - 25 + 16.5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from([Battery, Kibam, Peukert]),
    harvest_w=st.floats(0, 1.5),
    revive_at=st.sampled_from([None, 0.05, 1.0]),
    loads=st.lists(st.tuples(st.floats(0, 20), st.floats(0.01, 5), st.floats(0.1, 3)), max_size=8),
    idle_w=st.floats(0, 0.6),
)
def test_the_account_of_every_battery_balances(kind, harvest_w, revive_at, loads, idle_w):
    """Capacity - remaining = spent - harvested + wasted; charge is never below 0 or above the capacity."""
    import simpy

    env = simpy.Environment()
    more = {"rated_power_w": 0.5} if kind is Peukert else {"rate_per_s": 0.05} if kind is Kibam else {}
    battery = kind(capacity_j=10.0, revive_at=revive_at, **more)
    changes = []

    def change():
        changes.append((env.now, meter.dead))
        if not meter.dead:
            meter.resume()

    meter = PowerMeter(env, battery, idle_w, change, harvest(harvest_w) if harvest_w else None)
    drawn = []

    def load(begin, length, power):
        yield env.timeout(begin)
        draw = meter.start("sending", power, length)
        yield env.timeout(length)
        drawn.append(meter.stop(draw, length))

    for one in loads:
        env.process(load(*one))
    for until_s in range(1, 40):
        env.run(until=until_s)
        meter.account()
        spent_j = sum(battery.spent_j.values())
        assert 10.0 - battery.remaining_j == pytest.approx(
            spent_j - battery.harvested_j + battery.wasted_j, abs=1e-9
        )
        assert -1e-9 <= battery.level_j <= 10 + 1e-9 and battery.remaining_j <= 10 + 1e-9
        assert battery.wasted_j >= 0 and meter.off == meter.dead
    assert math.fsum(drawn) == pytest.approx(battery.spent_j["sending"], abs=1e-9)
    times_s = [time_s for time_s, _ in changes]
    assert times_s == sorted(times_s) and len(set(times_s)) == len(times_s)


def test_what_is_taken_at_once_comes_from_the_available_charge():
    """100 J of 7,200 J with c = 0.625: h1 falls by 100 / c = 160 J, h2 stays; no more than c h1 can be had."""
    battery = Kibam(7200.0, available=0.625)
    assert battery.take_at_once("idle", 100.0) == 100.0
    assert (battery.remaining_j, battery.level_j) == (7100.0, pytest.approx(7040.0))
    assert battery.level_j + battery._gap_j == pytest.approx(7200.0)
    assert battery.take_at_once("idle", 1e6) == pytest.approx(0.625 * 7040.0)
    assert battery.empty and battery.remaining_j == pytest.approx(0.375 * 7200.0)
