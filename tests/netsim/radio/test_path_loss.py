"""Against the tables of formulas: free space at 2.6 GHz, and log-distance at n = 3."""

import pytest

from netsim.radio.path_loss import FreeSpace, LogDistance, friis_constant_db
from netsim.radio.units import db_to_power, dbm_to_w, power_to_db


@pytest.mark.parametrize(
    ("form", "losses_db"),
    [
        ("3gpp", {1: 40.6995, 10: 60.6995, 25: 68.6583, 50: 74.6789, 100: 80.6995}),
        ("friis", {1: 40.7473, 10: 60.7473, 25: 68.7061, 50: 74.7267, 100: 80.7473}),
    ],
)
def test_free_space_at_2_6_ghz(form, losses_db):
    loss = FreeSpace(FreeSpace.Options(form=form))
    for distance_m, expected_db in losses_db.items():
        assert loss.loss_db(distance_m, 2.6e9) == pytest.approx(expected_db, abs=5e-5)


def test_the_exact_constant_is_0_048_db_above_the_rounded_one():
    assert friis_constant_db() == pytest.approx(32.44778, abs=1e-5)


def test_log_distance_takes_thirty_decibels_a_decade_at_exponent_three():
    """Four received powers for the same transmit power, exponent 3, 40.045997 dB at 1 m."""
    loss = LogDistance(LogDistance.Options(exponent=3, reference_loss_db=40.045997))
    tx_w = 4.98265e-9 * db_to_power(loss.loss_db(10, 2.6e9))
    for distance_m, received_w in {20: 6.22831e-10, 40: 7.78539e-11, 80: 9.73173e-12}.items():
        assert tx_w * db_to_power(-loss.loss_db(distance_m, 2.6e9)) == pytest.approx(received_w, rel=1e-5)


@pytest.mark.parametrize("model", [FreeSpace(FreeSpace.Options()), LogDistance(LogDistance.Options())])
def test_a_distance_of_zero_counts_as_the_least_distance(model):
    assert model.loss_db(0.0, 2.6e9) == model.loss_db(1.0, 2.6e9) < model.loss_db(2.0, 2.6e9)


def test_log_distance_of_exponent_two_is_free_space():
    free, log = FreeSpace(FreeSpace.Options()), LogDistance(LogDistance.Options(exponent=2))
    assert log.loss_db(37.0, 2.6e9) == pytest.approx(free.loss_db(37.0, 2.6e9))


def test_decibels():
    assert dbm_to_w(-140.0) == pytest.approx(1e-17)
    assert db_to_power(3.0103) == pytest.approx(2.0, rel=1e-5)
    assert power_to_db(100.0) == pytest.approx(20.0)
    assert power_to_db(0.0) == -float("inf")
