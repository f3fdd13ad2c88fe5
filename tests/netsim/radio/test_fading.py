"""Draws against their distribution; fixed seeds, thresholds several standard errors above noise."""

import math

import numpy as np
import pytest
from scipy import stats

from netsim.world.radio import theory
from netsim.world.radio.fading import NoFading, Rayleigh
from netsim.world.radio.rate import shannon_rate_bps

DRAWS = 20_000


def draws(count=DRAWS, seed=0, **options):
    channel = Rayleigh(Rayleigh.Options(**options), seed)
    return np.array([channel.power(0, 1, t, 0.0)[0] for t in range(count)])


@pytest.mark.parametrize(("normalisation", "mean"), [("unit_power", 1.0), ("mean_amplitude", 4 / math.pi)])
def test_power_is_exponential_with_the_stated_mean(normalisation, mean):
    """Kolmogorov-Smirnov distance of 20,000 draws: noise is 0.87/√20000 = 0.006; the bound 0.0136 (p = 1e-3)."""
    power = draws(normalisation=normalisation)
    assert stats.kstest(power, "expon", args=(0, mean)).statistic < 0.0136
    assert power.mean() == pytest.approx(mean, abs=4 * mean / math.sqrt(DRAWS))


def test_gains_of_neighbouring_links_and_rounds_are_independent():
    """Correlation of 20,000 pairs that differ by one in sender, receiver or round: noise is 1/√20000 = 0.007."""
    channel, ends = (
        Rayleigh(Rayleigh.Options(normalisation="unit_power", reciprocal=False), 0),
        np.arange(200),
    )
    senders, receivers = (side.ravel() for side in np.meshgrid(ends[:100], 1000 + ends))
    table = channel.powers(senders, receivers, 4)[1].reshape(4, 200, 100)
    assert stats.kstest(table.ravel(), "expon").statistic < 1.95 / math.sqrt(table.size)  # p = 1e-3
    for before, after in (
        (table[:-1], table[1:]),
        (table[:, :-1], table[:, 1:]),
        (table[..., :-1], table[..., 1:]),
    ):
        ranks = stats.rankdata(before), stats.rankdata(after)
        assert abs(np.corrcoef(*ranks)[0, 1]) < 4 / math.sqrt(before.size)


def test_the_papers_amplitude_has_mean_one():
    """Amplitude normalisation: E[g] = 1 relative to path loss; its power is then 1.049 dB above 1."""
    amplitude = np.sqrt(draws(normalisation="mean_amplitude"))
    assert amplitude.mean() == pytest.approx(1.0, abs=4 * math.sqrt(4 / math.pi - 1) / math.sqrt(DRAWS))
    assert 10 * math.log10(4 / math.pi) == pytest.approx(1.0491, abs=1e-4)


def test_unit_power_has_the_known_quantiles():
    power = draws(normalisation="unit_power")
    assert np.median(power) == pytest.approx(math.log(2), abs=4 / math.sqrt(DRAWS))
    assert np.quantile(power, 0.1) == pytest.approx(0.105361, abs=4 * math.sqrt(0.1 / 0.9 / DRAWS))
    assert np.sqrt(power).mean() == pytest.approx(math.sqrt(math.pi) / 2, rel=0.01)


@pytest.mark.parametrize("snr_db", [0, 10, 30])
def test_mean_rate_is_the_ergodic_capacity(snr_db):
    s = 10 ** (snr_db / 10)
    rates = [shannon_rate_bps(1.0, s * x) for x in draws(normalisation="unit_power")]
    error = np.std(rates) / math.sqrt(DRAWS)
    assert np.mean(rates) == pytest.approx(theory.ergodic_capacity_bps_per_hz(s), abs=4 * error)


@pytest.mark.parametrize("ratio_db", [-20, -10, -3, 0])
def test_share_of_draws_below_a_threshold_is_the_outage_probability(ratio_db):
    ratio = 10 ** (ratio_db / 10)
    expected = theory.outage_probability(ratio, 1.0)
    error = math.sqrt(expected * (1 - expected) / DRAWS)
    assert np.mean(draws(normalisation="unit_power") < ratio) == pytest.approx(expected, abs=4 * error)


