"""Several runs: seeds are averaged, everything else is told apart."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from run_folders import accuracy, device

from analysis import Run, RunError, compare, comparison_figure
from analysis.compare import compare_runs, group_by_scenario, mean_curve
from analysis.plots.style import curve_style


@pytest.fixture
def make(make_run: Callable[..., Run]) -> Callable[..., Run]:
    """A run of one device: round t takes an hour and a kilojoule."""

    def make(learner: str, seed: int, accuracies: list[float], scenario: dict[str, Any] | None = None) -> Run:
        rounds = range(1, len(accuracies) + 1)
        return make_run(
            f"{learner}-{seed}-{scenario}",
            devices=[device(0)],
            rounds=[{"round": t, "device": 0, "end_s": 3600.0 * t, "compute_j": 1000.0} for t in rounds],
            metrics=[accuracy(t, 0, accuracies[t - 1], time_s=3600.0 * t) for t in rounds],
            metadata={"learner": learner, "seed": seed, "data": {"name": "toy", "surrogate": True}},
            scenario=scenario,
        )

    return make


def test_a_learner_is_its_mean_and_standard_error_over_seeds(make: Callable[..., Run]) -> None:
    """Last accuracies 0.4 and 0.6: mean 0.5, deviation 0.1 sqrt 2, error of the mean 0.1."""
    runs = [make("a", 1, [0.5, 0.4]), make("a", 2, [0.5, 0.6]), make("b", 1, [0.1, 0.3])]
    table = compare(runs).set_index("learner")
    assert list(table["seeds"]) == [2, 1]
    assert table.loc["a", "last"] == pytest.approx(0.5)
    assert table.loc["a", "se_last"] == pytest.approx(0.1)
    assert table.loc["a", "best"] == pytest.approx(0.55)
    assert math.isnan(table.loc["b", "se_last"])
    assert (table.loc["a", "time_s"], table.loc["a", "energy_j"]) == (7200.0, 2000.0)
    assert list(compare_runs(runs)["seed"]) == [1, 2, 1]


def test_a_mean_curve_ends_where_the_first_seed_does(make: Callable[..., Run]) -> None:
    curve = mean_curve([make("a", 1, [0.2, 0.4, 0.9]), make("a", 2, [0.4, 0.4])])
    assert list(curve["round"]) == [1, 2]
    assert list(curve["mean"]) == pytest.approx([0.3, 0.4])
    assert list(curve["se"]) == pytest.approx([0.1, 0.0])


def test_the_same_seed_twice_is_no_second_sample(make: Callable[..., Run]) -> None:
    runs = [make("a", 1, [0.5]), make("a", 1, [0.5], {"name": "called otherwise"})]
    with pytest.raises(RunError, match=r"same scenario and same seed \(1\) as .*; they are one sample"):
        compare(runs)


def test_one_learner_in_two_scenarios_is_told_apart_by_what_differs(make: Callable[..., Run]) -> None:
    runs = [make("a", 1, [0.5], {"radio": {"bandwidth_hz": b}, "jobs": {"threads": b}}) for b in (1, 2)]
    assert list(group_by_scenario([*runs, make("b", 1, [0.5])])) == [
        "a (bandwidth_hz=1)",
        "a (bandwidth_hz=2)",
        "b",
    ]


def test_the_figure_has_a_curve_per_learner_and_owns_up_to_surrogate_data(make: Callable[..., Run]) -> None:
    figure = comparison_figure([make("a", 1, [0.5, 0.6]), make("a", 2, [0.5, 0.7]), make("b", 1, [0.1])])
    assert figure is not None
    assert [line.get_label() for line in figure.axes[2].get_lines()] == ["a", "b"]
    assert "SURROGATE DATA" in figure.get_suptitle()


def test_no_two_curves_look_alike() -> None:
    styles = [tuple(curve_style(place).values()) for place in range(36)]
    assert len(set(styles)) == 36


def test_curves_that_end_far_apart_share_a_logarithmic_axis_of_what_they_cost(
    make: Callable[..., Run],
) -> None:
    """Nine hours against one; rounds are counted as ever."""
    far = comparison_figure([make("a", 1, [0.1 * t for t in range(9)]), make("b", 1, [0.1])])
    near = comparison_figure([make("c", 1, [0.1] * 8), make("d", 1, [0.1])])
    assert far is not None and near is not None
    assert [axes.get_xscale() for axes in far.axes] == ["linear", "log", "log"]
    assert [axes.get_xscale() for axes in near.axes] == ["linear"] * 3


def test_runs_without_accuracy_have_a_table_but_no_figure(make: Callable[..., Run]) -> None:
    runs = [make("a", 1, []), make("b", 1, [])]
    assert comparison_figure(runs) is None
    assert compare(runs)["last"].isna().all()
