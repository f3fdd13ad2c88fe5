"""One transmission to many: at the rate of the worst, for as long as somebody listens."""

import pytest


@pytest.fixture
def star(simulate):
    """Two devices at 50 and 200 m, no fading; a download of 1e6 bits, and next to nothing else."""

    def run(**blocks):
        return simulate(
            rounds=1,
            devices={"count": 2, "rx_power_w": 0.05, **blocks.pop("devices", {})},
            topology={"placement": {"name": "coordinates", "positions_m": [[50, 0], [0, 200]]}},
            radio={"channel": "none", **blocks.pop("radio", {})},
            protocol={"name": "server_rounds"},
            server={"downlink": {"bandwidth_hz": 1e5}},
            learner={"name": "stub", "flops": 0, "bits": 0, "download_bits": 1e6},
        )

    return run


def downloads(log):
    return {row.receiver: row for row in log.transfers if row.kind == "download"}


def test_the_rate_is_that_of_the_worst_link(star):
    _, log = star()
    near, far = downloads(log)[0], downloads(log)[1]
    assert near.snr_db - far.snr_db == pytest.approx(20 * 0.6020599913, rel=1e-9)  # 200 m / 50 m: a factor 16
    assert near.airtime_s == far.airtime_s
    assert far.airtime_s == pytest.approx(1e6 / (1e5 * 3.321928094887362 * far.snr_db / 10), rel=1e-3)


def test_who_is_out_of_reach_is_left_out_and_does_not_slow_the_others(star):
    """With a threshold between the two links the near one gets it at its own rate."""
    _, log = star()
    rows = downloads(log)
    threshold_db = (rows[0].snr_db + rows[1].snr_db) / 2
    _, log = star(radio={"outage_snr_db": threshold_db})
    near, far = downloads(log)[0], downloads(log)[1]
    assert (near.outcome, far.outcome, far.sent_bits, far.energy_j) == ("delivered", "outage", 0.0, 0.0)
    assert near.airtime_s < rows[0].airtime_s
    assert near.energy_j == pytest.approx(1.0 * near.airtime_s, rel=1e-12)


def test_a_receiver_that_dies_is_waited_for_no_longer(star):
    """The far device has energy for half of the time: from then on the rate is the near one's."""
    _, log = star()
    whole_s = downloads(log)[0].airtime_s
    battery = {"overrides": [{"devices": [1], "battery": {"capacity_j": 0.05 * whole_s / 2}}]}
    _, log = star(devices=battery)
    near, far = downloads(log)[0], downloads(log)[1]
    assert far.outcome == "receiver_died" and far.airtime_s == pytest.approx(whole_s / 2, rel=1e-9)
    assert far.sent_bits == pytest.approx(5e5, rel=1e-9)
    assert near.outcome == "delivered" and whole_s / 2 < near.airtime_s < whole_s
    assert near.energy_j + far.energy_j == pytest.approx(1.0 * near.airtime_s, rel=1e-9)
