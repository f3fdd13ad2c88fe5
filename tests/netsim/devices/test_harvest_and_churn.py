"""Harvesters and churn against closed forms, and what is refused."""

import math
from itertools import islice

import numpy as np
import pytest
from scipy.stats import kstest

from netsim.core.errors import ScenarioError
from netsim.scenario import load_plan
from netsim.world.devices.churn import ExponentialChurn, NoChurn, TraceChurn
from netsim.world.devices.harvest import DAY_S, ProfileHarvest, Solar


def energy_j(harvest, until_s, from_s=0.0):
    """Integral of a harvester's power, piece by piece; its times only go on."""
    total_j, now_s = 0.0, from_s
    while now_s < until_s:
        power_w, change_s = harvest.power(now_s)
        assert change_s > now_s and power_w >= 0
        total_j += power_w * (min(change_s, until_s) - now_s)
        now_s = change_s
    return total_j


def solar(seed=0, device=0, **options):
    return Solar(Solar.Options(**options), device, seed)


@pytest.mark.parametrize("step_s", [77.0, 600.0, 20_000.0])
@pytest.mark.parametrize("start_h", [0.0, 9.5, 23.0])
def test_a_solar_day_has_the_energy_of_half_a_sine(step_s, start_h):
    """(2/π) η A G (t_s - t_r) joules a day, whatever the steps, whenever a day begins; half of it by noon."""
    harvest = solar(step_s=step_s, start_h=start_h, sunrise_h=5.0, sunset_h=19.0)
    day_j = 2 / math.pi * 0.2 * 0.01 * 1000 * 14 * 3600
    assert energy_j(harvest, 3 * DAY_S) == pytest.approx(3 * day_j, rel=1e-12)
    if start_h == 0 and step_s < 1000:
        assert energy_j(harvest, 12 * 3600) == pytest.approx(day_j / 2, rel=1e-9)
        assert energy_j(harvest, 5 * 3600) == 0 == energy_j(harvest, DAY_S, 19 * 3600 + 1e-6)


def test_a_cloudy_sky_lets_through_its_mean_share():
    """A share of 0.3 of the blocks is cloudy and lets a quarter through: 1 - 0.3 · 0.75 on average; skies differ."""
    options = {"cloudy": 0.3, "cloud_s": 900.0, "step_s": 900.0}
    clear_j = energy_j(solar(), 60 * DAY_S)
    skies_j = [energy_j(solar(device=k, **options), 60 * DAY_S) / clear_j for k in range(2)]
    assert skies_j == pytest.approx([0.775] * 2, abs=0.04) and skies_j[0] != skies_j[1]
    shared = [solar(device=k, sky="shared", **options).power(43_200.0) for k in range(2)]
    assert shared[0] == shared[1]


def test_a_profile_repeats_and_ends(tmp_path):
    (tmp_path / "p.csv").write_text("time_s,power_w\n1,2\n3,0.5\n")
    for source in ({"steps": [(1, 2), (3, 0.5)]}, {"file": tmp_path / "p.csv"}):
        once = ProfileHarvest(ProfileHarvest.Options(**source), 0, 0)
        assert [once.power(t) for t in (0, 1, 2.5, 3, 99)] == [
            (0, 1),
            (2, 3),
            (2, 3),
            (0.5, math.inf),
            (0.5, math.inf),
        ]
        again = ProfileHarvest(ProfileHarvest.Options(**source, period_s=10), 0, 0)
        assert energy_j(again, 100.0) == pytest.approx(10 * (2 * 2 + 7 * 0.5))
        assert again.power(11.0) == (2, 13)
    over = ProfileHarvest(ProfileHarvest.Options(steps=[(0, 1), (5, 0)]), 0, 0)
    assert over.can_come(4.0) and not over.can_come(5.0)


@pytest.mark.parametrize("period_s", [0.1, 1 / 3, 7.7, 86_400.0])
def test_times_of_a_profile_never_stand_still(period_s):
    harvest = ProfileHarvest(
        ProfileHarvest.Options(steps=[(0, 1), (period_s / 3, 0)], period_s=period_s), 0, 0
    )
    assert energy_j(harvest, 3000 * period_s) == pytest.approx(1000 * period_s, rel=1e-3)


def test_times_here_and_away_are_exponential():
    options = ExponentialChurn.Options(mean_here_s=30.0, mean_away_s=5.0)
    churn = ExponentialChurn(options, 2, 7)
    gaps = np.array(list(islice(churn.absences(0), 4000)))
    assert kstest(gaps[:, 1] - gaps[:, 0], "expon", args=(0, 5.0)).pvalue > 0.01
    assert kstest(gaps[1:, 0] - gaps[:-1, 1], "expon", args=(0, 30.0)).pvalue > 0.01
    assert np.array_equal(gaps[:50], list(islice(ExponentialChurn(options, 2, 7).absences(0), 50)))
    assert not np.array_equal(gaps[:50], list(islice(churn.absences(1), 50)))


