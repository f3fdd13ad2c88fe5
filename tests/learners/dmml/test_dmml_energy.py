"""Eq. (20): the golden joules of Table II, and what a battery allows."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_task import UNLIMITED, Deal, make_learner, play_of, play_round

from learners.training.costs import CostTable
from learners.training.decomposed.energy import most_iterations, round_flops
from netsim.core.budget import Budget
from netsim.scenario.model import Costs, StatedCosts

J_PER_FLOP = 2e-28 * (1e9) ** 2 / 4  # ε f²/e = 5e-11 J
STATED = StatedCosts(
    flops_per_iteration={"audio": 5.73e10, "visual": 5.82e10},
    common_flops=4.92e4,
    generator_forward_flops=2.7e6,
    generator_flops=5.4e6,
    bits={"audio": 8.94e7, "visual": 8.95e7},
    common_bits=1.35e6,
    iterations=35,
)
PAPER = Costs(bits_per_parameter=8, backward_to_forward=1, flops_per_mac=1, stated=STATED)


def energy_j(learner_name: str, iterations: int, **changes: object) -> float:
    costs = PAPER.model_copy(update={"stated": STATED.model_copy(update={"iterations": iterations})})
    learner = make_learner(learner_name, costs=costs, **changes)
    return J_PER_FLOP * learner.cost(0, 2, (), UNLIMITED, None).total_flops


def test_table_2_gives_the_papers_joules() -> None:
    """35 · (5.73e10 + 5.82e10 + 2 · 4.92e4) · 5e-11 J = 202.125 J; the generator adds 0.018 J.

    35 · 2.7e6 + 50 · 5.4e6 = 3.645e8 FLOPs, so 202.143 J.
    """
    assert energy_j("dmml", 35) == pytest.approx(202.125, abs=5e-4)
    assert energy_j("dmml_kd", 35, generator_iterations=50) == pytest.approx(202.143, abs=5e-4)


def test_twice_the_iterations_are_twice_the_energy_of_computing() -> None:
    assert energy_j("dmml", 20) == pytest.approx(2 * energy_j("dmml", 10), rel=1e-12)


def test_flops_by_part() -> None:
    """N = 3, 2: 3 · 10 audio, 2 · 20 visual, 5 · 1 common, N^max 4 · 7 + 6 · 9 generator."""
    costs = CostTable({"audio": 10, "visual": 20}, 1, 7, 9, {}, 0)
    flops = round_flops(costs, {"audio": 3, "visual": 2}, total=4, generator_iterations=6)
    assert flops == {"audio": 30, "visual": 40, "common": 5, "generator": 82}


def test_iterations_must_cost_less_than_the_battery_holds() -> None:
    """2 J fixed, 3 J each: 11 J is reached, not undercut, by 3 iterations, so 2; any more joule allows 3."""

    def needed_j(iterations: int) -> float:
        return 2.0 + 3.0 * iterations

    assert most_iterations(34, needed_j, 11.0) == 2
    assert most_iterations(34, needed_j, 11.0 + 1e-9) == 3
    assert most_iterations(34, needed_j, 1.0) == 0
    assert most_iterations(34, needed_j, math.inf) == 34
    assert most_iterations(34, lambda iterations: 2.0, 1.0) == 0


@given(st.integers(0, 50), st.floats(1e-6, 1e3), st.floats(0, 1e3), st.floats(0, 1e5))
def test_n_max_is_the_largest_that_fits(limit: int, each: float, fixed: float, left: float) -> None:
    n = most_iterations(limit, lambda iterations: fixed + iterations * each, left)
    assert 0 <= n <= limit
    assert n == 0 or fixed + n * each < left
    assert n == limit or not fixed + (n + 1) * each < left


def test_communication_is_part_of_the_forecast_only_where_there_are_neighbours() -> None:
    """5.775 J an iteration; 30 J allow 5. A neighbour that takes 1.79e8 + bits at 1e-7 J/bit costs 17.9 J: 2."""
    learner = make_learner("dmml", costs=PAPER, spare_battery=True)
    alone = Budget(30.0, J_PER_FLOP, {})
    heard = Budget(30.0, J_PER_FLOP, {1: 1e-7})
    assert learner.cost(0, 1, (), alone, None).iterations == {"audio": 5, "visual": 5}
    assert learner.cost(0, 1, (1,), heard, None).iterations == {"audio": 2, "visual": 2}


def test_eq_20_as_printed_sends_every_modality_to_every_neighbour() -> None:
    """Neighbour 1 owns only audio: sent are 8.94e7 bits, as printed also the 8.95e7 of visual. 30 J: 3 or 2."""
    partition = Deal({1: ("audio",)})
    budget = Budget(30.0, J_PER_FLOP, {1: 1e-7})
    counts = {
        bits: make_learner(
            "dmml", costs=PAPER, partition=partition, spare_battery=True, energy_bits=bits
        ).cost(0, 1, (1,), budget, None)
        for bits in ("sent", "paper_eq20")
    }
    assert counts["sent"].iterations["audio"] == 3
    assert counts["paper_eq20"].iterations["audio"] == 2


def test_a_battery_is_spared_only_where_asked() -> None:
    learner = make_learner("dmml", costs=PAPER)
    assert learner.cost(0, 1, (), Budget(1.0, J_PER_FLOP, {}), None).iterations["audio"] == 35


def test_a_short_last_batch_takes_less_of_the_battery() -> None:
    """11 samples at batch 8 are batches of 8 and 3: what 10.9 samples cost pays for the first, of 11.1 for both."""
    learner = make_learner("dmml", partition=Deal(rows=11), spare_battery=True)
    both = learner.cost(0, 1, (), UNLIMITED, None)
    assert both.iterations["audio"] == 2
    sample_j = J_PER_FLOP * both.total_flops / 11
    for samples, iterations in ((7.9, 0), (8.1, 1), (10.9, 1), (11.1, 2)):
        budget = Budget(samples * sample_j, J_PER_FLOP, {})
        assert learner.cost(0, 1, (), budget, None).iterations["audio"] == iterations


def test_the_balancing_learner_reports_what_the_battery_will_allow() -> None:
    """A battery that holds two and a half iterations after the round allows two in the next."""
    learner = make_learner("dmml_kd_balance", generator_iterations=0)
    one = learner._device_costs.of_a_mini_batch(0, 1)
    each = J_PER_FLOP * sum(round_flops(one, {"audio": 1, "visual": 1}, 1, 0).values())
    play_round(learner, 1)
    assert play_of(learner).report(0, 1, Budget(2.5 * each, J_PER_FLOP, {})).payload.limit == 2
