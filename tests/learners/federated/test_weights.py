"""Weights and steps of the methods, as functions of numbers: hand-computed examples and what must always hold."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from learners.training.late_fusion.weights import (
    Behaviour,
    Losses,
    attention_step,
    behaviour,
    blend,
    blended,
    effective_number,
    effective_steps,
    expected,
    momentum_normaliser,
    normaliser,
    proximal_normaliser,
    shares,
    votes,
)
from netsim.core.staleness import staleness_factor

positive = st.floats(1e-3, 1e3)
change = st.floats(-3, 3)
behaviours = st.dictionaries(st.integers(0, 9), st.builds(Behaviour, change, change), min_size=1)


# FedAvg.


def test_fedavg_weighs_by_samples() -> None:
    """Samples (10, 30): p = 10/40, 30/40."""
    assert shares({4: 10.0, 7: 30.0}) == {4: 0.25, 7: 0.75}


@given(st.dictionaries(st.integers(0, 50), positive, min_size=1))
def test_fedavg_weights_sum_to_one_whoever_is_asked_first(amounts: dict[int, float]) -> None:
    weights = shares(amounts)
    assert math.fsum(weights.values()) == pytest.approx(1.0, abs=1e-12)
    assert shares(dict(reversed(amounts.items()))) == weights


# FedNova.


@pytest.mark.parametrize(("steps", "norm"), [(1, 1.0), (2, 2.9), (5, 13.1441), (10, 41.381059609)])
def test_fednova_normaliser_with_momentum(steps: int, norm: float) -> None:
    """ρ = 0.9, τ = 2: the first gradient is in both steps (1 + 0.9), the second in one: 1.9 + 1 = 2.9.

    τ = 5: Σ_s (1 − 0.9^s)/0.1 = 1 + 1.9 + 2.71 + 3.439 + 4.0951 = 13.1441.
    """
    assert normaliser(steps, 0.9) == pytest.approx(norm, rel=1e-9)
    assert momentum_normaliser(steps, 0.9) == pytest.approx(norm, rel=1e-9)


def test_fednova_normaliser_with_a_proximal_term() -> None:
    """α = 0.5, τ = 3: gradients are shrunk after each step, 1 + 0.5 + 0.25 = 1.75 = (1 − 0.5³)/0.5."""
    assert normaliser(3, proximal=0.5) == pytest.approx(1.75)
    assert proximal_normaliser(3, 0.5) == pytest.approx(1.75)


@given(st.integers(1, 60), st.floats(0, 0.95), st.floats(0, 0.9))
def test_fednova_closed_forms_are_the_recursion(steps: int, momentum: float, proximal: float) -> None:
    assert momentum_normaliser(steps, momentum) == pytest.approx(normaliser(steps, momentum), rel=1e-9)
    if proximal > 1e-6:  # below, the closed form is a difference of equal numbers
        assert proximal_normaliser(steps, proximal) == pytest.approx(normaliser(steps, 0, proximal), rel=1e-8)


@pytest.mark.parametrize("steps", [1, 7, 40])
def test_fednova_normaliser_without_momentum_and_pull_is_the_number_of_steps(steps: int) -> None:
    assert normaliser(steps) == proximal_normaliser(steps, 0.0) == steps
    for small in (1e-6, 1e-8):
        assert normaliser(steps, small) == pytest.approx(steps, rel=1e-4)
        assert normaliser(steps, 0.0, small) == pytest.approx(steps, rel=1e-4)
        assert momentum_normaliser(steps, small) == pytest.approx(steps, rel=1e-4)
        assert proximal_normaliser(steps, small) == pytest.approx(steps, rel=1e-4)


@given(st.integers(1, 12), st.floats(0, 0.9), st.floats(0, 0.4))
def test_fednova_normaliser_is_what_sgd_does(steps: int, momentum: float, proximal: float) -> None:
    """Where gradients do not depend on the weights, each one's coefficient in w⁰ − w can be read off; η = 1."""
    coefficients = []
    for seen in range(steps):
        weight, velocity = 0.0, 0.0
        for n in range(steps):
            velocity = momentum * velocity + (1.0 if n == seen else 0.0) + proximal * weight
            weight -= velocity
        coefficients.append(abs(weight))
    assert normaliser(steps, momentum, proximal) == pytest.approx(math.fsum(coefficients), rel=1e-9)


