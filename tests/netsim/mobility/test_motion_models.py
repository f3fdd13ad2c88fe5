"""Where devices are: closed forms of stationary states, and functions of seed, device and time alone."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import cumulative_trapezoid
from scipy.stats import kstest, norm

from netsim.core.errors import ScenarioError
from netsim.core.registry import load
from netsim.scenario import load_plan

SQUARE = (0.0, 0.0, 100.0, 100.0)


def made(name, count, seed=0, **options):
    cls = load("mobilities", name)
    placed_m = np.random.default_rng(seed).random((count, 2)) * 100
    return cls(cls.Options(**options), placed_m, seed)


@pytest.mark.parametrize("time_s", [0.0, 40.0, 1000.0])
def test_speeds_of_the_waypoint_model_from_the_first_second_on(time_s):
    """Mean (b - a)/ln(b/a) and variance (b² - a²)/(2 ln(b/a)) - mean², far from (a + b)/2; density like 1/v."""
    low, high, count = 0.5, 8.0, 4000
    model = made("random_waypoint", count, 3, diameter_m=100, speed_mps=(low, high))
    model.positions_m(time_s)
    speeds = model.speeds_mps()
    mean = (high - low) / math.log(high / low)
    variance = (high**2 - low**2) / (2 * math.log(high / low)) - mean**2
    assert abs(speeds.mean() - mean) < 4 * math.sqrt(variance / count)
    assert speeds.var() == pytest.approx(variance, rel=4 * math.sqrt(2 / count))
    assert kstest(speeds, lambda v: np.log(v / low) / math.log(high / low)).pvalue > 1e-3


@pytest.mark.parametrize("time_s", [0.0, 300.0])
def test_pauses_have_their_share(time_s):
    """P / (P + E[L] E[1/V]): with E[L] = 128 R/(45 π) in a disc, R = 50 m, 1 m/s and P = 45.27 s it is a half."""
    model = made(
        "random_waypoint", 4000, 1, diameter_m=100, speed_mps=(1, 1), pause_s=128 * 50 / 45 / math.pi
    )
    model.positions_m(time_s)
    assert abs(np.mean(model.speeds_mps() == 0) - 0.5) < 4 * math.sqrt(0.25 / 4000)


@pytest.mark.parametrize("time_s", [0.0, 200.0])
def test_density_of_the_waypoint_model_in_a_disc(time_s):
    """45/(64 π) (1 - r²) ∫ sqrt(1 - r² cos² φ) dφ on the unit disc (Hyytiä, Lassila and Virtamo 2006)."""
    radius = np.linspace(0, 1, 400)
    angle = np.linspace(0, math.pi, 400)
    inner = np.trapezoid(np.sqrt(1 - np.outer(radius, np.cos(angle)) ** 2), angle)
    below = cumulative_trapezoid(
        45 / (64 * math.pi) * (1 - radius**2) * inner * 2 * math.pi * radius, radius, initial=0
    )
    assert below[-1] == pytest.approx(1, abs=1e-4)
    places = made("random_waypoint", 4000, 2, diameter_m=100).positions_m(time_s)
    assert kstest(np.hypot(*places.T) / 50, lambda r: np.interp(r, radius, below)).pvalue > 1e-3


def test_density_of_the_waypoint_model_on_a_line():
    """6 x (1 - x) on a line of length 1 (Bettstetter, Resta and Santi 2003); a lane of 1 km by 1 m is nearly one."""
    places = made("random_waypoint", 4000, area_m=(0, 0, 1000, 1)).positions_m(500.0)
    assert kstest(places[:, 0] / 1000, lambda x: 3 * x**2 - 2 * x**3).pvalue > 1e-3


def test_mean_way_in_a_rectangle():
    """The unit square's is 0.521405; 100,000 pairs of points in 3 by 1 have the same mean but for their error."""
    assert made("random_waypoint", 2, area_m=(0, 0, 1, 1))._mean_length_m() == pytest.approx(0.5214054331647)
    ways = np.hypot(*((np.random.default_rng(0).random((2, 100_000, 2)) * [3, 1]) * [[[1]], [[-1]]]).sum(0).T)
    found = made("random_waypoint", 2, area_m=(5, 5, 8, 6))._mean_length_m()
    assert abs(ways.mean() - found) < 4 * ways.std() / math.sqrt(len(ways))


@pytest.mark.parametrize("alpha", [0.0, 0.6, 0.95])
def test_velocities_of_gauss_and_markov_remember(alpha):
    """Variance σ², mean μ, and correlation αⁿ after n steps, of 4,000 devices, from the first second on."""
    count, sigma, lags = 4000, 0.7, 6
    model = made(
        "gauss_markov", count, area_m=SQUARE, alpha=alpha, sigma_mps=sigma, speed_mps=1, direction_deg=0
    )
    velocities = []
    for step in range(lags):
        model.positions_m(step)
        velocities.append((model.velocity_mps - [1, 0]).ravel() / sigma)
    for lag, late in enumerate(velocities):
        assert abs(np.mean(velocities[0] * late) - alpha**lag) < 4 * math.sqrt(2 / (2 * count))
        assert kstest(late, norm.cdf).pvalue > 1e-3


