import numpy as np
import pytest

from netsim.core.errors import ScenarioError
from netsim.world.devices.stragglers import Constant, Exponential, Given, LogNormal, NoStragglers


def test_nobody_is_slow_by_default():
    assert NoStragglers(None, 5, 0).factor(3, 7) == 1.0


def test_given_factors_are_used_in_every_round():
    slow = Given(Given.Options(factors={2: 5.0}), 4, 0)
    assert [slow.factor(d, t) for d in range(4) for t in (1, 9)] == [1, 1, 1, 1, 5, 5, 1, 1]


def test_a_factor_for_a_device_that_is_not_there_is_refused():
    with pytest.raises(ScenarioError, match="no device 4; devices are 0 to 3"):
        Given(Given.Options(factors={4: 2.0}), 4, 0)


def test_a_quarter_of_eight_devices_are_two_and_they_stay_the_same():
    slow = Constant(Constant.Options(factor=3.0, share=0.25), 8, seed=1)
    first = [slow.factor(d, 1) for d in range(8)]
    assert sorted(first) == [1.0] * 6 + [3.0] * 2
    assert first == [slow.factor(d, 2) for d in range(8)]


def test_draws_per_run_stay_and_draws_per_round_change():
    run = LogNormal(LogNormal.Options(sigma=0.5, redraw="run"), 3, seed=0)
    each = LogNormal(LogNormal.Options(sigma=0.5, redraw="round"), 3, seed=0)
    assert run.factor(1, 1) == run.factor(1, 50)
    assert each.factor(1, 1) != each.factor(1, 2)
    assert each.factor(1, 2) == each.factor(1, 2)


def test_lognormal_has_median_one():
    slow = LogNormal(LogNormal.Options(sigma=0.7), 1, seed=3)
    draws = np.log([slow.factor(0, t) for t in range(4000)])
    assert np.median(draws) == pytest.approx(0, abs=4 * 0.7 * 1.2533 / np.sqrt(4000))  # 4 standard errors
    assert draws.std() == pytest.approx(0.7, rel=0.05)


def test_exponential_has_its_mean_above_its_minimum():
    slow = Exponential(Exponential.Options(mean=2.5, minimum=1.0), 1, seed=3)
    draws = np.array([slow.factor(0, t) for t in range(4000)])
    assert draws.min() >= 1.0
    assert draws.mean() == pytest.approx(2.5, abs=4 * 1.5 / np.sqrt(4000))