def test_fednova_effective_steps() -> None:
    """With p = (1/4, 3/4), ‖a‖ = (2, 10): 0.5 + 7.5 = 8."""
    assert effective_steps({0: 0.25, 1: 0.75}, {0: 2.0, 1: 10.0}) == pytest.approx(8.0)


# FedAtt.


def test_fedatt_by_hand() -> None:
    """One layer w = (0, 0); clients (3, 4) and (5, 12) are 5 and 13 away.

    α = softmax(5, 13) = (e^-8, 1)/(1 + e^-8) = (3.353501e-4, 0.9996646). With ε = 1 the new w is Σ α_k w_k:
    (3 α_1 + 5 α_2, 4 α_1 + 12 α_2) = (4.9993293, 11.9973172).
    """
    clients = [torch.tensor([3.0, 4.0]).double(), torch.tensor([5.0, 12.0]).double()]
    new, attention = attention_step(torch.zeros(2).double(), clients, 1.0)
    assert attention == pytest.approx((3.353501e-4, 0.99966465), rel=1e-6)
    assert new.tolist() == pytest.approx([4.9993293, 11.9973172], rel=1e-7)


def test_fedatt_saturates_with_raw_norms() -> None:
    """Distances (5, 1, 1): softmax = (0.965, 0.018, 0.018)."""
    clients = [torch.tensor([5.0]), torch.tensor([1.0]), torch.tensor([-1.0])]
    _, attention = attention_step(torch.zeros(1), clients, 1.2)
    assert attention == pytest.approx((0.9647, 0.0177, 0.0177), abs=1e-4)


vectors = st.lists(st.floats(-5, 5), min_size=3, max_size=3).map(lambda xs: torch.tensor(xs).double())


@given(vectors, st.lists(vectors, min_size=1, max_size=5))
def test_fedatt_attention_grows_with_distance(server: torch.Tensor, clients: list[torch.Tensor]) -> None:
    _, attention = attention_step(server, clients, 1.2)
    assert math.fsum(attention) == pytest.approx(1.0, abs=1e-12)
    far = [float(torch.linalg.vector_norm(server - client)) for client in clients]
    order = sorted(range(len(far)), key=far.__getitem__)
    for near, farther in pairwise(order):
        assert attention[near] <= attention[farther] + 1e-12


@given(vectors, vectors)
def test_fedatt_limits(server: torch.Tensor, client: torch.Tensor) -> None:
    """Equal distances: the plain mean. ε = 0: nothing. One client and ε = 1: that client."""
    mirrored = [client, 2 * server - client]
    new, _ = attention_step(server, mirrored, 1.0)
    torch.testing.assert_close(new, (mirrored[0] + mirrored[1]) / 2)
    assert attention_step(server, mirrored, 0.0)[0].equal(server)
    torch.testing.assert_close(attention_step(server, [client], 1.0)[0], client)


# FedHGB.


def test_hgb_by_hand() -> None:
    """G = (0.3, 0.1), O = (0.2, 0.1): 0.3/0.04 = 7.5 and 0.1/0.01 = 10.

    Eq. (13) as printed divides by half the sum, 8.75: (0.857143, 1.142857), which sum to 2. Divided by the sum, 17.5:
    (0.428571, 0.571429).
    """
    found = blend({"a": Behaviour(0.3, 0.2), "b": Behaviour(0.1, 0.1)})
    assert found.weights == pytest.approx({"a": 0.428571, "b": 0.571429}, abs=1e-6)
    assert [2 * z for z in found.weights.values()] == pytest.approx([0.857143, 1.142857], abs=1e-6)
    assert (found.floored, found.uniform) == (0, False)


def test_hgb_measures_from_losses() -> None:
    """Training loss 1.0 to 0.4, validation loss 1.2 to 0.9: ΔG = 0.3, ΔO = (0.9 − 0.4) − (1.2 − 1.0) = 0.3."""
    found = behaviour(Losses(1.0, 1.2), Losses(0.4, 0.9))
    assert found == pytest.approx((0.3, 0.3))


def test_hgb_votes_by_hand() -> None:
    """Client 1 (0.25, 0.75), client 2 has no b (1.0): a 1.25, b 0.75, of 2: (0.625, 0.375)."""
    assert votes([{"a": 0.25, "b": 0.75}, {"a": 1.0}], ("a", "b")) == {"a": 0.625, "b": 0.375}
    assert votes([], ("a", "b")) is None


