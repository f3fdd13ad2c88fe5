import re

import pytest

from netsim.core.errors import ScenarioError
from netsim.scenario import load_plan
from netsim.world.devices import Processor


def test_the_papers_processor_does_four_gflops_at_half_a_hundred_picojoules():
    """At f = 1 GHz, e = 4, ε = 2e-28 F: 4e9 FLOP/s, and 2e-28 · 1e18 / 4 = 5e-11 J per FLOP."""
    paper = Processor()
    assert paper.time_s(4e9) == 1.0
    assert paper.energy_j(1.0) == pytest.approx(5e-11, rel=1e-12)


@pytest.mark.parametrize(
    ("gigahertz", "seconds", "joules", "watts"),
    [(0.5, 40, 0.5, 0.0125), (1.0, 20, 2.0, 0.1), (2.0, 10, 8.0, 0.8)],
)
def test_energy_grows_with_the_square_of_the_clock(gigahertz, seconds, joules, watts):
    """κ = 1e-28, 2e10 cycles of one FLOP: E = κ C f², T = C / f, P = κ f³."""
    p = Processor(frequency_hz=gigahertz * 1e9, flops_per_cycle=1, effective_capacitance_f=1e-28)
    assert p.time_s(2e10) == pytest.approx(seconds)
    assert p.energy_j(2e10) == pytest.approx(joules)
    assert p.energy_j(2e10) / p.time_s(2e10) == pytest.approx(watts)


def test_doubling_flops_per_cycle_halves_time_and_energy():
    slow, fast = Processor(flops_per_cycle=4), Processor(flops_per_cycle=8)
    assert fast.time_s(1e12) == pytest.approx(slow.time_s(1e12) / 2)
    assert fast.energy_j(1e12) == pytest.approx(slow.energy_j(1e12) / 2)


def test_the_cheapest_frequency_is_where_its_derivative_vanishes():
    """P0/f + ε f² is least at f* = (P0 / 2ε)^(1/3): 0.1 W and 1e-28 F give 793.7 MHz."""
    best_hz = (0.1 / 2e-28) ** (1 / 3)
    assert best_hz == pytest.approx(7.937e8, rel=1e-4)

    def energy_j(frequency_hz):
        one = Processor(frequency_hz=frequency_hz, effective_capacitance_f=1e-28, static_power_w=0.1)
        return one.energy_j(4e9)

    assert energy_j(best_hz) == pytest.approx(4e9 / 4 * (0.1 / best_hz + 1e-28 * best_hz**2))
    assert all(energy_j(best_hz) < energy_j(factor * best_hz) for factor in (0.9, 0.99, 1.01, 1.1))


LIST = {"frequencies_hz": (0.5e9, 1e9, 2e9), "flops_per_cycle": 1.0, "effective_capacitance_f": 1e-27}


@pytest.mark.parametrize(
    ("governor", "flops", "frequency_hz"),
    [
        ({"governor": "fixed", "frequency_hz": 1e9}, 1e9, 1e9),
        ({"governor": "race_to_idle"}, 1e9, 2e9),
        ({"governor": "just_in_time", "compute_deadline_s": 1.0}, 4e8, 0.5e9),
        ({"governor": "just_in_time", "compute_deadline_s": 1.0}, 5e8, 0.5e9),
        ({"governor": "just_in_time", "compute_deadline_s": 1.0}, 5.1e8, 1e9),
        ({"governor": "just_in_time", "compute_deadline_s": 1.0}, 1.9e9, 2e9),
        ({"governor": "just_in_time", "compute_deadline_s": 1.0}, 9e9, 2e9),
    ],
)
def test_a_governor_chooses_from_the_list(make_device, governor, flops, frequency_hz):
    one = Processor(**LIST, **governor, static_power_w=0.25)
    assert one.time_s(flops) == flops / frequency_hz
    assert one.energy_j(flops) == pytest.approx(flops * 1e-27 * frequency_hz**2 + 0.25 * flops / frequency_hz)
    assert one.joules_per_flop == pytest.approx(1e-27 * one.top_hz**2 + 0.25 / one.top_hz)
    device = make_device()
    device.processor = one
    duration_s, power_w = device.computing(flops, slowdown=3.0)
    assert duration_s == pytest.approx(3 * flops / frequency_hz), "static power for as long as it takes"
    assert power_w * duration_s == pytest.approx(flops * 1e-27 * frequency_hz**2 + 0.25 * duration_s)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"frequencies_hz": [1e9], "frequency_hz": 7e8}, "7e+08 is not one of frequencies_hz: 1e+09"),
        ({"governor": "race_to_idle"}, "set frequencies_hz"),
        ({"governor": "just_in_time", "frequencies_hz": [1e9]}, "just_in_time needs it"),
        ({"compute_deadline_s": 3}, "no other governor does"),
        ({"frequencies_hz": [2e9, 1e9]}, "ascending"),
    ],
)
def test_what_does_not_fit_is_refused(write_scenario, keys, says):
    for place in ({"processor": keys}, {"overrides": [{"devices": [1], "processor": keys}]}):
        with pytest.raises(ScenarioError, match="processor.*" + re.escape(says)) as error:
            load_plan(write_scenario(devices={"count": 3, **place}))
        assert len(str(error.value).splitlines()) == 1


def test_rounds_at_once_and_by_events_have_the_same_governor(simulate_both):
    one, other = simulate_both
    assert [row.compute_j for row in one] == pytest.approx([row.compute_j for row in other], rel=1e-12)
    assert [row.compute_end_s for row in one] == pytest.approx(
        [row.compute_end_s for row in other], rel=1e-12
    )


@pytest.fixture
def simulate_both(simulate):
    """Rows of rounds of devices with unlimited power, computed at once, and of the same with large batteries."""
    found = []
    for battery in ({}, {"battery": {"capacity_j": 1e9}}):
        processor = {**LIST, "governor": "just_in_time", "compute_deadline_s": 3.0, "static_power_w": 0.5}
        processor["frequencies_hz"] = list(LIST["frequencies_hz"])
        overrides = [{"devices": [1], "processor": {"compute_deadline_s": 100.0}}]
        devices = {"count": 3, "processor": processor, "overrides": overrides, **battery}
        _, log = simulate(devices=devices)
        found.append(sorted(log.rounds, key=lambda row: (row.round, row.device)))
    assert {row.compute_j > 0 for rows in found for row in rows} == {True}
    return found