def test_borders_reflect_and_positions_stay_uniform():
    model = made("gauss_markov", 4000, area_m=SQUARE, alpha=0.9, speed_mps=3, sigma_mps=1)
    for time_s in (0.0, 0.5, 20.0, 200.0):
        places = model.positions_m(time_s)
        assert (places >= 0).all() and (places <= 100).all()
        assert kstest(places[:, 0] / 100, "uniform").pvalue > 1e-3
    way = made("gauss_markov", 50, area_m=SQUARE, alpha=1, speed_mps=3, sigma_mps=0)
    steps = [np.hypot(*(way.positions_m(t + 0.01) - way.positions_m(t)).T) for t in range(60)]
    assert (
        np.median(steps) == pytest.approx(0.03) and np.max(steps) < 0.0300001
    )  # slower only where it turns round


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("random_waypoint", {"diameter_m": 100, "pause_s": 3}),
        ("gauss_markov", {"area_m": SQUARE, "step_s": 0.7}),
    ],
)
def test_a_position_is_a_function_of_seed_device_and_time(name, options):
    """It depends neither on who else is there nor on what was asked before; another seed has other ways."""
    many, few, late = (made(name, count, **options) for count in (40, 10, 40))
    few.placed_m = many.placed_m[:10]
    few = type(few)(few.options, few.placed_m, 0)
    for time_s in (0.0, 1.0, 33.3):
        places = many.positions_m(time_s)
        np.testing.assert_array_equal(places[:10], few.positions_m(time_s))
    np.testing.assert_array_equal(late.positions_m(33.3), places)
    np.testing.assert_array_equal(late.positions_m(1.0), many.positions_m(1.0))
    assert (made(name, 40, seed=1, **options).positions_m(33.3) != places).all()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_trace_is_followed_in_straight_lines(tmp_path, suffix):
    file = tmp_path / f"ways.{suffix}"
    table = pd.DataFrame(
        [(0, 0, 0, 0), (0, 1, 9, 9), (10, 0, 100, 50), (20, 0, 100, 0), (4, 1, 9, 1)],
        columns=["time_s", "device", "x_m", "y_m"],
    )
    table.to_csv(file, index=False) if suffix == "csv" else table.to_parquet(file)
    model = made("trace", 2, file=file, end="hold")
    assert model.positions_m(0.0).tolist() == [[0, 0], [9, 9]]
    assert model.positions_m(2.5).tolist() == [[25, 12.5], [9, 4]]
    assert model.positions_m(15.0).tolist() == [[100, 25], [9, 1]]
    assert model.positions_m(99.0).tolist() == [[100, 0], [9, 1]]
    assert model.positions_m(2.5).tolist() == [[25, 12.5], [9, 4]]
    with pytest.raises(
        ScenarioError, match=r"the way of device 1 ends at 4 s, and the run goes on at 5 s; .*hold"
    ):
        made("trace", 2, file=file).positions_m(5.0)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("0,0,1,1\n0,1,nan,1", "row 2: time_s, x_m and y_m must be numbers that are finite"),
        ("0,0,1,1\n0,1,1,here", "row 2: time_s, x_m and y_m must be numbers that are finite"),
        ("0,0,1,1\n0,7,1,1", "row 2: 7 is not the number of a device; devices are 0 to 1"),
        ("0,0,1,1\n0,0.5,1,1", "row 2: 0.5 is not the number of a device; devices are 0 to 1"),
        ("0,0,1,1\n1,0,1,1", "has no way for device 1; each of the 2 devices needs one"),
        ("0,0,1,1\n3,1,1,1", "the way of device 1 begins at 3 s; each must begin at 0 s"),
        (
            "0,0,1,1\n0,1,1,1\n5,0,1,1\n5,0,2,2",
            "row 4: the times of device 0 must increase (got 5 s after 5 s)",
        ),
        ("", "has no rows"),
    ],
)
def test_a_strange_trace_is_refused_in_one_line(write_scenario, tmp_path, rows, said):
    (tmp_path / "ways.csv").write_text(f"time_s,device,x_m,y_m\n{rows}\n")
    path = write_scenario(devices={"count": 2}, topology=None, mobility={"name": "trace", "file": "ways.csv"})
    with pytest.raises(ScenarioError) as raised:
        load_plan(path)
    assert str(raised.value) == f"{path}: mobility.file: {tmp_path / 'ways.csv'}: {said}"


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"name": "random_waypoint"}, "must have either area_m, a rectangle, or diameter_m, a disc"),
        ({"name": "random_waypoint", "diameter_m": 9, "speed_mps": [0, 2]}, "no stationary state"),
        ({"name": "random_waypoint", "diameter_m": 9, "speed_mps": [-1, 2]}, "greater than 0"),
        ({"name": "random_waypoint", "diameter_m": 9, "speed_mps": [3, 2]}, "lowest and highest speed"),
        ({"name": "random_waypoint", "diameter_m": 9, "pause_s": -1}, "pause_s"),
        ({"name": "gauss_markov", "area_m": [5, 0, 1, 1]}, "area_m: must be lowest x"),
        ({"name": "gauss_markov", "area_m": [0, 0, 1, 1], "alpha": 1.5}, "alpha"),
        ({"name": "gauss_markov", "area_m": [0, 0, 1, 1], "speed_mps": -2}, "speed_mps"),
        ({"name": "trace", "file": "nowhere.csv"}, "nowhere.csv: No such file"),
        ({"name": "trace", "file": "ways.txt"}, "must end in .csv or .parquet"),
        ({"name": "random_waypoint", "diameter_m": 9, "every_s": 0}, "every_s"),
        ({"name": "levy_flight"}, "unknown name 'levy_flight'"),
    ],
)
def test_a_strange_block_is_refused_in_one_line(write_scenario, block, said):
    with pytest.raises(ScenarioError) as raised:
        load_plan(write_scenario(mobility=block))
    (line,) = str(raised.value).splitlines()
    assert said in line and "mobility" in line


def test_a_device_outside_its_area_is_named(simulate):
    with pytest.raises(ScenarioError, match=r"mobility\.area_m: device 1 is placed outside, at \(20, 0\) m"):
        simulate(mobility={"name": "gauss_markov", "area_m": [0, 0, 10, 30]})
