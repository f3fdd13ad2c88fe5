import pytest

from netsim.world.radio.rate import shannon_rate_bps, snr, thermal_noise_w_per_hz
from netsim.world.radio.units import power_to_db


def test_one_bit_per_second_per_hertz_at_snr_one():
    """log2(1 + 1) = 1; a natural logarithm would give 0.693."""
    assert shannon_rate_bps(5e5, 1.0) == pytest.approx(5e5, rel=1e-15)
    assert shannon_rate_bps(5e5, 1023.0) == pytest.approx(5e6, rel=1e-15)


def test_a_tiny_snr_is_not_rounded_to_nothing():
    assert shannon_rate_bps(1.0, 1e-20) == pytest.approx(1e-20 / 0.6931471805599453)


def test_snr_is_power_gain_squared_over_noise():
    """0.1 W, g = 1e-4, 5e5 Hz of 1e-17 W/Hz: 1e-9 / 5e-12 = 200."""
    assert snr(0.1, 1e-4, 5e5, 1e-17) == pytest.approx(200.0)


def test_thermal_noise_is_minus_174_dbm_per_hertz():
    assert power_to_db(thermal_noise_w_per_hz() * 1e3) == pytest.approx(-173.975, abs=1e-3)


def test_the_papers_snrs_lie_between_22_and_62_db():
    """At 50 m: g² = 10^(-7.46789), 0.1 W, B N0 = 5e-12 W: 28.3 dB without fading; at 1 m 62.3 dB."""
    for distance_db, expected_db in ((74.6789, 28.33), (40.6995, 62.31)):
        gain = 10 ** (-distance_db / 20)
        assert power_to_db(snr(0.1, gain, 5e5, 1e-17)) == pytest.approx(expected_db, abs=0.01)
