"""Sweeps: which runs they are, and that a stopped one ends like one that nobody stopped."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from netsim.app.commands.cli import app
from netsim.app.sweeping import finished
from netsim.app.sweeping_ray import OnRay
from netsim.core.errors import ScenarioError
from netsim.core.interrupts import AT_ONCE
from netsim.records.checksums import write_checksums
from netsim.scenario.sweep import load_sweep

THREE = """
rounds: 2
devices: {count: 3}
topology: {links: {name: regular, degree: 2}}
learner: {name: stub, flops: 1e9, bits: 1e6}
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Any:
    """Writes a sweep of three devices, and returns its file."""
    (tmp_path / "three.yaml").write_text(THREE)

    def write(**keys: Any) -> Path:
        file = tmp_path / "wide.yaml"
        file.write_text(yaml.safe_dump({"scenario": "three.yaml", **keys}))
        return file

    return write


def test_runs_are_all_combinations_seed_by_seed(sweep: Any) -> None:
    """2 points · (2 · 3) of the grid · 4 drawn · 2 seeds = 96 runs, each with a name of its own."""
    cases = load_sweep(
        sweep(
            points=[{"learner.flops": 1e8}, {"learner.flops": 1e9}],
            grid={"radio.bandwidth_hz": [1e5, 1e6], "devices.tx_power_w": [0.1, 0.2, 0.4]},
            sample={"count": 4, "keys": {"learner.bits": {"low": 1e5, "high": 1e7, "log": True}}},
            seeds=[3, 7],
        )
    ).cases
    assert len(cases) == len({case.name for case in cases}) == 96
    assert [case.seed for case in cases] == 48 * [3] + 48 * [7]
    assert len({tuple(case.changed.items()) for case in cases}) == 48
    assert cases[0].changed.keys() == {
        "learner.flops", "learner.bits", "radio.bandwidth_hz", "devices.tx_power_w"
    }  # fmt: skip
    assert "jobs.stacking='off'" in cases[0].settings and "seed=3" in cases[0].settings


def test_what_the_scenario_says_of_its_jobs_stays(sweep: Any, tmp_path: Path) -> None:
    (tmp_path / "three.yaml").write_text(THREE + "jobs: {stacking: auto}\n")
    (case,) = load_sweep(sweep(set={"jobs.threads": 2})).cases
    assert {one for one in case.settings if one.startswith("jobs")} == {
        "jobs.executor=inline",
        "jobs.threads=2",
    }


def test_names_change_with_all_that_a_run_depends_on(sweep: Any, tmp_path: Path) -> None:
    def name(**keys: Any) -> str:
        return load_sweep(sweep(**keys)).cases[0].name

    first = name()
    assert first == name() != name(set={"rounds": 3}) and name(seeds=[1]) != first
    (tmp_path / "three.yaml").write_text(THREE + "name: other\n")
    assert name() != first


def test_sobol_points_fill_each_half_of_a_logarithm_alike(sweep: Any) -> None:
    """Of 64 points in [1e5, 1e7], 32 are below 1e6, and one is in each of 64 parts; whole numbers are whole."""
    keys = {
        "learner.bits": {"low": 1e5, "high": 1e7, "log": True},
        "rounds": {"low": 1, "high": 40, "whole": True},
    }
    cases = load_sweep(sweep(sample={"count": 64, "keys": keys})).cases
    bits = np.log10([case.changed["learner.bits"] for case in cases])
    assert sum(bits < 6) == 32
    assert sorted(((bits - 5) / 2 * 64).astype(int).tolist()) == list(range(64))
    assert {type(case.changed["rounds"]) for case in cases} == {int}


