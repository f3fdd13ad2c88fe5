"""What a server makes of its clients' models, on parts of a few numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from server_play import numbers, part, update

from learners.networks.state import Part, Row
from learners.training.late_fusion.aggregate import (
    Rule,
    Update,
    aggregate,
    attention,
    averaging,
    buffered,
    mean_of_rows,
    moving,
    normalised_averaging,
)
from learners.training.late_fusion.weights import effective_steps, shares


def uniform(holders: Sequence[int]) -> Mapping[int, float]:
    return shares(dict.fromkeys(holders, 1.0))


def weighing(amounts: Mapping[int, float]):  # type: ignore[no-untyped-def]
    return lambda holders: shares({k: amounts[k] for k in holders})


def nova(norms: Mapping[int, float]) -> Rule:
    return normalised_averaging(uniform, norms, lambda weights: effective_steps(weights, norms))


ALL_RULES = {
    "fedavg": averaging(uniform),
    "fednova": nova({0: 2.0, 1: 7.0}),
    "fedatt": attention(1.2),
    "fedasync": moving(lambda holders: dict.fromkeys(holders, 0.2)),
    "fedbuff": buffered(uniform, 1.0),
}


def test_fedavg_by_hand() -> None:
    """Weights (1/4, 3/4): 0.25 · 4 + 0.75 · 8 = 7 for the weight, 0.25 · 1 + 0.75 · 3 = 2.5 for the running statistic.

    The counter is the server's own, 5.
    """
    server = part([0.0], running=[9.0], counters=[5.0])
    clients = {
        0: update(server, part([4.0], running=[1.0], counters=[6.0])),
        1: update(server, part([8.0], running=[3.0], counters=[7.0])),
    }
    weigh = weighing({0: 10.0, 1: 30.0})
    assert numbers(aggregate({"fusion": server}, clients, averaging(weigh), weigh)) == [7.0, 2.5, 5.0]


@pytest.mark.parametrize("name", ALL_RULES)
def test_a_part_is_aggregated_over_its_holders(name: str) -> None:
    """Nobody has sent trunk/b: it stays. Only client 1 has trunk/a: the result is the one without client 0."""
    server = {"trunk/a": part([1.0, 2.0]), "trunk/b": part([3.0]), "fusion": part([0.0])}
    one = Update(server, {"fusion": part([1.0])})
    two = Update(server, {"fusion": part([2.0]), "trunk/a": part([5.0, 7.0])})
    rule = ALL_RULES[name]
    together = aggregate(server, {0: one, 1: two}, rule, uniform)
    alone = aggregate(server, {1: two}, rule, uniform)
    assert together["trunk/b"] is server["trunk/b"]
    assert numbers(together, "trunk/a") == numbers(alone, "trunk/a")
    assert numbers(server, "trunk/a") == [1.0, 2.0], "the server's part itself is not changed"


@pytest.mark.parametrize("name", ALL_RULES)
def test_statistics_are_a_plain_mean_whatever_the_rule(name: str) -> None:
    """Variances 1 and 4, weights 1/2: 2.5, however far the weights have gone."""
    server = part([0.0], running=[100.0])
    clients = {k: update(server, part([50.0 * k], running=[v])) for k, v in ((0, 1.0), (1, 4.0))}
    assert numbers(aggregate({"fusion": server}, clients, ALL_RULES[name], uniform))[1] == pytest.approx(2.5)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=4), st.floats(0.1, 10))
def test_fednova_with_equal_norms_is_fedavg(ends: list[float], norm: float) -> None:
    server = part([1.5])
    clients = {k: update(server, part([end])) for k, end in enumerate(ends)}
    norms = dict.fromkeys(clients, norm)
    averaged = aggregate({"fusion": server}, clients, averaging(uniform), uniform)
    normalised = aggregate({"fusion": server}, clients, nova(norms), uniform)
    assert numbers(normalised) == pytest.approx(numbers(averaged), abs=1e-12)


def test_fednova_by_hand() -> None:
    """From w = 10 clients end at 8 with ‖a‖ = 1 and at 0 with ‖a‖ = 5: d = (2, 2), τ_eff = 3, w − 3 · 2 = 4."""
    server = part([10.0])
    clients = {0: update(server, part([8.0])), 1: update(server, part([0.0]))}
    assert numbers(aggregate({"fusion": server}, clients, nova({0: 1.0, 1: 5.0}), uniform)) == [4.0]


@given(st.floats(-4, 4), st.lists(st.tuples(st.floats(-5, 5), st.floats(0.5, 9)), min_size=1, max_size=4))
def test_fednova_is_linear(scale: float, moves: list[tuple[float, float]]) -> None:
    server = part([2.0])
    norms = {k: norm for k, (_, norm) in enumerate(moves)}

    def moved(factor: float) -> float:
        clients = {k: update(server, part([2.0 - factor * move])) for k, (move, _) in enumerate(moves)}
        return numbers(aggregate({"fusion": server}, clients, nova(norms), uniform))[0] - 2.0

    assert moved(scale) == pytest.approx(scale * moved(1.0), abs=1e-9)


@pytest.mark.parametrize(("learning_rate", "expected"), [(0.01, (9.05, 4.888)), (0.001, (9.087, 4.989))])
def test_where_fedavg_and_fednova_end_with_unequal_work(
    learning_rate: float, expected: tuple[float, float]
) -> None:
    """f_i = (w − e_i)²/2 with e = (0, 10) and τ = (1, 10), equal weights; the optimum of the mean is 5.

    A client ends at e + (1 − η)^τ (w − e). A round is affine in w, F(w) = F(0) + (F(1) − F(0)) w, so it stands still at
    F(0)/(1 − F(1) + F(0)). FedAvg: 10 (1 − q¹⁰)/((1 − q) + (1 − q¹⁰)) with q = 1 − η, near 10 · 10/11 = 9.09.
    """
    goals, steps = (0.0, 10.0), (1, 10)
    norms = {0: 1.0, 1: 10.0}

    def round(rule: Rule, weight: float) -> float:
        server = part([weight])
        ends = [e + (1 - learning_rate) ** t * (weight - e) for e, t in zip(goals, steps, strict=True)]
        clients = {k: update(server, part([end])) for k, end in enumerate(ends)}
        return numbers(aggregate({"fusion": server}, clients, rule, uniform))[0]

    for rule, value in zip((averaging(uniform), nova(norms)), expected, strict=True):
        rest = round(rule, 0.0) / (1 - round(rule, 1.0) + round(rule, 0.0))
        assert rest == pytest.approx(value, abs=5e-3)  # what the expected values are rounded to


def test_fedatt_goes_layer_by_layer() -> None:
    """Client moves in layer 0 times 3: only layer 0 of the new model changes."""
    server = part([0.0, 0.0], [1.0])
    far = [update(server, part([1.0, 2.0], [4.0])), update(server, part([0.5, 0.0], [2.0]))]
    farther = [update(server, part([3.0, 6.0], [4.0])), update(server, part([1.5, 0.0], [2.0]))]
    one, other = (
        numbers(aggregate({"fusion": server}, dict(enumerate(clients)), attention(1.2), uniform))
        for clients in (far, farther)
    )
    assert one[2] == other[2] and one[:2] != other[:2]


def test_fedatt_leaves_statistics_and_counters_alone() -> None:
    """ε = 0: weights stay, whatever clients send; noise touches weights only."""
    server = part([1.0], running=[4.0], counters=[3.0])
    clients = {0: update(server, part([9.0], running=[2.0], counters=[8.0]))}
    assert numbers(aggregate({"fusion": server}, clients, attention(0.0), uniform)) == [1.0, 2.0, 3.0]
    noisy = attention(0.0, lambda weights: torch.full_like(weights, 0.5))
    assert numbers(aggregate({"fusion": server}, clients, noisy, uniform)) == [1.5, 2.0, 3.0]


def test_fedasync_by_hand() -> None:
    """α_t = 0.25: 0.75 · 4 + 0.25 · 8 = 5; the variance likewise, 0.75 · 1 + 0.25 · 3 = 1.5."""
    server = part([4.0], running=[1.0])
    clients = {2: update(part([0.0], running=[7.0]), part([8.0], running=[3.0]))}

    def weigh(holders: Sequence[int]) -> Mapping[int, float]:
        return {2: 0.25}

    assert numbers(aggregate({"fusion": server}, clients, moving(weigh), weigh)) == [5.0, 1.5]


def test_fedbuff_by_hand() -> None:
    """K = 2; client 0 moved by 3 with s = 1, client 1 by 4 from an older model with s = 0.5: (3 + 2)/2 = 2.5, η_g = 2.

    10 + 2 · 2.5 = 15. Statistics: weights 0.5 and 0.25, the server keeps 0.25: 0.5 · 2 + 0.25 · 4 + 0.25 · 8 = 4.
    """
    server = part([10.0], running=[8.0])
    clients = {
        0: update(server, part([13.0], running=[2.0])),
        1: update(part([7.0], running=[50.0]), part([11.0], running=[4.0])),
    }
    factors = {0: 1.0, 1: 0.5}

    def weigh(holders: Sequence[int]) -> Mapping[int, float]:
        return {k: factors[k] / len(holders) for k in holders}

    assert numbers(aggregate({"fusion": server}, clients, buffered(weigh, 2.0), weigh)) == [15.0, 4.0]


@pytest.mark.parametrize("name", ["fedavg", "fednova", "fedbuff"])
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=5), st.randoms())
def test_the_order_of_clients_does_not_matter(name: str, ends: list[float], random) -> None:  # type: ignore[no-untyped-def]
    server = part([0.3])
    rule = nova(dict(enumerate(range(1, 9)))) if name == "fednova" else ALL_RULES[name]
    clients = {k: update(server, part([end])) for k, end in enumerate(ends)}
    shuffled = list(clients.items())
    random.shuffle(shuffled)
    one, other = (aggregate({"fusion": server}, dict(c), rule, uniform) for c in (clients, shuffled))
    assert numbers(one) == pytest.approx(numbers(other), abs=1e-12)


@pytest.mark.parametrize("name", ["fedavg", "fednova", "fedbuff"])
def test_one_client_gives_its_own_model(name: str) -> None:
    """FedNova: τ_eff is its own ‖a‖."""
    server, after = part([0.5, -2.0], running=[1.0]), part([0.25, 7.0], running=[3.0])
    new = aggregate({"fusion": server}, {1: update(server, after)}, ALL_RULES[name], uniform)
    assert numbers(new) == pytest.approx(numbers({"fusion": after}), abs=1e-12)


@pytest.mark.parametrize("name", ALL_RULES)
def test_clients_that_did_nothing_change_nothing(name: str) -> None:
    server = part([0.5, -2.0])
    clients: dict[int, Update] = {k: update(server, part([0.5, -2.0])) for k in (0, 1)}
    found: Mapping[str, Part] = aggregate({"fusion": server}, clients, ALL_RULES[name], uniform)
    assert numbers(found) == pytest.approx([0.5, -2.0], abs=1e-12) and not math.isnan(sum(numbers(found)))


@pytest.mark.parametrize("size", [1, 7, 116, 1000])
def test_clients_that_were_trained_together_are_summed_in_the_order_of_their_numbers(size: int) -> None:
    """One product over a bank's rows in whatever order they lie is the sum one after the other, in float32."""
    torch.manual_seed(size)
    bank = torch.randn(20, size + 3)
    rows = {k: Row(bank, (7 * k) % 20) for k in range(20)}
    weights = {k: float(weight) for k, weight in enumerate(torch.rand(20).double().softmax(0) / 2)}
    expected = torch.zeros(size)
    for k, row in rows.items():
        expected = expected.add(row.tensor[2 : 2 + size], alpha=weights[k])
    expected = expected.add(torch.ones(size), alpha=1.0 - sum(weights.values()))
    found = mean_of_rows(rows, slice(2, 2 + size), weights, torch.ones(size))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    apart = {k: Row(row.tensor[None].clone(), 0) for k, row in rows.items()}
    torch.testing.assert_close(mean_of_rows(apart, slice(2, 2 + size), weights, torch.ones(size)), found)
