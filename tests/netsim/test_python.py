"""The simulator from Python: what the command does, and pandas frames in the end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import netsim
from netsim.core.errors import ScenarioError
from netsim.scenario.yaml_file import as_yaml, parse_value

STUB = """
rounds: 4
devices: {count: 3}
topology: {links: {name: regular, degree: 2}}
learner: {name: stub, flops: 1e9, bits: 1e6}
jobs: {device: cpu, executor: inline, threads: 1}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    file = tmp_path / "three.yaml"
    file.write_text(STUB)
    return file


def test_run_returns_the_records_as_frames(scenario: Path, tmp_path: Path) -> None:
    """Three devices, two rounds, everybody to both others: 2 · 3 rows of rounds, 2 · 6 of transfers."""
    changes = {"radio": {"bandwidth_hz": np.float64(1e6)}, "learner.bits": 2e6}
    run = netsim.run(scenario, rounds=2, seed=5, set=changes, runs=tmp_path, run_id="mine", quiet=True)
    assert run.folder == tmp_path / "three" / "mine" and run.seed == 5
    assert isinstance(run.rounds, pd.DataFrame) and len(run.rounds) == 6 and len(run.transfers) == 12
    assert set(run.transfers["size_bits"]) == {2e6} and run.scenario["radio"]["bandwidth_hz"] == 1e6
    assert run.summary is not None and run.summary["status"] == "finished"
    pd.testing.assert_frame_equal(netsim.load(run.folder).rounds, run.rounds)


def test_a_run_shows_itself_in_a_notebook(scenario: Path, tmp_path: Path) -> None:
    """Its name is text, not markup, and a run that learns nothing has no curves."""
    run = netsim.run(scenario, rounds=1, set={"name": "a<b>"}, runs=tmp_path, run_id="x", quiet=True)
    page = run._repr_html_()
    assert "a&lt;b&gt;" in page and "a<b>" not in page and "1 of 1 rounds" in page and "<img" not in page


def test_a_killed_run_says_how_far_its_records_go(scenario: Path, tmp_path: Path) -> None:
    """Metadata of a run that nobody could end says "running" and no round; its table has all four."""
    run = netsim.run(scenario, runs=tmp_path, run_id="x", quiet=True)
    assert repr(run) == f"<Run {run.folder}: finished, 4 of 4 rounds>"
    file = run.folder / "metadata.json"
    file.write_text(json.dumps({**run.metadata, "status": "running", "rounds_finished": 0}))
    (run.folder / "summary.json").unlink()
    assert "running or killed, records up to round 4 of 4" in netsim.load(run.folder)._repr_html_()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"set": {"radio.bandwith_hz": 1}},
            "^set: radio.bandwith_hz: unknown key. Did you mean 'bandwidth_hz'",
        ),
        ({"rounds": 0}, "^set: rounds: must be"),
        ({"set": {"devices.count": object()}}, "^set: devices.count: a scenario has numbers"),
        ({"set": {"learner.name": "fedagv"}}, "^set: learner.name: .*fedagv"),
        ({"set": {"rounds.x": 1}}, "^set rounds.x=1: rounds is not a block of keys"),
    ],
)
def test_wrong_words_are_told_as_by_the_command(scenario: Path, changes: dict, told: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ScenarioError, match=told):
        netsim.run(scenario, **changes)


@pytest.mark.parametrize(
    "value",
    ["5e5", "010", "off", "null", "12:30", "a: b", ".inf", True, None, 1e20, 1e-7, {"a": ["1e2", 2, {}]}],
)
def test_values_are_written_as_they_are_read(value: object) -> None:
    """A text that looks like a number stays a text, and a number a number."""
    read = parse_value(as_yaml(value), "")
    assert read == value and type(read) is type(value)


def test_no_scenario_and_no_run(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"none\.yaml"):
        netsim.run(tmp_path / "none.yaml")
    with pytest.raises(ScenarioError, match="no such folder; give a run folder"):
        netsim.load(tmp_path / "none")


def test_an_interrupt_leaves_a_readable_run(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in round 3 of 4: KeyboardInterrupt, and two rounds on disk."""
    from netsim.records.totals import Totals

    closed = Totals.on_round_closed

    def interrupted(self: Totals, round: int, time_s: float) -> None:
        if round == 3:
            raise KeyboardInterrupt
        closed(self, round, time_s)

    monkeypatch.setattr(Totals, "on_round_closed", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"^interrupted after round \d of 4; .*three/cut'\) goes on$"):
        netsim.run(scenario, runs=tmp_path, run_id="cut", quiet=True)
    run = netsim.load(tmp_path / "three" / "cut")
    assert run.summary is not None and run.summary["status"] == "interrupted"
    assert run.rounds["round"].max() >= 2


def test_what_is_not_there_is_said() -> None:
    assert isinstance(netsim.__version__, str)
    with pytest.raises(AttributeError, match="no attribute 'walk'"):
        netsim.walk  # noqa: B018
