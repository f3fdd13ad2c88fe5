"""TR 38.901 against its tables, written out once more: values by hand, breakpoints, line of sight, what is refused."""

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from netsim.core.errors import ScenarioError
from netsim.world.radio.tr38901 import (
    InFDenseHigh,
    InFDenseLow,
    InFSparseHigh,
    InFSparseLow,
    InH,
    UMa,
    UMi,
)
from netsim.world.topology import Link

F_HZ = 2.6e9
MODELS = [UMi, UMa, InH, InFSparseLow, InFDenseLow, InFSparseHigh, InFDenseHigh]
FACTORIES = MODELS[3:]


def made(cls, seed=0, **options):
    return cls(cls.Options(**{"shadowing": None, **options}), seed)


def from_server(distance_m, device=0):
    return Link((device, "server"), distance_m, ((distance_m, 0.0), (0.0, 0.0)))


def between(distance_m):
    return Link((0, 1), distance_m, ((0.0, 0.0), (distance_m, 0.0)))


def loss_db(cls, distance_m, los, carrier_hz=F_HZ, **options):
    return made(cls, los=los, **options).loss_db(from_server(distance_m), carrier_hz)


def probability(cls, distance_m, **options):
    model = made(cls, **options)
    return float(model.los_probability(model.paths([from_server(distance_m)], F_HZ))[0])


LOG_F = math.log10(2.6)


@pytest.mark.parametrize(
    ("cls", "distance_m", "los_db", "nlos_db"),
    [
        (UMi, 100.0, 82.7323, 101.8941),
        (UMi, 500.0, 106.9735, 126.5148),
        (UMa, 100.0, 80.5563, 100.4556),
        (InH, 20.0, 63.2447, 77.5450),
        (InFSparseLow, 50.0, 76.2523, 84.6232),
        (InFDenseLow, 50.0, 76.2523, 87.5527),
        (InFSparseHigh, 50.0, 76.3306, 79.8595),
        (InFDenseHigh, 50.0, 76.3306, 79.2166),
    ],
)
def test_values_of_the_docstrings(cls, distance_m, los_db, nlos_db):
    assert loss_db(cls, distance_m, "always") == pytest.approx(los_db, abs=5e-5)
    assert loss_db(cls, distance_m, "never") == pytest.approx(nlos_db, abs=5e-5)


def table_db(cls, d2, base, device, f):
    """LOS and NLOS of Table 7.4.1-1 as it is printed: two formulas on the sides of the breakpoint."""
    d3, lf = math.hypot(d2, base - device), math.log10(f)
    beyond = math.log10((4 * (base - 1) * (device - 1) * f * 1e9 / 299792458) ** 2 + (base - device) ** 2)
    far = d2 > 4 * (base - 1) * (device - 1) * f * 1e9 / 299792458
    ld = math.log10(d3)
    los = {
        UMi: 32.4 + 40 * ld + 20 * lf - 9.5 * beyond if far else 32.4 + 21 * ld + 20 * lf,
        UMa: 28 + 40 * ld + 20 * lf - 9 * beyond if far else 28 + 22 * ld + 20 * lf,
        InH: 32.4 + 17.3 * ld + 20 * lf,
    }.get(cls, 31.84 + 21.5 * ld + 19 * lf)
    sparse_low = 33 + 25.5 * ld + 20 * lf
    nlos = {
        UMi: 22.4 + 35.3 * ld + 21.3 * lf - 0.3 * (device - 1.5),
        UMa: 13.54 + 39.08 * ld + 20 * lf - 0.6 * (device - 1.5),
        InH: 17.3 + 38.3 * ld + 24.9 * lf,
        InFSparseLow: sparse_low,
        InFDenseLow: max(sparse_low, 18.6 + 35.7 * ld + 20 * lf),
        InFSparseHigh: 32.4 + 23 * ld + 20 * lf,
        InFDenseHigh: 33.63 + 21.9 * ld + 20 * lf,
    }[cls]
    return los, max(los, nlos)


@pytest.mark.parametrize("cls", MODELS)
def test_losses_are_those_of_the_table(cls):
    """At distances from end to end of the range, three carriers, and devices of two heights."""
    distances = np.geomspace(cls.SHORTEST_M, 0.95 * cls.LONGEST_M, 25)
    for f, device in product((0.7, 3.5, 28.0), (1.5, 1.9)):
        for d2 in distances.tolist():
            los, nlos = table_db(cls, d2, cls.BASE_M, device, f)
            assert loss_db(cls, d2, "always", f * 1e9, device_height_m=device) == pytest.approx(los, abs=1e-9)
            assert loss_db(cls, d2, "never", f * 1e9, device_height_m=device) == pytest.approx(nlos, abs=1e-9)


