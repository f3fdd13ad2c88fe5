"""Rician, Nakagami and Jakes fading against their closed forms; fixed seeds, bounds from the sampling error."""

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from netsim.core.registry import load
from netsim.world.radio import theory
from netsim.world.radio.jakes import WAVES
from netsim.world.radio.path_loss import SPEED_OF_LIGHT_M_PER_S

LINKS = np.arange(5000), np.arange(5000) + 7000
DRAWS = 4 * len(LINKS[0])
NORMALISATIONS = ["unit_power", "mean_amplitude"]


def channel(name, seed=0, carrier_hz=2.6e9, **options):
    cls = load("channels", name)
    return cls(cls.Options(**{"normalisation": "unit_power", **options}), seed, carrier_hz)


def gains(fading, first=0):
    """20,000 gains: of 5,000 links in four blocks."""
    return fading.of_many(*LINKS, first, 4).ravel()


def rice(k_db):
    """Power of unit mean: 2 (K + 1) g² is chi-squared with two degrees of freedom, non-central by 2 K."""
    k = 10 ** (k_db / 10)
    return stats.ncx2(2, 2 * k, scale=1 / (2 * (k + 1)))


LAWS = [
    ("rayleigh", {}, stats.expon()),
    *(("rician", {"k_db": k_db}, rice(k_db)) for k_db in (-10.0, 0.0, 9.0, 30.0)),
    *(("nakagami", {"m": m}, stats.gamma(m, scale=1 / m)) for m in (0.5, 1.0, 2.5, 40.0)),
]
laws = pytest.mark.parametrize(("name", "options", "law"), LAWS)


@laws
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_power_has_the_stated_distribution(name, options, law, normalisation):
    """Kolmogorov-Smirnov distance of 20,000 draws: noise is 0.006; the bound 1.95/√20000 = 0.0138 (p = 1e-3)."""
    fading = channel(name, **options, normalisation=normalisation)
    power = gains(fading)
    assert stats.kstest(power / fading.mean_power, law.cdf).statistic < 1.95 / math.sqrt(DRAWS)
    one = power.mean() / fading.mean_power if normalisation == "unit_power" else np.sqrt(power).mean()
    spread = law.std() if normalisation == "unit_power" else np.sqrt(power).std()
    assert one == pytest.approx(1.0, abs=4 * spread / math.sqrt(DRAWS))


@laws
def test_a_rare_power_is_exceeded_in_one_of_a_million_blocks(name, options, law):
    for normalisation in NORMALISATIONS:
        fading = channel(name, **options, normalisation=normalisation)
        assert law.sf(fading.rare_power / fading.mean_power) == pytest.approx(1e-6, rel=1e-3)


@laws
@pytest.mark.parametrize("snr_db", [0, 20])
def test_mean_rate_is_the_ergodic_capacity(name, options, law, snr_db):
    """∫ s P(X > x) / (1 + s x) dx / ln 2; with Rayleigh fading Alouini's and Goldsmith's closed form."""
    s = 10 ** (snr_db / 10)
    nats, _ = integrate.quad(lambda x: s * law.sf(x) / (1 + s * x), 0, 60, points=[1 / s, 1.0], limit=200)
    capacity = nats / math.log(2)
    if name == "rayleigh":
        assert capacity == pytest.approx(theory.ergodic_capacity_bps_per_hz(s), rel=1e-6)
    rates = np.log2(1 + s * gains(channel(name, **options)))
    assert rates.mean() == pytest.approx(capacity, abs=4 * rates.std() / math.sqrt(DRAWS))