def test_a_point_that_is_drawn_twice_is_one(sweep: Any) -> None:
    """Sixteen whole numbers of 1 to 3 are three points; two runs would share a folder."""
    keys = {"rounds": {"low": 1, "high": 3, "whole": True}}
    cases = load_sweep(sweep(sample={"count": 16, "keys": keys})).cases
    assert sorted(case.changed["rounds"] for case in cases) == [1, 2, 3]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            {"grid": {"radio.bandwith_hz": [1e5]}},
            "with bandwith_hz=100000: --set: radio.bandwith_hz: unknown key",
        ),
        ({"grid": {"learner.name": ["stub", "fedagv"]}}, "with name=fedagv: .*fedagv"),
        ({"grid": {"rounds": []}}, r"grid\.rounds: must have at least one value"),
        ({"seeds": 0}, "seeds: must be a number of seeds, at least 1"),
        ({"scenario": "none.yaml"}, "scenario: no such file: .*none.yaml"),
        ({"sample": {"count": 2, "keys": {"rounds": {"low": 3, "high": 1}}}}, "low must be below high"),
        ({"sample": {"count": 2, "keys": {"rounds": []}}}, r"sample\.keys\.rounds"),
        ({"sample": {"count": 2, "keys": {}}}, r"sample\.keys"),
        ({"seeds": 10**12}, "must have at most 100,000 runs"),
        ({"grid": {"seed": [1, 2]}}, r"grid\.seed: must be left out; seeds says"),
        ({"points": [{"name": "a"}, {"name": "b"}]}, r"points\.name: must be the same in all runs"),
        ({"set": {"rounds": 2}, "grid": {"rounds": [3]}}, r"set\.rounds: has values in grid, too"),
        ({"gird": {}}, "gird: unknown key. Did you mean 'grid'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(sweep: Any, keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ScenarioError, match=told) as raised:
        load_sweep(sweep(**keys))
    assert str(raised.value).startswith(str(sweep(**keys)))


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_sweep_ends_like_one_that_nobody_stopped(
    end: signal.Signals, sweep: Any, tmp_path: Path
) -> None:
    """An end after the first of three runs, SIGTERM with one line, SIGKILL as by a power cut for its runs, too.

    No process is left; then the rest is done, and tables are those of plain runs.
    """
    file = sweep(grid={"learner.flops": [1e8, 1e9, 2e9]})
    words = [
        sys.executable,
        "-m",
        "netsim",
        "sweep",
        str(file),
        "--runs",
        str(tmp_path / "r"),
        "--workers",
        "1",
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as first:
        until = time.monotonic() + 120
        while time.monotonic() < until and len(list((tmp_path / "r").glob("*/*/*/metadata.json"))) < 2:
            time.sleep(0.02)
        if end is signal.SIGKILL:
            os.killpg(first.pid, end)
        else:
            first.send_signal(end)
        _, complaint = first.communicate(timeout=60)
    if end is signal.SIGTERM:
        assert first.returncode == 130
        assert (
            complaint.startswith("interrupted; finished runs stay in ") and len(complaint.splitlines()) == 1
        )
    there = {
        path.parent.name: path.stat().st_mtime_ns for path in (tmp_path / "r").glob("*/*/*/summary.json")
    }
    done = CliRunner().invoke(app, ["sweep", str(file), "--runs", str(tmp_path / "r"), "--workers", "2"])
    assert done.exit_code == 0, done.output
    rows = pd.read_csv(tmp_path / "r" / "wide" / "sweep.csv")
    assert list(rows["learner.flops"]) == [1e8, 1e9, 2e9] and set(rows["status"]) == {"finished"}
    finished = [
        name
        for name in there
        if json.loads((tmp_path / "r" / "wide" / "three" / name / "metadata.json").read_text())["status"]
        == "finished"
    ]
    assert finished
    plain = CliRunner().invoke(
        app,
        ["run", str(tmp_path / "three.yaml"), "--runs", str(tmp_path), "--run-id", "x", "--no-plots", "-q",
         "--set", "learner.flops=2e9", "--set", "jobs={executor: inline, threads: 1, stacking: off}"],
    )  # fmt: skip
    assert plain.exit_code == 0, plain.output
    for table in ("rounds", "transfers"):
        one, other = (
            pd.read_parquet(folder / f"{table}.parquet")
            for folder in (Path(rows["folder"][2]), tmp_path / "three" / "x")
        )
        pd.testing.assert_frame_equal(one, other)


def test_a_run_that_was_killed_in_its_last_moment_is_not_done(tmp_path: Path) -> None:
    """Its records are whole then, in parts; once it has its checksums they are files."""
    (tmp_path / "metadata.json").write_text('{"status": "finished"}')
    assert not finished(tmp_path)
    write_checksums(tmp_path)
    assert finished(tmp_path)


def test_a_run_that_fails_is_named_and_the_others_are_done(sweep: Any, tmp_path: Path) -> None:
    """A scenario whose second point cannot be built: the message is the run's own, and the first point is there."""
    file = sweep(grid={"radio.bandwidth_hz": [1e5, 1e6]})
    cases = load_sweep(file)
    blocked = tmp_path / "r" / "wide" / "three" / cases.cases[1].name
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where a folder should be")
    os.chmod(blocked, 0o600)
    done = CliRunner().invoke(app, ["sweep", str(file), "--runs", str(tmp_path / "r"), "--workers", "2"])
    assert done.exit_code == 2 and str(blocked) in done.output


def test_two_sweeps_do_not_share_a_folder(sweep: Any, tmp_path: Path) -> None:
    """A run that a killed sweep has left holds the lock that it inherited, as the open file does here."""
    (tmp_path / "r" / "wide").mkdir(parents=True)
    with (tmp_path / "r" / "wide" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = CliRunner().invoke(app, ["sweep", str(sweep()), "--runs", str(tmp_path / "r")])
    assert done.exit_code == 2 and "another sweep" in done.output
    assert not (tmp_path / "r" / "wide" / "three").exists()


def test_a_ray_that_runs_already_is_used_and_left(tmp_path: Path) -> None:
    """A notebook may hold a Ray of its own when it asks for a sweep."""
    ray = pytest.importorskip("ray")
    ended_by_signals = list(AT_ONCE)
    ours = OnRay(None)
    sweeps = OnRay(None)
    assert sweeps.run(["true"], {}) == (0, [])
    sweeps.close()
    assert ray.is_initialized()
    ours.close()
    assert ended_by_signals == AT_ONCE


def test_ray_does_the_same_runs(sweep: Any, tmp_path: Path) -> None:
    """Numbers of a sweep on Ray are those of one in processes; a run that fails there is named, too."""
    pytest.importorskip("ray")
    file = sweep(grid={"learner.bits": [1e5, 1e6]}, seeds=1)
    tables = {}
    for executor in ("processes", "ray"):
        words = [
            "sweep",
            str(file),
            "--runs",
            str(tmp_path / executor),
            "--executor",
            executor,
            "--workers",
            "2",
            "-q",
        ]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        tables[executor] = pd.read_csv(tmp_path / executor / "wide" / "sweep.csv").drop(columns="folder")
    assert tables["ray"].equals(tables["processes"])
    assert list(tables["ray"]["status"]) == ["finished", "finished"]
    code = CliRunner().invoke(app, ["sweep", str(file), "--executor", "paper"])
    assert code.exit_code == 2 and "must be processes or ray" in code.output