@pytest.mark.parametrize("cls", [UMi, UMa])
@pytest.mark.parametrize("device_m", [1.5, 6.0, 12.9])
def test_the_loss_in_sight_has_no_step_at_the_breakpoint(cls, device_m):
    """And rises by its own slope before it, by 40 dB a decade after it."""
    breakpoint_m = 4 * (cls.BASE_M - 1) * (device_m - 1) * 7e8 / 299792458
    at = [
        loss_db(cls, breakpoint_m * by, "always", 7e8, device_height_m=device_m)
        for by in (1 - 1e-6, 1 + 1e-6)
    ]
    assert abs(at[1] - at[0]) < 1e-3
    near, far = (
        loss_db(cls, 4900.0, "always", f, device_height_m=1.5)
        - loss_db(cls, 2450.0, "always", f, device_height_m=1.5)
        for f in (100e9, 5e8)
    )
    slope = 21 if cls is UMi else 22
    assert near == pytest.approx(slope * math.log10(2), abs=1e-3)
    assert far == pytest.approx(40 * math.log10(2), abs=1e-3)


@pytest.mark.parametrize("cls", MODELS)
def test_a_link_out_of_sight_loses_at_least_as_much(cls):
    for distance_m in np.geomspace(cls.SHORTEST_M, 0.95 * cls.LONGEST_M, 40).tolist():
        assert loss_db(cls, distance_m, "never") >= loss_db(cls, distance_m, "always")


def test_probabilities_of_sight_by_hand():
    expected = {
        UMi: {18.0: 1.0, 50.0: 0.519585, 100.0: 0.230985, 200.0: 0.093518},
        UMa: {18.0: 1.0, 50.0: 0.649402, 100.0: 0.347671, 200.0: 0.128048},
    }
    for cls, by_distance in expected.items():
        for distance_m, share in by_distance.items():
            assert probability(cls, distance_m) == pytest.approx(share, abs=5e-7)
    tall = 0.95**1.5 * 1.25 * 8 * math.exp(-200 / 150)  # C'(22.5 m) g(200 m)
    assert probability(UMa, 200.0, device_height_m=22.5) == pytest.approx(0.128048 * (1 + tall), rel=1e-5)
    assert [probability(InH, d, office="mixed") for d in (1.2, 5.0, 30.0)] == pytest.approx(
        [1, math.exp(-3.8 / 4.7), 0.32 * math.exp(-23.5 / 32.6)]
    )
    assert [probability(InH, d, office="open") for d in (5.0, 30.0, 100.0)] == pytest.approx(
        [1, math.exp(-25 / 70.8), 0.54 * math.exp(-51 / 211.7)]
    )


def test_clutter_hides_a_share_that_falls_exponentially():
    """Sparse: 10 m wide on a fifth of the floor, 0.8^(d/10) from in it; high bases see over all but 0.5 m of 6.5 m."""
    assert probability(InFSparseLow, 50.0) == pytest.approx(0.8**5)
    assert probability(InFSparseHigh, 50.0) == pytest.approx(0.8 ** (5 * 0.5 / 6.5))
    assert probability(InFDenseLow, 20.0) == pytest.approx(0.4**10)
    assert probability(InFDenseHigh, 20.0) == pytest.approx(0.4 ** (10 * 4.5 / 6.5))
    assert probability(InFSparseLow, 50.0, clutter_density=0.3, clutter_size_m=5) == pytest.approx(0.7**10)
    assert probability(InFSparseHigh, 50.0, device_height_m=2.5) == 1  # over the clutter
    assert probability(InFSparseHigh, 50.0, base_height_m=1.7) == pytest.approx(0.8**5)  # in it: as if low


@pytest.mark.parametrize(
    ("cls", "options"), [(UMi, {}), (UMa, {}), (InH, {"office": "open"}), (InFSparseLow, {})]
)
def test_the_share_of_links_in_sight_is_the_probability(cls, options):
    """4,000 links of one length, each with its own draw."""
    model, length_m = made(cls, 3, **options), 60.0
    links = [from_server(length_m, device) for device in range(4000)]
    seen = int(model.in_sight(model.paths(links, F_HZ)).sum())
    assert binomtest(seen, 4000, probability(cls, length_m, **options)).pvalue > 1e-3


def test_sight_belongs_to_the_link():
    """Neither other links nor the order matters; it is lost once as a link grows, and another seed draws anew."""
    links = [from_server(80.0, device) for device in range(200)]
    model = made(UMi)
    losses_db = model.losses_db(links, F_HZ)
    assert model.losses_db(links[::-1], F_HZ)[::-1] == losses_db
    assert [model.loss_db(link, F_HZ) for link in links[:5]] == losses_db[:5]
    assert made(UMi, 1).losses_db(links, F_HZ) != losses_db
    lengths_m = np.linspace(10, 400, 100).tolist()
    for device in range(20):
        seen = model.in_sight(model.paths([from_server(d, device) for d in lengths_m], F_HZ))
        assert list(seen) == sorted(seen, reverse=True)


