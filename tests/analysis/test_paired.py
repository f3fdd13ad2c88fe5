"""Methods compared by groups: who belongs together, paired differences, the correction, the front, the formats."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from run_folders import accuracy, device
from scipy import stats

from analysis import Run, RunError
from analysis.comparison.formats import csv, latex, markdown
from analysis.comparison.groups import groups_by, pairs
from analysis.comparison.measures import ENERGY, LAST, TIME, energy_to, measured, time_to
from analysis.comparison.pareto import pareto, pareto_figure
from analysis.comparison.tables import difference_table, differences, holm, side_by_side


@pytest.fixture
def make(make_run: Callable[..., Run]) -> Callable[..., Run]:
    """A run of one device, in which a round takes so many hours and joules."""

    def make(
        learner: str, seed: int, accuracies: list[float], hours: float = 1.0, joules: float = 1e3, **more: Any
    ) -> Run:
        rounds = range(1, len(accuracies) + 1)
        lengths = {"compute_j": joules, "outcome": "finished"}
        return make_run(
            f"{learner}-{seed}-{more}",
            devices=[device(0)],
            rounds=[{"round": t, "device": 0, "end_s": 3600 * hours * t} | lengths for t in rounds],
            metrics=[accuracy(t, 0, accuracies[t - 1], time_s=3600 * hours * t) for t in rounds],
            metadata={"learner": learner, "seed": seed},
            scenario={"learner": {"name": learner, "lr": len(learner)}, **more},
        )

    return make


def test_groups_are_told_apart_by_a_key_and_may_differ_in_nothing_else(make: Callable[..., Run]) -> None:
    runs = [make("a", 1, [0.5]), make("bb", 1, [0.6]), make("a", 2, [0.5])]
    assert {label: len(group) for label, group in groups_by(runs, ["learner.name"]).items()} == {
        "a": 2,
        "bb": 1,
    }
    with pytest.raises(
        RunError, match=r"differ in learner\.name, learner\.lr; compare them --by learner\.name"
    ):
        groups_by(runs, [])
    with pytest.raises(RunError, match=r"--by learner\.nam: no run has this key; did you mean learner\.name"):
        groups_by(runs, ["learner.nam"])
    other = [*runs, make("a", 3, [0.5], radio={"bandwidth_hz": 2})]
    advice = (
        r"compare them --by learner\.name --by radio\.bandwidth_hz, or"  # one alone would differ in the other
    )
    with pytest.raises(RunError, match=rf"the runs of 'a' differ in radio\.bandwidth_hz; {advice}"):
        groups_by(other, ["learner.name"])
    with pytest.raises(RunError, match="same seed"):
        groups_by([*runs, make("a", 2, [0.7], name="called otherwise")], ["learner.name"])


def test_a_target_that_is_not_reached_takes_for_ever(make: Callable[..., Run]) -> None:
    found = measured(make("a", 1, [0.2, 0.6], hours=2, joules=5), [0.5, 0.9])
    assert (found[LAST], found[TIME], found[ENERGY]) == (pytest.approx(60.0), 14400.0, 10.0)
    assert (found[time_to(0.5)], found[energy_to(0.5)]) == (14400.0, 10.0)
    assert (found[time_to(0.9)], found[energy_to(0.9)]) == (math.inf, math.inf)


def test_differences_are_paired_by_seed(make: Callable[..., Run]) -> None:
    """Points: 1, 2 and 3 more, so mean 2, t = 2 / (1/√3). Hours: twice as many. Seed 4 has no pair."""
    a = [make("a", seed, [value]) for seed, value in ((1, 0.5), (2, 0.6), (3, 0.7), (4, 0.1))]
    b = [make("b", seed, [value], hours=2.0) for seed, value in ((1, 0.51), (2, 0.62), (3, 0.73))]
    groups = {"a": a, "b": b}
    assert [(one.seed, other.seed) for one, other in pairs(b, a)] == [(1, 1), (2, 2), (3, 3)]
    found = {one.measure: one for one in differences(groups, "a")}
    points, hours = found[LAST], found[TIME]
    assert (points.pairs, points.value) == (3, pytest.approx(2.0))
    assert points.p == pytest.approx(2 * stats.t.sf(2 * math.sqrt(3), df=2))
    half = stats.t.ppf(0.975, df=2) / math.sqrt(3)
    assert (points.low, points.high) == (pytest.approx(2 - half), pytest.approx(2 + half))
    assert (hours.value, hours.p) == (pytest.approx(2.0), 0.0)
    assert found[ENERGY].value == pytest.approx(1.0) and found[ENERGY].p == 1.0
    told = difference_table(list(found.values()), "a")
    assert told.iloc[0]["against a, 95 % interval"].startswith("+2.00 (")
    assert told.iloc[2]["against a, 95 % interval"] == "× 2 (2 to 2)"


def test_p_values_are_corrected_as_holm_did() -> None:
    """Holm's steps for 0.01, 0.04, 0.03: times 3, then 2, then 1, never falling; what has no p is not counted."""
    assert holm([0.01, 0.04, math.nan, 0.03]) == pytest.approx([0.03, 0.06, math.nan, 0.06], nan_ok=True)
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_side_by_side_shows_medians_of_what_has_no_mean(make: Callable[..., Run]) -> None:
    runs = [make("a", seed, [0.5], hours=h) for seed, h in ((1, 1.0), (2, 2.0), (3, 90.0))]
    row = side_by_side({"a": runs}, [0.4, 0.6]).iloc[0]
    assert row["time [h]"] == "2 (1 to 90)"
    assert row["time to 60 % [h]"] == "never"
    assert row["time to 40 % [h]"] == "2 (1 to 90)"


def test_the_front_is_what_nobody_beats(make: Callable[..., Run]) -> None:
    """C is as accurate as a and dearer; b is less accurate and cheaper."""
    groups = {
        "a": [make("a", 1, [0.6], hours=2, joules=2)],
        "b": [make("b", 1, [0.5], hours=1, joules=1)],
        "c": [make("c", 1, [0.6], hours=2, joules=3)],
    }
    assert list(pareto(groups)["front"]) == [True, True, False]
    assert [line.get_label() for line in pareto_figure(groups).axes[0].containers] == ["a", "b", "c"]


def test_tables_in_latex_and_markdown_keep_special_letters(make: Callable[..., Run]) -> None:
    table = side_by_side({"dmml_kd & more": [make("a", s, [v]) for s, v in ((1, 0.5), (2, 0.6))]})
    text = latex(table, "Groups")
    assert r"dmml\_kd \& more" in text and r"$\pm$" in text and r"[\%]" in text
    assert markdown(table, "Groups").splitlines()[2].startswith("| group | seeds |")
    assert csv(table, "Groups").startswith("group,seeds,")