@given(behaviours)
def test_hgb_weights_are_shares(found: dict[int, Behaviour]) -> None:
    weights = blend(found).weights
    assert all(weight >= 0 for weight in weights.values())
    assert math.fsum(weights.values()) == pytest.approx(1.0)


@given(st.floats(0.1, 3), st.floats(0.1, 3), st.floats(0.2, 5))
def test_hgb_ratios_are_of_degree_minus_one(gain: float, overfit: float, factor: float) -> None:
    """All losses of a client times c: G/O² times 1/c, beside a client that stays."""
    other = Behaviour(0.5, 0.5)
    before = blend({0: Behaviour(gain, overfit), 1: other}, floor=1e-9).weights
    after = blend({0: Behaviour(factor * gain, factor * overfit), 1: other}, floor=1e-9).weights
    assert after[0] / after[1] == pytest.approx(before[0] / before[1] / factor, rel=1e-9)


@given(
    st.lists(
        st.tuples(*[st.builds(Behaviour, st.floats(0, 3), st.floats(0.1, 3))] * 3), min_size=2, max_size=4
    )
)
def test_hgb_does_not_care_for_the_factor_two(clients: list[tuple[Behaviour, ...]]) -> None:
    """With z that sum to 2, eq. (15) gives the same z, and eq. (14) the same p: all ΔG double, all ΔO² fourfold."""
    heads = ("a", "b", "fusion")
    once = [blend(dict(zip(heads, client, strict=True))).weights for client in clients]
    twice = [{head: 2 * z for head, z in weights.items()} for weights in once]
    assert votes(twice, heads) == pytest.approx(votes(once, heads))
    p = []
    for all_weights in (once, twice):
        measured = [dict(zip(heads, client, strict=True)) for client in clients]
        told = {k: blended(all_weights[k], measured[k]) for k in range(len(clients))}
        p.append(blend(told, floor=1e-12).weights)
    assert p[0] == pytest.approx(p[1])


@given(st.builds(Behaviour, change, change), st.integers(1, 6))
def test_hgb_cannot_tell_equals_apart(one: Behaviour, count: int) -> None:
    assert blend(dict.fromkeys(range(count), one)).weights == pytest.approx(
        dict.fromkeys(range(count), 1 / count)
    )


def test_hgb_falls_back_to_uniform() -> None:
    """ΔG ≤ 0 everywhere: uniform. ΔO = 0: the floor δ stands in, ΔG/δ² = 1/1e-4 beside 1/1: (0.9999, 0.0001)."""
    worse = blend({0: Behaviour(-1.0, 0.5), 1: Behaviour(0.0, 0.1)})
    assert worse.weights == {0: 0.5, 1: 0.5} and worse.uniform
    flat = blend({0: Behaviour(1.0, 0.0), 1: Behaviour(1.0, 1.0)})
    assert flat.weights == pytest.approx({0: 1e4 / 10001, 1: 1 / 10001}) and flat.floored == 1
    assert blend({0: Behaviour(0.0, math.inf), 1: Behaviour(0.2, 0.3)}).weights == {0: 0.0, 1: 1.0}


def test_hgb_signs() -> None:
    """G = (0.3, −0.1), O = (1, 1): clip (1, 0); abs (0.75, 0.25); signed 0.3/0.2 and −0.1/0.2 = (1.5, −0.5)."""
    found = {"a": Behaviour(0.3, 1.0), "b": Behaviour(-0.1, 1.0)}
    assert blend(found, "clip").weights == pytest.approx({"a": 1.0, "b": 0.0})
    assert blend(found, "abs").weights == pytest.approx({"a": 0.75, "b": 0.25})
    assert blend(found, "signed").weights == pytest.approx({"a": 1.5, "b": -0.5})
    cancelling = {"a": Behaviour(0.1, 1.0), "b": Behaviour(-0.1, 1.0)}
    assert blend(cancelling, "signed").weights == {"a": 0.5, "b": 0.5}


