"""The closed forms themselves, against printed values and numerical quadrature."""

import math

import numpy as np
import pytest
from scipy import integrate

from netsim.world.radio import theory


@pytest.mark.parametrize(
    ("snr_db", "capacity"),
    [
        (-10, 0.132098),
        (0, 0.860347),
        (5, 1.715974),
        (10, 2.906515),
        (15, 4.330200),
        (20, 5.884048),
        (30, 9.143619),
    ],
)
def test_ergodic_capacity(snr_db, capacity):
    s = 10 ** (snr_db / 10)
    assert theory.ergodic_capacity_bps_per_hz(s) == pytest.approx(capacity, abs=1e-6)
    by_quadrature = integrate.quad(lambda x: math.log2(1 + s * x) * math.exp(-x), 0, np.inf)[0]
    assert theory.ergodic_capacity_bps_per_hz(s) == pytest.approx(by_quadrature, rel=1e-7)


def test_ergodic_capacity_does_not_overflow_at_minus_forty_decibels():
    assert theory.ergodic_capacity_bps_per_hz(1e-4) == pytest.approx(1e-4 / math.log(2), rel=2e-4)


@pytest.mark.parametrize(
    ("ratio_db", "probability"), [(-20, 0.00995017), (-10, 0.0951626), (-3, 0.394189), (0, 0.632121)]
)
def test_outage(ratio_db, probability):
    assert theory.outage_probability(10 ** (ratio_db / 10), 1.0) == pytest.approx(probability, rel=1e-5)


@pytest.mark.parametrize(
    ("ratio", "probability"),
    [(1.0, 0.586503), (0.5, 0.197282), (0.2, 0.0366081), (1.5, 0.904030), (2.0, 1.0)],
)
def test_linked_probability(ratio, probability):
    assert theory.linked_probability(ratio) == pytest.approx(probability, abs=1e-6)


def test_at_equal_range_and_radius_it_is_the_simple_form():
    assert theory.linked_probability(1.0) == pytest.approx(1 - 3 * math.sqrt(3) / (4 * math.pi))


def test_harmonic_number_of_twelve():
    assert theory.harmonic_number(12) == pytest.approx(3.103211, abs=1e-6)
