"""Against the tables of formulas: free space at 2.6 GHz, log-distance at n = 3; and a path loss of one's own."""

import math
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from pydantic import Field
from scipy.stats import kstest

from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.streams import stream
from netsim.world.radio.path_loss import FreeSpace, LogDistance, PathLoss, friis_constant_db
from netsim.world.radio.two_ray import TwoRay, plane_earth_db, two_ray_db
from netsim.world.radio.units import db_to_power, dbm_to_w, power_to_db
from netsim.world.topology import Link


def free_space(**options):
    return FreeSpace(FreeSpace.Options(**options), seed=0)


def log_distance(**options):
    return LogDistance(LogDistance.Options(**options), seed=0)


def apart(distance_m):
    return Link((0, 1), distance_m, ((0.0, 0.0), (distance_m, 0.0)))


@pytest.mark.parametrize(
    ("form", "losses_db"),
    [
        ("3gpp", {1: 40.6995, 10: 60.6995, 25: 68.6583, 50: 74.6789, 100: 80.6995}),
        ("friis", {1: 40.7473, 10: 60.7473, 25: 68.7061, 50: 74.7267, 100: 80.7473}),
    ],
)
def test_free_space_at_2_6_ghz(form, losses_db):
    loss = free_space(form=form)
    for distance_m, expected_db in losses_db.items():
        assert loss.loss_db(apart(distance_m), 2.6e9) == pytest.approx(expected_db, abs=5e-5)


def test_the_exact_constant_is_0_048_db_above_the_rounded_one():
    assert friis_constant_db() == pytest.approx(32.44778, abs=1e-5)


def test_log_distance_takes_thirty_decibels_a_decade_at_exponent_three():
    """Four received powers for the same transmit power, exponent 3, 40.045997 dB at 1 m."""
    loss = log_distance(exponent=3, reference_loss_db=40.045997)
    tx_w = 4.98265e-9 * db_to_power(loss.loss_db(apart(10), 2.6e9))
    for distance_m, received_w in {20: 6.22831e-10, 40: 7.78539e-11, 80: 9.73173e-12}.items():
        assert tx_w * db_to_power(-loss.loss_db(apart(distance_m), 2.6e9)) == pytest.approx(
            received_w, rel=1e-5
        )


@pytest.mark.parametrize("model", [free_space(), log_distance()])
def test_a_distance_of_zero_counts_as_the_least_distance(model):
    assert (
        model.loss_db(apart(0.0), 2.6e9)
        == model.loss_db(apart(1.0), 2.6e9)
        < model.loss_db(apart(2.0), 2.6e9)
    )


def test_log_distance_of_exponent_two_is_free_space():
    free, log = free_space(), log_distance(exponent=2)
    assert log.loss_db(apart(37.0), 2.6e9) == pytest.approx(free.loss_db(apart(37.0), 2.6e9))


def test_two_rays_by_hand():
    """At 2.6 GHz from 10 m to 1.5 m: 0.03 m of detour at 1 km, so |1 - e^(-j 1.6347)| = 1.4586, 3.28 dB of gain."""
    assert two_ray_db(1000, 10, 1.5, 2.6e9) == pytest.approx(
        100.7474 - 20 * math.log10(2 * math.sin(0.81734)), abs=2e-3
    )
    assert two_ray_db(100, 10, 1.5, 2.6e9) == pytest.approx(75.1117, abs=5e-5)
    assert plane_earth_db(1e4, 10, 1.5, 2.6e9) == pytest.approx(160 - 20 * math.log10(15))


def test_two_rays_without_reflection_are_free_space_between_the_antennas():
    d3_m = math.hypot(40, 8.5)
    expected_db = friis_constant_db() + 20 * math.log10(2.6 * d3_m)
    assert two_ray_db(40, 10, 1.5, 2.6e9, reflection=0.0) == pytest.approx(expected_db)


def test_both_forms_meet_far_out_and_the_asymptotes_at_the_crossover():
    """The exact sum is 40 dB a decade there; its nulls and peaks lie around free space before, 6 dB above at most."""
    assert two_ray_db(1e5, 10, 1.5, 2.6e9) == pytest.approx(plane_earth_db(1e5, 10, 1.5, 2.6e9), abs=0.01)
    crossover_m = 4 * math.pi * 15 * 2.6e9 / 299792458
    before, after = (plane_earth_db(crossover_m * by, 10, 1.5, 2.6e9) for by in (1 - 1e-6, 1 + 1e-6))
    assert abs(after - before) < 1e-4
    ripple_db = [
        plane_earth_db(d, 10, 1.5, 2.6e9) - two_ray_db(d, 10, 1.5, 2.6e9) for d in np.arange(100, 500, 0.1)
    ]
    assert 5.5 < max(ripple_db) < 6.03 and min(ripple_db) < -20


def test_the_server_stands_at_the_height_of_the_base_and_devices_at_theirs():
    loss = TwoRay(TwoRay.Options(base_height_m=20, device_height_m=2), 0)
    assert loss.loss_db(apart(70.0), 2.6e9) == two_ray_db(70, 2, 2, 2.6e9)
    assert loss.loss_db(apart(70.0)._replace(ends=(0, "server")), 2.6e9) == two_ray_db(70, 20, 2, 2.6e9)
    asymptotic = TwoRay(TwoRay.Options(form="asymptotic"), 0)
    assert asymptotic.loss_db(apart(0.0), 2.6e9) == pytest.approx(friis_constant_db() + 20 * math.log10(2.6))


def test_decibels():
    assert dbm_to_w(-140.0) == pytest.approx(1e-17)
    assert db_to_power(3.0103) == pytest.approx(2.0, rel=1e-5)
    assert power_to_db(100.0) == pytest.approx(20.0)
    assert power_to_db(0.0) == -float("inf")