@laws
@pytest.mark.parametrize("ratio_db", [-20, -10, -3, 0])
def test_share_of_gains_below_a_threshold_is_the_outage_probability(name, options, law, ratio_db):
    """Rayleigh: 1 - exp(-t). Nakagami: P(m, m t). Rice: 1 - Q1(√(2K), √(2(K+1)t))."""
    t = 10 ** (ratio_db / 10)
    if name == "nakagami":
        expected = special.gammainc(options["m"], options["m"] * t)
    elif name == "rician":
        k = 10 ** (options["k_db"] / 10)
        expected = special.chndtr(2 * (k + 1) * t, 2, 2 * k)
    else:
        expected = theory.outage_probability(t, 1.0)
    error = math.sqrt(max(expected * (1 - expected), 1 / DRAWS) / DRAWS)
    assert np.mean(gains(channel(name, **options)) < t) == pytest.approx(expected, abs=4 * error)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize(
    ("name", "options"), [("rician", {"k_db": None}), ("rician", {"k_db": -300.0}), ("nakagami", {"m": 1.0})]
)
def test_without_a_line_of_sight_and_with_m_of_one_the_gains_are_those_of_rayleigh_fading(
    name, options, normalisation
):
    fading, rayleigh = (
        channel(one, **more, normalisation=normalisation) for one, more in ((name, options), ("rayleigh", {}))
    )
    assert gains(fading) == pytest.approx(gains(rayleigh), rel=1e-10)
    assert fading.mean_power == pytest.approx(rayleigh.mean_power, rel=1e-12)
    assert fading.rare_power == pytest.approx(rayleigh.rare_power, rel=1e-9)


ALL = [("rician", {}), ("nakagami", {}), ("jakes", {}), ("jakes", {"k_db": 3.0})]


@pytest.mark.parametrize(("name", "options"), ALL)
@pytest.mark.parametrize("reciprocal", [True, False])
def test_gains_are_functions_of_seed_link_and_block(name, options, reciprocal):
    """One link alone, in a crowd, asked first or last: the same; the other way the same if ``reciprocal``."""
    fading, other = (
        channel(name, seed, coherence_time_s=0.01, reciprocal=reciprocal, **options) for seed in (0, 1)
    )
    crowd = fading.of_many(LINKS[0][:40], LINKS[1][:40], 64, 64)[:, 5:20]
    alone = channel(name, coherence_time_s=0.01, reciprocal=reciprocal, **options)
    for place, (a, b) in enumerate(zip(*(ends[5:20].tolist() for ends in LINKS), strict=True)):
        own = [alone.power(a, b, 9, (64 + block + 0.5) * 0.01)[0] for block in range(63, -1, -1)]
        assert own[::-1] == crowd[:, place].tolist()
    there, back = alone.power(3, 8, 1, 0.005)[0], alone.power(8, 3, 1, 0.005)[0]
    assert (there == back) == reciprocal
    assert there != other.power(3, 8, 1, 0.005)[0]


def jakes(spacing, **options):
    """Samples of so many 1/f_D, at unit Doppler frequency."""
    speed = {"carrier_hz": SPEED_OF_LIGHT_M_PER_S, "speed_m_per_s": 1.0}
    return channel("jakes", **speed, coherence_time_s=spacing, **options)


@pytest.mark.parametrize(("k_db", "normalisation"), [(None, "unit_power"), (3.0, "mean_amplitude")])
def test_jakes_gains_of_many_links_have_rayleighs_and_rices_distribution(k_db, normalisation):
    """One block of 20,000 links; a sum of N waves differs from a normal number by 0.115/N."""
    fading = jakes(0.1, k_db=k_db, normalisation=normalisation)
    power = fading.of_many(np.arange(DRAWS), np.arange(DRAWS) + 1, 40, 4)[0] / fading.mean_power
    law = stats.expon() if k_db is None else rice(k_db)
    assert stats.kstest(power, law.cdf).statistic < 1.95 / math.sqrt(DRAWS) + 0.115 / WAVES
    assert power.mean() == pytest.approx(1.0, abs=4 / math.sqrt(DRAWS))