def test_the_environment_of_tall_devices_is_drawn():
    """At 20 m of height and 300 m: 1 m with probability 1/(1 + C), else 12, 15 or 18 m alike (Note 1)."""
    model = made(UMa, device_height_m=20.0)
    links = [from_server(300.0, device) for device in range(4000)]
    heights_m = model.environment_m(model.paths(links, F_HZ))
    low = 1 / (1 + 0.7**1.5 * 1.25 * 27 * math.exp(-2))
    for height_m, share in {1.0: low, 12.0: (1 - low) / 3, 15.0: (1 - low) / 3, 18.0: (1 - low) / 3}.items():
        assert binomtest(int((heights_m == height_m).sum()), 4000, share).pvalue > 1e-3
    assert set(heights_m) == {1.0, 12.0, 15.0, 18.0}
    low_devices = made(UMa)
    assert set(low_devices.environment_m(low_devices.paths(links, F_HZ))) == {1.0}


REFUSED = [
    (
        UMi,
        from_server(7.5),
        F_HZ,
        {},
        r"0 - server of 7.5 m .* distance over the ground 7.5 m, valid: 10 to 5000 m",
    ),
    (UMa, from_server(6000.0), F_HZ, {}, "6000 m, valid: 10 to 5000 m"),
    (UMi, between(50.0), F_HZ, {}, r"0 - 1 of 50 m .* height of the base .* 1.5 m, valid: 10 m"),
    (UMi, from_server(50.0), F_HZ, {"base_height_m": 12}, "height of the base .* 12 m, valid: 10 m"),
    (
        UMa,
        from_server(50.0),
        F_HZ,
        {"device_height_m": 1.2},
        "height of the device 1.2 m, valid: 1.5 to 22.5 m",
    ),
    (UMi, from_server(50.0), 3e8, {}, "carrier frequency 0.3 GHz, valid: 0.5 to 100 GHz"),
    (InH, from_server(200.0), F_HZ, {}, "distance between the antennas 200.01 m, valid: 1 to 150 m"),
    (InFSparseLow, from_server(700.0), F_HZ, {}, "valid: 1 to 600 m"),
    (InFSparseHigh, between(50.0), F_HZ, {}, "height of the base .* 1.5 m, valid: from 2 m"),
    (
        InFSparseLow,
        from_server(50.0),
        F_HZ,
        {"base_height_m": 3},
        "height of the base .* 3 m, valid: 0 to 2 m",
    ),
    (InFDenseLow, from_server(50.0), F_HZ, {"clutter_density": 0.3}, "clutter density 0.3 .*valid: 0.4 to 1"),
]


@pytest.mark.parametrize(("cls", "link", "carrier_hz", "options", "said"), REFUSED)
def test_what_a_model_is_not_valid_for_is_refused_unless_extrapolated(cls, link, carrier_hz, options, said):
    with pytest.raises(ScenarioError, match=f"{said}.*extrapolate: true") as found:
        made(cls, **options).loss_db(link, carrier_hz)
    assert "\n" not in str(found.value)
    assert math.isfinite(made(cls, extrapolate=True, **options).loss_db(link, carrier_hz))


@pytest.mark.parametrize("cls", MODELS)
def test_extrapolation_has_a_number_for_every_link(cls):
    """Ends in one place, and devices above the base, included."""
    for device_m, link in product(
        (1.1, 14.0, 40.0), (between(0.0), between(2.0), from_server(0.0), from_server(1e5))
    ):
        for los in ("always", "never", "draw"):
            model = made(cls, extrapolate=True, device_height_m=device_m, los=los, shadowing={})
            assert math.isfinite(model.loss_db(link, F_HZ))


def test_a_scenario_says_which_key_and_link(simulate):
    blocks = {
        "rounds": 1,
        "devices": {"count": 3},
        "topology": {"placement": {"name": "coordinates", "positions_m": [[0, 0], [30, 0], [60, 0]]}},
        "learner": "stub",
    }
    with pytest.raises(ScenarioError, match=r"\.yaml: radio\.path_loss: the link 0 - 1 of 30 m is outside"):
        simulate(**blocks, radio={"path_loss": "umi"})
    with pytest.raises(ScenarioError, match=r"device_height_m: .*must be more than 1 m"):
        simulate(**blocks, radio={"path_loss": {"name": "umi", "device_height_m": 0.9}})
    network = simulate(**blocks, radio={"path_loss": {"name": "umi", "extrapolate": True}})[0].network
    assert all(50 < loss < 150 for loss in network.radio.path_loss_db.values())