def test_airtime_of_one_draw_has_the_quantiles_of_its_closed_form():
    """The mean of such airtimes does not exist, so quantiles are what can be tested."""
    s, bits, band = 100.0, 1e6, 5e5
    times = np.array([bits / shannon_rate_bps(band, s * x) for x in draws(normalisation="unit_power")])
    for q in (0.1, 0.5, 0.9, 0.99):
        assert np.mean(times <= theory.transfer_time_quantile_s(q, bits, band, s)) == pytest.approx(
            q, abs=4 * math.sqrt(q * (1 - q) / DRAWS)
        )


def test_both_directions_share_a_gain_unless_told_otherwise():
    both = Rayleigh(Rayleigh.Options(), 0)
    each = Rayleigh(Rayleigh.Options(reciprocal=False), 0)
    assert both.power(2, 5, 3, 0.0) == both.power(5, 2, 3, 0.0)
    assert each.power(2, 5, 3, 0.0) != each.power(5, 2, 3, 0.0)


def test_a_gain_is_a_function_of_link_and_round_and_not_of_who_asked_first():
    forward, backward = Rayleigh(Rayleigh.Options(), 7), Rayleigh(Rayleigh.Options(), 7)
    places = [(i, j, t) for i in range(4) for j in range(i) for t in (1, 63, 64, 200)]
    first = {p: forward.power(*p, 0.0) for p in places}
    second = {p: backward.power(*p, 0.0) for p in reversed(places)}
    assert first == second
    assert len(set(first.values())) == len(places)


def test_another_seed_is_another_world():
    assert Rayleigh(Rayleigh.Options(), 0).power(0, 1, 1, 0) != Rayleigh(Rayleigh.Options(), 1).power(
        0, 1, 1, 0
    )


def test_a_gain_holds_for_its_coherence_time_and_no_longer():
    channel = Rayleigh(Rayleigh.Options(coherence_time_s=0.1), 0)
    power, until_s = channel.power(0, 1, 1, 0.25)
    assert until_s == pytest.approx(0.3)
    assert channel.power(0, 1, 9, 0.29) == (power, until_s)
    assert channel.power(0, 1, 1, until_s)[0] != power


def test_a_block_never_ends_where_it_begins():
    """0.1 · k is not exact: asking at the end of a block must give a block that ends later."""
    channel, now_s = Rayleigh(Rayleigh.Options(coherence_time_s=0.1), 0), 0.0
    for _ in range(10_000):
        _, until_s = channel.power(0, 1, 1, now_s)
        assert until_s > now_s
        now_s = until_s
    assert now_s == pytest.approx(1000.0)


def test_without_fading_there_is_path_loss_alone():
    assert NoFading(None, 0).power(0, 1, 5, 9.0) == (1.0, math.inf)


@pytest.mark.parametrize("reciprocal", [True, False])
@pytest.mark.parametrize("others", [3, 140])  # fewer and more than from where on they are drawn at once
def test_gains_of_many_links_are_those_of_each(reciprocal, others):
    """Whoever is asked about, and in whatever order; 63, 64 and 130 are in three chunks."""
    many, single = (Rayleigh(Rayleigh.Options(reciprocal=reciprocal), 3) for _ in range(2))
    links = [(4, k) for k in range(5, 5 + others)] + [(k, 4) for k in range(5, 5 + others)] + [(7, 2)]
    for some in (links, links[::-1], links[1::3]):
        for t in (1, 63, 64, 130, 2):
            first, table = many.powers(*np.array(some).T, t)
            assert table[t - first].tolist() == [single.power(*link, t, 0.0)[0] for link in some]


def test_further_links_change_no_gain():
    """Links of a sixth device and later ones, before and between those of five."""
    channel = Rayleigh(Rayleigh.Options(), 0)
    few = np.array([(a, b) for a in range(5) for b in range(5) if a != b])
    more = np.array([(a, b) for b in range(50) for a in range(50) if a != b])
    old = (more < 5).all(axis=1)
    assert sorted(channel.powers(*few.T, 9)[1][9 % channel.CHUNK]) == sorted(
        channel.powers(*more.T, 9)[1][9 % 4][old]
    )


def test_gains_with_a_coherence_time_are_not_steady():
    assert not Rayleigh(Rayleigh.Options(coherence_time_s=1.0), 0).steady
    assert Rayleigh(Rayleigh.Options(), 0).steady and NoFading(None, 0).steady
    assert NoFading(None, 0).powers(np.array([0, 0]), np.array([1, 2]), 1)[1].tolist() == [[1.0, 1.0]]