def test_jakes_autocorrelation_is_that_of_bessel():
    """The power gain's covariance is J0²(2π f_D τ), and that of one link over time goes the same way."""
    links, blocks, spacing = 2000, 64, 0.05
    power = jakes(spacing).of_many(np.arange(links), np.arange(links) + links, 0, blocks)
    for lag in (0, 2, 5, 7, 10, 15, 30):
        each = (power[: blocks - lag] - 1) * (power[lag:] - 1)
        error = each.mean(axis=0).std() / math.sqrt(links)
        expected = special.j0(2 * math.pi * spacing * lag) ** 2
        assert each.mean() == pytest.approx(expected, abs=4 * error + 1 / WAVES), lag
    own = np.array([jakes(spacing).of_one(0, 1, 64 * chunk, 64) for chunk in range(400)]).ravel()
    for lag in (2, 5, 7, 10):
        found = np.corrcoef(own[:-lag], own[lag:])[0, 1]
        assert found == pytest.approx(special.j0(2 * math.pi * spacing * lag) ** 2, abs=0.1)


@pytest.mark.parametrize("rho", [0.1, 0.5, 1.0])
def test_jakes_gains_cross_a_level_as_often_and_stay_below_as_long_as_rice_says(rho):
    """Rice 1945: √(2π) ρ exp(-ρ²) upward crossings and (exp(ρ²) - 1) / (ρ √(2π)) below, in 1/f_D."""
    links, blocks, spacing = 400, 400, 0.005
    below = jakes(spacing).of_many(np.arange(links), np.arange(links) + links, 0, blocks) < rho**2
    crossings = (below[:-1] & ~below[1:]).sum(axis=0) / ((blocks - 1) * spacing)
    expected = math.sqrt(2 * math.pi) * rho * math.exp(-(rho**2))
    # A fade shorter than the spacing is not seen: at the lowest level one in a hundred.
    assert crossings.mean() == pytest.approx(expected, abs=4 * crossings.std() / math.sqrt(links), rel=0.02)
    duration = below.mean() / crossings.mean()
    error = 4 * math.hypot(crossings.std() / crossings.mean(), below.mean(axis=0).std() / below.mean())
    expected = (math.exp(rho**2) - 1) / (rho * math.sqrt(2 * math.pi))
    assert duration == pytest.approx(expected, rel=0.02 + error / math.sqrt(links))


def test_a_block_of_jakes_fading_is_a_tenth_of_the_doppler_period_unless_said():
    """1.5 m/s at 2.6 GHz: 13.009 Hz; J0(2π/10) = 0.9037."""
    fading = channel("jakes", speed_m_per_s=1.5)
    assert fading.doppler_hz == pytest.approx(13.009, abs=1e-3)
    power, until_s = fading.power(0, 1, 1, 0.0)
    assert until_s == pytest.approx(0.1 / 13.009, rel=1e-4)
    assert fading.power(0, 1, 7, 0.99 * until_s)[0] == power != fading.power(0, 1, 1, until_s)[0]
    assert not fading.steady


def test_a_long_transfer_over_a_moving_link_has_the_ergodic_capacity(simulate):
    """10 dB on average; some 2,000 blocks, of which each is correlated with the next ones."""
    ratio = 10.0
    noise_dbm = 10 * math.log10(1e-7 * 0.1 / 5e5 / ratio * 1e3)
    bits = 5e5 * theory.ergodic_capacity_bps_per_hz(ratio) * 20
    _, log = simulate(
        rounds=1,
        devices={"count": 2},
        topology={
            "placement": {"name": "coordinates", "positions_m": [[0, 0], [10, 0]]},
            "links": {"name": "edges", "edges": [[0, 1]]},
        },
        radio={
            "channel": {"name": "jakes", "speed_m_per_s": 11.53, "normalisation": "unit_power"},
            "path_loss": {"name": "log_distance", "reference_loss_db": 70.0, "exponent": 1e-9},
            "noise_dbm_per_hz": noise_dbm,
        },
        learner={"name": "stub", "flops": 1e8, "bits": bits},
    )
    spread = math.sqrt(integrate.quad(lambda x: np.log2(1 + 10 * x) ** 2 * np.exp(-x), 0, 50)[0] - 2.9065**2)
    # Coherent for about half a Doppler period, so some 4,000 independent pieces in 20 s at 100 Hz.
    error = spread / 2.9065 / math.sqrt(20 * 100 / 2)
    assert log.transfers[0].airtime_s == pytest.approx(20.0, rel=4 * error)
