"""Algorithm 2 of DMML-KD, and the balance metric (eq. 19)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learners.training.decomposed.balance import Balanced, balance, gamma, influence, mean_variation

BOTH = ("audio", "visual")


def start(weights: dict[str, dict[int, float]], at: int = 0) -> dict[str, int]:
    return dict.fromkeys(weights, at)


def test_the_fast_modality_is_cut_in_turn_until_it_is_no_longer_ahead() -> None:
    """N^max = 10 on two devices; S = 1 each for audio, 0.85 each for visual: γ = 20 and 17.

    Visual is the reference. Audio must fall to 17: three cuts, in turn from device 0: 2 on it, 1 on device 1.
    """
    weights = {"audio": {0: 1.0, 1: 1.0}, "visual": {0: 0.85, 1: 0.85}}
    result = balance({0: 10, 1: 10}, {0: BOTH, 1: BOTH}, weights, start(weights))
    assert result == Balanced({"audio": {0: 8, 1: 9}, "visual": {0: 10, 1: 10}}, "visual", ())
    result = balance({0: 10, 1: 10}, {0: BOTH, 1: BOTH}, weights, start(weights, at=1))
    assert result.iterations["audio"] == {0: 9, 1: 8}, "the round robin starts where it is told"


def test_a_balanced_network_is_left_alone() -> None:
    """The printed repeat-until would cut every modality once."""
    weights = {"audio": {0: 1.0}, "visual": {0: 1.0}}
    result = balance({0: 5}, {0: BOTH}, weights, start(weights))
    assert result.iterations == {"audio": {0: 5}, "visual": {0: 5}}


def test_what_single_modality_devices_contribute_cannot_be_cut() -> None:
    """Audio: 4 · 3 from device 0, which has audio only, against 4 · 1 in all of visual: unreachable."""
    weights = {"audio": {0: 3.0, 1: 1.0}, "visual": {1: 1.0}}
    result = balance({0: 4, 1: 4}, {0: ("audio",), 1: BOTH}, weights, start(weights))
    assert result == Balanced({"audio": {0: 4, 1: 0}, "visual": {1: 4}}, "visual", ("audio",))


def test_a_modality_that_cannot_train_at_all_is_no_reference() -> None:
    weights = {"audio": {0: 1.0}, "visual": {1: 1.0}}
    result = balance({0: 6, 1: 0}, {0: BOTH, 1: BOTH}, weights, start(weights))
    assert result.reference == "audio" and result.iterations["audio"] == {0: 6}
    assert balance({}, {}, {}, {}).reference is None


@st.composite
def networks(draw: st.DrawFn) -> tuple[dict, dict, dict, dict]:
    count = draw(st.integers(2, 6))
    modalities = {k: draw(st.sampled_from([BOTH, ("audio",), ("visual",)])) for k in range(count)}
    limits = {k: draw(st.integers(0, 12)) for k in range(count)}
    weights = {m: {k: draw(st.floats(0.01, 100)) for k in range(count) if m in modalities[k]} for m in BOTH}
    weights = {m: row for m, row in weights.items() if row}
    return limits, modalities, weights, {m: draw(st.integers(0, 2**62)) for m in weights}


@given(networks())
def test_algorithm_2(network: tuple[dict, dict, dict, dict]) -> None:
    limits, modalities, weights, starts = network
    result = balance(limits, modalities, weights, starts)
    full = {m: gamma(limits, weights[m]) for m in weights}
    trained = {m: g for m, g in full.items() if g > 0}
    if not trained:
        return
    assert result.reference is not None and trained[result.reference] == min(trained.values())
    for m, counts in result.iterations.items():
        cuttable = [k for k in counts if len(modalities[k]) > 1]
        assert all(0 <= counts[k] <= limits[k] for k in counts)
        assert all(counts[k] == limits[k] for k in counts if k not in cuttable), "outside K^m: N^max"
        if m == result.reference or m not in trained:
            assert all(counts[k] == limits[k] for k in counts), "m̂ is not touched"
            continue
        reached = gamma(counts, weights[m]) <= trained[result.reference]
        assert reached or all(counts[k] == 0 for k in cuttable), "(26), or nothing left to cut"
        assert (m in result.unreachable) == (not reached)
        cuts = [limits[k] - counts[k] for k in cuttable if counts[k] > 0]
        assert not cuts or max(cuts) - min(cuts) <= 1, "cuts are even among devices that can still be cut"
        if reached and any(limits[k] - counts[k] for k in cuttable):
            over = [
                gamma({**counts, k: counts[k] + 1}, weights[m]) > trained[result.reference]
                for k in cuttable
                if counts[k] < limits[k]
            ]
            assert any(over), "the last cut was needed"


@given(st.floats(0.1, 10))
def test_scaling_all_variations_scales_gamma_and_changes_no_decision(c: float) -> None:
    """φ → 2^n φ divides every coefficient by 2^n exactly (a power of two, so that nothing is rounded)."""
    factor = 2.0 ** round(c)
    weights = {"audio": {0: 1.3, 1: 0.7}, "visual": {0: 0.4, 1: 0.9}}
    scaled = {m: {k: w / factor for k, w in row.items()} for m, row in weights.items()}
    limits, modalities = {0: 30, 1: 34}, {0: BOTH, 1: BOTH}
    one, other = (balance(limits, modalities, w, start(w)) for w in (weights, scaled))
    assert one == other
    for m in BOTH:
        assert gamma(limits, scaled[m]) == pytest.approx(gamma(limits, weights[m]) / factor)


def test_both_orders_of_summation_give_the_same_gamma() -> None:
    """Eq. (19): by receiver Σ_k Σ_k' N_k' c_kk', by sender Σ_k' N_k' S_k'."""
    coefficients = {0: {0: 1.0, 1: 2.0}, 1: {0: 3.0, 1: 4.0, 2: 5.0}, 2: {1: 6.0, 2: 7.0}}
    counts = {0: 3, 1: 5, 2: 2}
    by_receiver = sum(counts[n] * c for row in coefficients.values() for n, c in row.items())
    sums = influence(coefficients, [0, 1, 2])
    assert sums == {0: 4.0, 1: 12.0, 2: 12.0}
    assert gamma(counts, sums) == by_receiver == 96.0


def test_mean_variation_is_harmonic_and_weighted_by_what_is_mixed() -> None:
    """Two devices with ξ = ½ each and φ of 0.1, 0.1, 0.1 and 0.05 (ε = 0): 1/φ̄ = ½ (½·10 + ½·10 + ½·10 + ½·20)."""
    coefficients = {0: {0: 0.5 / 0.1, 1: 0.5 / 0.1}, 1: {0: 0.5 / 0.1, 1: 0.5 / 0.05}}
    assert mean_variation(influence(coefficients, [0, 1])) == pytest.approx(1 / 12.5)


@pytest.mark.parametrize(
    "power, per_iteration, settled",
    [(0.5, False, 21), (1.0, False, 0), (1.2, False, 0), (1.0, True, 27), (1.2, True, 25)],
)
def test_where_the_balance_settles_if_variations_grow_as_a_power(
    power: float, per_iteration: bool, settled: int
) -> None:
    """φ is (N/34)^p for audio and 1/0.8 for visual: r = 0.8, and N/34 settles where it is r (N/34)^p.

    That is at r^(1/(1−p)), 0.64 at p = ½; from p = 1 on nowhere but at zero. Per iteration N/34 settles where it is
    r (N/34)^(p−1), at r^(1/(2−p)): 0.8 at p = 1, 0.757 at p = 1.2. Of 34 that is 21.8, 27.2 and 25.7, rounded down.
    """
    count = 34
    for _ in range(60):
        share = count / 34
        phi = share**power if count else 0.0
        audio = 1 / (phi / (share if per_iteration and count else 1.0) + 1e-8)
        weights = {"audio": {0: audio}, "visual": {0: 0.8}}
        count = balance({0: 34}, {0: BOTH}, weights, start(weights)).iterations["audio"][0]
    assert count == settled
