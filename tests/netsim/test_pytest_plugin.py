"""``pytest --netsim FOLDER`` in a folder of somebody's scenarios."""

import json
from pathlib import Path

import pytest

import netsim
from netsim.app.regressions.numbers import Gap, gaps, table
from netsim.scenario.regressions import Tolerance

pytest_plugins = "pytester"

SCENARIO = "rounds: 2\ndevices: {count: 3}\nlearner: {name: stub}\n"


@pytest.fixture(scope="module", autouse=True)
def everything_is_imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pytester forgets the modules that a run within a test imports; some can be imported once only."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "a.yaml").write_text(SCENARIO)
    netsim.run(folder / "a.yaml", runs=folder, cache=folder / "cache", quiet=True)


@pytest.fixture
def scenarios(pytester: pytest.Pytester) -> Path:
    folder = pytester.mkdir("scenarios")
    (folder / "a.yaml").write_text(SCENARIO)
    return folder


def test_what_is_stored_is_what_is_found_again_and_a_change_is_shown_as_a_table(
    pytester: pytest.Pytester, scenarios: Path
) -> None:
    result = pytester.runpytest_inprocess("--netsim", "scenarios")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*expected/a.json: nothing is stored; pytest --netsim-regen*"])
    pytester.runpytest_inprocess("--netsim", "scenarios", "--netsim-regen").assert_outcomes(passed=1)
    stored = json.loads((scenarios / "expected" / "a.json").read_text())
    assert stored["transfers"] > 0 and stored["simulated_s"] > 0
    pytester.runpytest_inprocess("--netsim", "scenarios").assert_outcomes(passed=1)
    (scenarios / "a.yaml").write_text(SCENARIO + "radio: {bandwidth_hz: 1e6}\n")
    result = pytester.runpytest_inprocess("--netsim", "scenarios")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*numbers are not those stored in a.json", "number *stored *found *difference*"]
    )
    assert "Traceback" not in result.stdout.str() and "simulated_s" in result.stdout.str()


def test_a_plan_names_scenarios_and_makes_them_short(pytester: pytest.Pytester, scenarios: Path) -> None:
    (scenarios / "b.yaml").write_text("rounds: 10000000\ndevices: {count: 2}\nlearner: {name: stub}\n")
    (scenarios / "c.yaml").write_text("this is no scenario")
    (scenarios / "expected").mkdir()
    plan = scenarios / "expected" / "regressions.yaml"
    plan.write_text("scenarios:\n  a: {needs: '${NOWHERE:-nowhere}/data'}\n  b: {set: {rounds: 1}}\n")
    result = pytester.runpytest_inprocess("--netsim", "scenarios", "--netsim-regen")
    result.assert_outcomes(passed=1, skipped=1)
    assert json.loads((scenarios / "expected" / "b.json").read_text())["transfers"] == 2
    plan.write_text("scenario: {}\n")
    result = pytester.runpytest_inprocess("--netsim", "scenarios")
    result.stdout.fnmatch_lines(["*regressions.yaml*scenario*"])
    assert result.ret != 0


def test_a_scenario_that_is_wrong_fails_in_a_line(pytester: pytest.Pytester, scenarios: Path) -> None:
    (scenarios / "a.yaml").write_text(SCENARIO.replace("rounds", "round"))
    result = pytester.runpytest_inprocess("--netsim", "scenarios", "--netsim-regen")
    result.assert_outcomes(failed=1)
    assert "Traceback" not in result.stdout.str() and "Did you mean" in result.stdout.str()
    assert pytester.runpytest_inprocess("--netsim", "nowhere").ret == pytest.ExitCode.USAGE_ERROR


def test_without_its_option_it_does_nothing(pytester: pytest.Pytester, scenarios: Path) -> None:
    assert pytester.runpytest_inprocess().ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_the_last_pattern_that_fits_is_the_tolerance() -> None:
    """100 may be off by 1 % or 0.5, the larger of both; none is none; what came new is a difference."""
    allowed = {"*": Tolerance(), "a*": Tolerance(relative=0.01, absolute=0.5)}
    assert gaps({"a": 100.0, "b": 1.0, "c": None}, {"a": 101.0, "b": 1.0, "c": None}, allowed) == []
    wrong = gaps({"a": 100.0, "b": 1.0}, {"a": 101.1, "b": 1.1, "d": 2.0}, allowed)
    assert [gap.name for gap in wrong] == ["a", "b", "d"]
    assert table([Gap("a", 100.0, 101.5, 1.0)]).splitlines()[1].split() == ["a", "100", "101.5", "+1.5", "1"]