def test_arrival_and_departure_join_with_absences_of_its_own(tmp_path):
    (tmp_path / "t.csv").write_text("# there\ndevice,from_s,to_s\n0,5,10\n0,20,30\n1,0,4\n1,4,8\n")
    keys = {"file": tmp_path / "t.csv", "arrival_s": {0: 7.0, 2: 3.0}, "departure_s": {0: 25.0}}
    churn = TraceChurn(TraceChurn.Options(**keys), 4, 0)
    found = [list(churn.absences(k)) for k in range(4)]
    assert found == [[(0, 7), (10, 20), (25, math.inf)], [(8, math.inf)], [(0, 3)], []]
    assert list(NoChurn(NoChurn.Options(), 4, 0).absences(0)) == []


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        (
            {"harvest": {"name": "constant", "power_w": -1}},
            "harvest.power_w: must be at least 0",
        ),
        (
            {"harvest": {"name": "profile", "steps": [[0, 1], [2, -3]]}},
            "power at 2 s: a harvester gives at least 0 W",
        ),
        ({"harvest": {"name": "profile", "steps": [[2, 1], [2, 3]]}}, "each later than the one before"),
        (
            {"harvest": {"name": "profile", "steps": [[0, 1], [9, 3]], "period_s": 9}},
            "before the period's end",
        ),
        ({"harvest": {"name": "profile"}}, "set one of steps and file"),
        ({"harvest": {"name": "solar", "sunrise_h": 19}}, "sunset_h: must be after sunrise_h"),
        ({"battery": {"name": "kibam"}}, "battery.capacity_j"),
        ({"battery": {"name": "kibam", "capacity_j": math.inf}}, "battery.capacity_j"),
        ({"battery": {"capacity_j": 3, "revive_at": 1.5}}, "battery.revive_at"),
        (
            {"overrides": [{"devices": [0], "battery": {"capacity_k": 3}}]},
            "overrides.0.battery.capacity_k: unknown key",
        ),
        ({"classes": {"a": {"harvest": {"name": "wind"}}}}, "classes.a.harvest.name: unknown name 'wind'"),
        ({"profile": "toaster"}, "no board 'toaster'; boards are raspberry_pi_4"),
        ({"classes": {"a": {"profile": "toaster"}}}, "classes.a.*no board 'toaster'"),
    ],
)
def test_bad_input_is_refused_in_one_line(write_scenario, devices, says):
    with pytest.raises(ScenarioError, match=says) as error:
        load_plan(write_scenario(devices={"count": 3, **devices}))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("devices", "trace", "says"),
    [
        ({"harvest": {"name": "constant", "power_w": 1}}, "", "device 0 has unlimited power"),
        ({"churn": {"arrival_s": {7: 1.0}}}, "", "no device 7; devices are 0 to 2"),
        (
            {"churn": {"arrival_s": {0: 3.0}, "departure_s": {0: 2.0}}},
            "",
            "must be after the device's arrival",
        ),
        ({"churn": {"name": "trace", "file": "t.csv"}}, "0,3,2\n", "must be from_s < to_s"),
        ({"churn": {"name": "trace", "file": "t.csv"}}, "0,1,5\n0,4,9\n", "in order and apart"),
        ({"churn": {"name": "trace", "file": "t.csv"}}, "9,1,5\n", "'9' is not the number of a device"),
        ({"churn": {"name": "trace", "file": "none.csv"}}, "", "none.csv"),
        (
            {"battery": {"capacity_j": 1}, "harvest": {"name": "profile", "file": "t.csv"}},
            "0,1\n1,-2\n",
            "power at 1 s",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(simulate, tmp_path, devices, trace, says):
    (tmp_path / "t.csv").write_text(trace)
    with pytest.raises(ScenarioError, match=says):
        simulate(devices={"count": 3, **devices})


@pytest.mark.parametrize("name", ["raspberry_pi_4", "esp32", "esp32_s2"])
def test_a_profile_stands_for_keys_that_are_not_given(write_scenario, name):
    devices = {"count": 3, "profile": name, "rx_power_w": 0.125, "classes": {"slow": {"devices": [1]}}}
    plan = load_plan(write_scenario(devices=devices))
    found = plan.scenario.devices
    assert found.rx_power_w == 0.125 and found.idle_power_w > 0 and found.processor.static_power_w > 0
    at_full_load_w = found.processor.energy_j(1e9) / found.processor.time_s(1e9)
    expected = {
        "raspberry_pi_4": (5.4, 8e9),
        "esp32": (3.3 * 0.040, 475e6),
        "esp32_s2": (3.3 * 0.022, 6.43e6),
    }
    assert (at_full_load_w, found.processor.flops_per_s) == pytest.approx(expected[name])
    again = load_plan(write_scenario("again", devices=plan.resolved()["devices"]))
    keys = ("processor", "tx_power_w", "rx_power_w", "idle_power_w", "sleep_power_w")
    assert all(getattr(again.scenario.devices, key) == getattr(found, key) for key in keys)