# A path loss of a user's own, which sees link and seed.


class Shadowed(PathLoss):
    """Log-distance with log-normal shadowing, and a wall along x = 50 m that nothing of a server's passes."""

    class Options(Options):
        """Its keys."""

        sigma_db: float = Field(8.0, ge=0)
        wall: bool = False

    def loss_db(self, link: Link, carrier_hz: float) -> float:
        (ax, _), (bx, _) = link.positions_m
        if self.options.wall and (ax < 50) != (bx < 50):
            return math.inf
        shadowing_db = self.options.sigma_db * stream(self.seed, "shadowing", *link.ends).standard_normal()
        return 40.0 + 30 * math.log10(max(link.distance_m, 1.0)) + shadowing_db


OWN = f"{__name__}:Shadowed"


def world(count, **blocks):
    positions_m = [[10.0 * k + 1, 3.0 * k] for k in range(count)]
    return {
        "rounds": 2,
        "devices": {"count": count},
        "topology": {"placement": {"name": "coordinates", "positions_m": positions_m}},
        "learner": {"name": "stub", "flops": 1e8, "bits": 1e4},
        **blocks,
    }


def star(count, uplink, downlink, **blocks):
    server = {"position_m": [0, 30], "uplink": {"path_loss": uplink}, "downlink": {"path_loss": downlink}}
    return world(count, protocol="server_rounds", server=server, learner="stub", **blocks)


def losses_db(radio):
    return pd.Series(radio.path_loss_db)


def test_another_device_changes_nobody_elses_shadowing(simulate):
    """In the radio, in the uplink and in the downlink; another seed changes all."""
    four, five, other = (
        losses_db(simulate(**world(count, seed=seed, radio={"path_loss": OWN}))[0].network.radio)
        for count, seed in ((4, 1), (5, 1), (4, 2))
    )
    assert len(four) == 6 and four.equals(five[four.index]) and not np.any(four == other)
    servers = [simulate(**star(count, OWN, OWN, seed=1))[0].network.server for count in (4, 5)]
    for link in ("uplink", "downlink"):
        few, more = (list(getattr(server, link).path_loss_db.values()) for server in servers)
        assert few == more[:4]
    assert servers[0].uplink.path_loss_db == servers[0].downlink.path_loss_db  # reciprocal


def test_each_of_the_three_places_has_the_path_loss_that_it_names(simulate):
    plain = star(3, "free_space", "free_space", radio={"path_loss": OWN, "channel": "none"})
    assert simulate(**plain)[0].network.server.uplink.path_loss_db[0, 3] == pytest.approx(
        free_space().loss_db(apart(math.hypot(1, 30)), 2.6e9)
    )
    for up, down in ((OWN, "free_space"), ("free_space", OWN)):
        server = simulate(**star(3, up, down))[0].network.server
        shadowed = losses_db(server.uplink) - losses_db(server.downlink)
        assert np.all(np.abs(shadowed) > 0.1)


def test_shadowing_is_normal_in_decibels_and_the_same_both_ways(simulate):
    """780 links of 40 devices, without fading: what is beyond the distance's part has mean 0 and deviation 8 dB."""
    radio = {"path_loss": OWN, "channel": "none"}
    links = {"links": {"name": "range", "range_m": 1e3}, **world(40)["topology"]}
    simulation, log = simulate(**world(40, rounds=1, radio=radio) | {"topology": links})
    network = simulation.network
    beyond_db = losses_db(network.radio) - 40 - 30 * np.log10(pd.Series(network.topology.distance_m))
    assert len(beyond_db) == 780 and kstest(beyond_db / 8, "norm").pvalue > 1e-3
    snr_db = {(row.sender, row.receiver): row.snr_db for row in log.transfers}
    assert all(snr_db[a, b] == snr_db[b, a] for a, b in snr_db) and len(snr_db) == 2 * 780


def test_a_link_that_is_blocked_carries_nothing(simulate):
    """Devices at 1, 11, 21, 31, 41 and 51 m: the last is behind the wall."""
    own = {"name": OWN, "wall": True}
    blocks = world(6, radio={"path_loss": own, "channel": "none"})
    blocks["topology"]["links"] = {"name": "edges", "edges": [[k, k + 1] for k in range(5)]}
    _, log = simulate(**blocks)
    lost = {(row.sender, row.receiver) for row in log.transfers if row.outcome == "outage"}
    assert lost == {(4, 5), (5, 4)}


class Odd(PathLoss):
    """Gives what is no loss."""

    class Options(Options):
        """Its keys."""

        which: str

    FOUND: ClassVar = {
        "nan": math.nan,
        "minus": -math.inf,
        "gain": -1e9,
        "text": "80",
        "none": None,
        "two": [1.0, 2.0],
    }

    def loss_db(self, link: Link, carrier_hz: float) -> float:
        return self.FOUND[self.options.which]


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("nan", "nan"),
        ("minus", "-inf"),
        ("gain", "-1000000000.0"),
        ("text", "'80'"),
        ("none", "None"),
        ("two", r"\[1.0, 2.0\]"),
    ],
)
def test_what_is_no_loss_is_refused_by_its_key(simulate, which, said):
    own = {"name": f"{__name__}:Odd", "which": which}
    with pytest.raises(
        ScenarioError, match=rf"radio\.path_loss: .*Odd' gives {said} dB for the link 0 - 1 of"
    ):
        simulate(**world(3, radio={"path_loss": own}))


def test_a_carrier_that_no_loss_is_known_of_is_refused(simulate):
    with pytest.raises(
        ScenarioError, match=r"radio\.path_loss: 'free_space' gives -5\d+\.\d+ dB for the link 0 - 1"
    ):
        simulate(**world(3, radio={"carrier_hz": 1e-290}))