def test_hgb_expectations_by_hand() -> None:
    """Client a was seen twice, ΔG 0.4 and 0.2, ΔO 0.1 and -0.3; b once, -0.3 and 0.2.

    Of all three: ΔG 0.3/3 = 0.1, ΔO² (0.01 + 0.09 + 0.04)/3 = 0.14/3. With two pseudo-observations a has
    (0.6 + 0.2)/4 = 0.2 and (0.1 + 0.28/3)/4 = 0.58/12, b has (-0.3 + 0.2)/3 and (0.04 + 0.28/3)/3 = 0.4/9.
    """
    seen = {"a": [Behaviour(0.4, 0.1), Behaviour(0.2, -0.3)], "b": [Behaviour(-0.3, 0.2)]}
    found = expected(seen, 2.0)
    assert found["a"] == pytest.approx((0.2, (0.58 / 12) ** 0.5))
    assert found["b"] == pytest.approx((-0.1 / 3, (0.4 / 9) ** 0.5))
    alone = expected(seen, 0.0)
    assert alone["a"] == pytest.approx((0.3, 0.05**0.5)) and alone["b"] == pytest.approx((-0.3, 0.2))


@given(behaviours)
def test_hgb_expectations_of_one_round_and_no_prior_are_the_round_itself(found: dict[int, Behaviour]) -> None:
    """Bit for bit, so that Algorithm 1 is the case of a window of 1; a squared root of a square may underflow."""
    assume(all(one.overfitting == 0 or abs(one.overfitting) > 1e-150 for one in found.values()))
    once = expected({key: [one] for key, one in found.items()}, 0.0)
    assert once == {key: (one.generalisation, abs(one.overfitting)) for key, one in found.items()}


@given(behaviours)
def test_hgb_expectations_under_a_heavy_prior_are_the_populations(found: dict[int, Behaviour]) -> None:
    once = expected({key: [one] for key, one in found.items()}, 1e9)
    mean = math.fsum(one.generalisation for one in found.values()) / len(found)
    assert [one.generalisation for one in once.values()] == pytest.approx([mean] * len(found), abs=1e-7)


def test_hgb_lift_by_hand() -> None:
    """ΔG (0.3, -0.1, -0.5) and ΔO 1, lifted by 0.2: (0.5, 0.1, clipped)/0.6."""
    found = {"a": Behaviour(0.3, 1.0), "b": Behaviour(-0.1, 1.0), "c": Behaviour(-0.5, 1.0)}
    assert blend(found, lift=0.2).weights == pytest.approx({"a": 5 / 6, "b": 1 / 6, "c": 0.0})


def test_effective_number_by_hand() -> None:
    """Equal weights count themselves; (0.7, 0.1, 0.1, 0.1) is 1/(0.49 + 0.03) = 1.923 clients."""
    assert effective_number([0.25] * 4) == pytest.approx(4.0)
    assert effective_number([0.5, 0.5, 0.0]) == pytest.approx(2.0)
    assert effective_number([0.7, 0.1, 0.1, 0.1]) == pytest.approx(1 / 0.52)


@given(behaviours, st.builds(Behaviour, change, change), st.floats(0, 2), st.floats(0, 1))
def test_hgb_is_monotone(found: dict[int, Behaviour], one: Behaviour, gain: float, shrink: float) -> None:
    """Generalising better or overfitting less never lowers a weight, others being equal."""
    better = Behaviour(one.generalisation + gain, shrink * one.overfitting)
    before, after = blend({**found, 99: one}), blend({**found, 99: better})
    assume(not before.uniform)
    assert after.weights[99] >= before.weights[99] - 1e-9


# Staleness.


def test_staleness_by_hand() -> None:
    """Polynomial with a = 0.5: 4^-0.5 = 0.5 at staleness 3. Hinge with a = 10, b = 4: 1/(10·2 + 1) at staleness 6.

    Exponential with a = ln 2: a half a round.
    """
    assert staleness_factor("exponential", 3, math.log(2), 10.0, 4) == pytest.approx(1 / 8)
    assert staleness_factor("polynomial", 3, 0.5, 10.0, 4) == pytest.approx(0.5)
    assert staleness_factor("hinge", 6, 0.5, 10.0, 4) == pytest.approx(1 / 21)
    assert staleness_factor("hinge", 4, 0.5, 10.0, 4) == 1.0
    assert staleness_factor("constant", 100, 0.5, 10.0, 4) == 1.0


@pytest.mark.parametrize("kind", ["constant", "polynomial", "exponential", "hinge"])
@given(st.integers(0, 50), st.floats(0, 2), st.floats(0.1, 20), st.integers(0, 6))
def test_staleness_costs_nothing_or_something(kind, late, exponent, slope, delay) -> None:  # type: ignore[no-untyped-def]
    assert staleness_factor(kind, 0, exponent, slope, delay) == 1.0
    now, later = (staleness_factor(kind, late + n, exponent, slope, delay) for n in (0, 1))
    assert 0 < later <= now <= 1
