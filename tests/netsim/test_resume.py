"""``netsim resume``: what SIGKILL leaves goes on to the records of a run that nobody disturbed, byte for byte."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from retiming import netsim

from learners.algorithms.stub import Stub
from netsim.app.analysed import loaded
from netsim.app.resuming import resumed
from netsim.app.running import Running
from netsim.core.errors import ScenarioError
from netsim.events import Observer
from netsim.learner import Cost, Metric, Step
from netsim.records.lock import Lock
from netsim.records.run_folder import Recorder
from netsim.records.writer import TableWriter
from netsim.scenario.loading import load_plan
from netsim.work.job import Stack
from netsim.work.keys import Keys, is_before
from netsim.work.packing import pack, unpack_values
from netsim.work.snapshots import Snapshot, Snapshots, read


def add(own: Any, node: int) -> dict[str, Any]:
    """Heavy work."""
    return {"sum": own + node / 3, "plain": float(own.sum())}


def mean(inputs: Any) -> list[Any]:
    """Light work of all nodes."""
    return [(one["own"] + sum(one["arrived"].values())) / (1 + len(one["arrived"])) for one in inputs]


def told(inputs: Any) -> list[list[Metric]]:
    """What is measured."""
    return [[Metric("arrived", float(one["own"].sum()))] for one in inputs]


class Gossip(Stub):
    """Devices that add and average arrays."""

    ADD = staticmethod(add)

    def first(self, work: Any, node: int) -> Step:
        """Return zeros."""
        return Step(np.zeros(3), np.zeros(3))

    def train(self, work: Any, node: int, round: int, state: Any, cost: Any) -> Step:
        """Order an addition."""
        added = work.do(self.ADD, {"own": state, "node": node}, round)
        return Step(added["sum"], added["sum"])

    def aggregate(self, work: Any, node: int, round: int, state: Any, arrived: Any) -> Step:
        """Order an average."""
        return Step(work.together(mean, {"own": state, "arrived": arrived}, round))

    def evaluate(self, work: Any, node: int, round: int, state: Any) -> Any:
        """Order what is told of it."""
        return work.together(told, {"own": state}, round)


class Waiting(Gossip):
    """Gossip whose clock waits for a learnt number."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.told: dict[tuple[int, int], float] = {}

    def train(self, work: Any, node: int, round: int, state: Any, cost: Any) -> Step:
        """Order an addition, and wait for it."""
        added = work.do(self.ADD, {"own": state, "node": node}, round)
        self.told[node, round] = work.value(added["plain"])
        return Step(added["sum"], added["sum"])


def add_in_company(jobs: Any) -> list[dict[str, Any]]:
    """The same in a stack, whose last digits are others in other company, and at another place in it."""
    return [
        {"sum": one["own"] + one["node"] / 3 + 1e-3 * len(jobs) + 1e-6 * place, "plain": 0.0}
        for place, one in enumerate(jobs)
    ]


class Stacked(Gossip):
    """Gossip whose additions are stacked."""

    def train(self, work: Any, node: int, round: int, state: Any, cost: Any) -> Step:
        """Order an addition."""
        added = work.do(self.ADD, {"own": state, "node": node}, round, Stack("add", add_in_company))
        return Step(added["sum"], added["sum"])


EXACT = {"device": "cpu", "threads": 1, "stacking": "off", "executor": "inline"}
EVERY: dict[str, Any] = {"snapshots": {"every": 2}, "rounds": 7, "jobs": EXACT}
WORLDS: dict[str, dict[str, Any]] = {
    "undisturbed": {},
    "deadline, late kept": {"protocol": {"name": "decentralized_rounds", "deadline_s": 1.5, "late": "keep"}},
    "batteries die": {
        "devices": {"count": 3, "overrides": [{"devices": [2], "battery": {"capacity_j": 0.4}}]}
    },
    "devices that move": {
        "topology": {"links": {"name": "range", "range_m": 30.0}},
        "mobility": {"name": "random_waypoint", "diameter_m": 50.0, "speed_mps": [1.0, 9.0]},
    },
    "server": {"protocol": {"name": "server_rounds", "participants": 2}},
    "any time": {"protocol": {"name": "asynchronous_server", "concurrency": 2, "buffer": 2}},
}


ROUNDING = [0.0]


def add_nearly(own: Any, node: int) -> dict[str, Any]:
    """Heavy work whose last digits are others at another time."""
    return {"sum": own + node / 3 + ROUNDING[0], "plain": float(own.sum())}


class Nearly(Gossip):
    """Gossip that comes out otherwise at another time."""

    ADD = staticmethod(add_nearly)


class NearlyWaiting(Waiting):
    """The same, whose clock waits for it, and computes as long as that says."""

    ADD = staticmethod(add_nearly)

    def cost(self, node: int, round: int, peers: Any, budget: Any, plan: Any) -> Cost:
        """Return more FLOPs the more was learnt in the round before."""
        return Cost({"": 1}, {"": 1e9 * (1 + self.told.get((node, round - 1), 0.0))})


class Copies(Observer):
    """Copies a run's folder as some rounds close, which is what a kill at that moment leaves."""

    def __init__(self, folder: Path, to: Path, rounds: tuple[int, ...]) -> None:
        self._folder, self._to, self._rounds = folder, to, rounds

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Copy it."""
        if round in self._rounds:
            shutil.copytree(self._folder, self._to / f"at{round}", symlinks=True)


def cut(file: Path, *rounds: int) -> tuple[Path, list[Path]]:
    """Run the scenario in ``file``; return its folder, and what kills at these rounds would have left."""
    running = Running.new(load_plan(file), file.parent, file.parent / "runs", "whole", str)
    running.simulation.watch(Copies(running.folder, running.folder.parent, rounds))
    running.run(nullcontext())
    return running.folder, [running.folder.with_name(f"at{round}") for round in rounds]


def records(folder: Path) -> dict[str, bytes]:
    """Tables and summary."""
    names = [one for one in folder.iterdir() if one.suffix == ".parquet" or one.name == "summary.json"]
    return {one.name: one.read_bytes() for one in names}


def resume(folder: Path, command: tuple[Any, ...] = ("resume",)) -> Any:
    """The end of ``netsim resume``, or of another command."""
    return netsim(*command, folder, "--no-plots", "-q", "--cache", folder.parent)


def refused(folder: Path, command: tuple[Any, ...] = ("resume",)) -> str:
    """The one line with which it is refused."""
    done = resume(folder, command)
    assert done.exit_code == 2 and done.output.count("\n") == 1, done.output
    return str(done.output)


def changed(folder: Path, **facts: Any) -> Path:
    """The folder with other metadata."""
    file = folder / "metadata.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))
    return folder


@pytest.mark.parametrize(("world", "learner"), [*((one, "Gossip") for one in WORLDS), ("server", "Waiting")])
def test_what_a_kill_leaves_goes_on_to_the_same_records(
    write_scenario: Callable[..., Path], world: str, learner: str
) -> None:
    blocks = {"learner": {"name": f"{__name__}:{learner}"}, **EVERY, **WORLDS[world]}
    whole, (early, late) = cut(write_scenario(**blocks), 1, 6)
    for folder, closed in ((early, 0), (late, 4)):
        done = resume(folder)
        assert done.exit_code == 0, done.output
        assert records(folder) == records(whole)
        assert json.loads((folder / "metadata.json").read_text())["resumed"][0]["closed"] == closed
        assert netsim("verify", folder).exit_code == 0
        assert not (folder / "snapshots").exists() and not (folder / ".lock").exists()


UNEVEN = {"count": 6, "stragglers": {"name": "lognormal", "sigma": 1.0}}
NEAR: dict[str, Any] = {"placement": {"name": "disc", "diameter_m": 20}}
ANY_TIME: dict[str, Any] = {
    "devices": UNEVEN,
    "topology": NEAR,
    "protocol": {"name": "asynchronous_server", "concurrency": 5, "buffer": 2},
}
WORKERS: dict[str, Any] = {"name": "threads", "workers": 2}


@pytest.mark.parametrize(
    ("world", "executor"),
    [("server", "inline"), ("server", "forked"), ("server", WORKERS), ("gossip", "inline")],
)
def test_what_was_done_together_before_it_was_due_is_not_done_anew_in_other_company(
    write_scenario: Callable[..., Path], world: str, executor: Any
) -> None:
    """Twice: what goes on is killed, too."""
    jobs = EXACT | {"stacking": "on", "memory_gib": 4, "executor": executor}
    blocks: dict[str, Any] = {"learner": {"name": f"{__name__}:Stacked"}, **ANY_TIME}
    if world == "gossip":
        blocks |= {
            "topology": NEAR | {"links": {"name": "regular", "degree": 2}},
            "protocol": {"name": "asynchronous_gossip"},
        }
    whole, folders = cut(write_scenario(**blocks, rounds=6, jobs=jobs, snapshots={"every": 1}), 2, 4)
    for folder in folders:
        running = resumed(folder, folder.parent, str)
        running.simulation.watch(Copies(folder, folder.with_suffix(".again"), (5,)))
        running.run(nullcontext())
        again = folder.with_suffix(".again") / "at5"
        assert resume(again).exit_code == 0
        assert records(again) == records(folder) == records(whole)


@pytest.mark.parametrize("learner", ["fedavg", "fedatt"])
def test_sums_of_layers_in_dual_form_go_on_as_such(
    write_scenario: Callable[..., Path], late_fusion: Callable[..., dict[str, Any]], learner: str
) -> None:
    blocks = late_fusion(learner, 8) | ANY_TIME
    blocks["data"] |= {"samples": 120, "shape": [400], "classes": 3}
    jobs = EXACT | {"stacking": "on", "memory_gib": 4}
    whole, folders = cut(write_scenario(**blocks, rounds=8, jobs=jobs, snapshots={"every": 1}), 2, 3)
    for folder in folders:
        done = resume(folder)
        assert done.exit_code == 0, done.output
        assert records(folder) == records(whole)


@pytest.mark.parametrize("learner", [Nearly, NearlyWaiting])
def test_what_is_learnt_otherwise_after_the_snapshot_takes_the_place_of_what_was(
    write_scenario: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, learner: type
) -> None:
    """Where times decide how sums are cut up, as with ``auto``, rounding differs; where bytes repeat, it is refused."""
    blocks: dict[str, Any] = {"learner": {"name": f"{__name__}:{learner.__name__}"}, **EVERY, "rounds": 9}
    monkeypatch.setattr(Recorder, "PAUSE_S", 0.0)
    monkeypatch.setattr(Recorder, "SHARE", 1e9)
    auto = EXACT | {"stacking": "auto"}
    whole, (early, late) = cut(write_scenario(**(blocks | {"jobs": auto})), 1, 6)
    _, (stopped,) = cut(write_scenario("exact", **blocks), 6)
    monkeypatch.setattr(f"{__name__}.ROUNDING", [1e-6])
    assert "metrics.parquet: row" in (line := refused(stopped)) and "run it anew" in line
    for folder, closed in ((early, 0), (late, 4)):
        assert resume(folder).exit_code == 0
        assert netsim("verify", folder).exit_code == 0
        was, now = (loaded(one).metrics.sort_values(["round", "device"]) for one in (whole, folder))
        assert len(now) == len(was) and np.allclose(now.value, was.value, rtol=1e-4)
        same = now.value.to_numpy() == was.value.to_numpy()
        assert same[now["round"] <= closed].all() and not same[now["round"] > closed + 1].any()
        if learner is NearlyWaiting:
            ends = [
                loaded(one).rounds.sort_values(["round", "device"]).end_s.to_numpy()
                for one in (whole, folder)
            ]
            assert ends[0] == pytest.approx(ends[1], rel=1e-4) and ends[0][-1] != ends[1][-1]


def test_a_stop_that_comes_earlier_takes_rows_and_models_of_later_rounds_with_it(
    write_scenario: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums grow by 1 a round, to 8.5 in round 9; learnt anew from 4 on, by 1 + 3, to 12 in round 6."""
    blocks: dict[str, Any] = {
        "learner": {"name": f"{__name__}:Nearly"},
        **EVERY,
        "rounds": 12,
        "snapshots": {"every": 4},
        "jobs": EXACT | {"stacking": "auto"},
        "stop": {"metric": "arrived", "at_least": 8.5},
    }
    monkeypatch.setattr(Recorder, "PAUSE_S", 0.0)
    monkeypatch.setattr(Recorder, "SHARE", 1e9)
    whole, (folder,) = cut(write_scenario(**blocks), 7)
    assert loaded(whole).metadata["rounds_finished"] == 9
    for t in (4, 7):
        (folder / "models" / f"round-{t:06d}").mkdir(parents=True)
    monkeypatch.setattr(f"{__name__}.ROUNDING", [1.0])
    done = resume(folder)
    assert done.exit_code == 0, done.output
    assert loaded(folder).metadata["rounds_finished"] == loaded(folder).rounds["round"].max() == 6
    assert [one.name for one in (folder / "models").iterdir()] == ["round-000004"]
    assert netsim("verify", folder).exit_code == 0


def test_a_kill_between_two_tables_leaves_nothing_that_was_learnt_and_is_not_there(
    write_scenario: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else rows would stay of a clock that has waited for answers that are gone, and come out otherwise."""
    blocks: dict[str, Any] = {
        "learner": {"name": f"{__name__}:NearlyWaiting"},
        **EVERY,
        "rounds": 9,
        "snapshots": {"every": 4},
        "jobs": EXACT | {"stacking": "auto"},
    }
    monkeypatch.setattr(Recorder, "PAUSE_S", 1e9)  # so that they are written with snapshots only
    file, flush = write_scenario(**blocks), TableWriter.flush
    killed = file.parent / "runs" / "small" / "killed"
    written: list[str] = []

    def flushed(writer: TableWriter) -> None:
        flush(writer)
        written.append(writer.table)
        if (
            written.count("rounds") == 3 and not killed.exists()
        ):  # of round 1, of the first and second snapshot
            shutil.copytree(writer.path.parent, killed, symlinks=True)

    monkeypatch.setattr(TableWriter, "flush", flushed)
    cut(file)
    snapshots = sorted(one.name for one in (killed / "snapshots").iterdir())
    assert snapshots == [".000000008.snapshot", "000000004.snapshot"]
    monkeypatch.setattr(f"{__name__}.ROUNDING", [1e-6])
    done = resume(killed)
    assert done.exit_code == 0, done.output


@pytest.fixture
def late(write_scenario: Callable[..., Path]) -> tuple[Path, Path]:
    """A run and what a kill in its seventh round leaves."""
    whole, (folder,) = cut(write_scenario(learner={"name": f"{__name__}:Gossip"}, **EVERY), 7)
    return whole, folder


@pytest.mark.parametrize(("damaged", "closed"), [(1, 4), (2, 0)])
def test_a_damaged_snapshot_is_passed_over(late: tuple[Path, Path], damaged: int, closed: int) -> None:
    whole, folder = late
    found = sorted((folder / "snapshots").glob("*.snapshot"))
    assert len(found) == 2
    for file in found[-damaged:]:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    assert resume(folder).exit_code == 0
    assert records(folder) == records(whole)
    assert json.loads((folder / "metadata.json").read_text())["resumed"][0]["closed"] == closed


def test_a_resume_that_is_killed_can_be_resumed(late: tuple[Path, Path]) -> None:
    """Rows that are there stay; of the parts, one that was being written is thrown away."""
    whole, folder = late
    (folder / ".rounds.parquet.parts" / "part-000000.parquet").write_bytes(b"half a part")
    assert resume(folder).exit_code == 0
    assert records(folder) == records(whole)


def test_records_that_come_out_otherwise_stop_it(late: tuple[Path, Path]) -> None:
    _, folder = late
    rounds = folder / ".rounds.parquet.parts"
    transfers = folder / ".transfers.parquet.parts"
    shutil.rmtree(rounds)
    shutil.copytree(transfers, rounds)
    assert "written by another version" in refused(folder)


def test_it_is_refused_with_the_way_out(late: tuple[Path, Path]) -> None:
    whole, folder = late
    assert f"netsim run {whole} --extend N" in refused(whole)
    assert "is no run's folder" in refused(whole.parent)
    assert "is no run's folder" in refused(whole.parent, command=("run", "--extend", 2))
    assert "has not finished" in refused(folder, command=("run", "--extend", 2))
    assert "has no snapshot of its end" in refused(whole, command=("run", "--extend", 2))
    assert "excludes --set, --seed and --rounds" in refused(
        whole, command=("run", "--extend", 2, "--seed", 3)
    )
    assert f"netsim run {whole} --extend N adds N rounds" in refused(whole, command=("run",))
    versions = json.loads((folder / "metadata.json").read_text())["versions"]
    assert "versions: was torch 1.0" in refused(changed(folder, versions={**versions, "torch": "1.0"}))
    assert "check out the commit" in refused(changed(folder, versions=versions, code="0"))
    assert "older version" in refused(changed(folder, schema=0))
    scenario = whole / "scenario.yaml"
    changed(whole, status="running")
    scenario.write_text(scenario.read_text().replace("rounds: 7", "rounds: 8"))
    assert "scenario.yaml: was changed" in refused(whole)


def test_a_run_that_runs_is_refused(late: tuple[Path, Path]) -> None:
    _, folder = late
    ready, holding = os.pipe()
    if not (other := os.fork()):
        Lock(folder)
        os.write(holding, b"1")
        time.sleep(60)
    os.read(ready, 1)
    assert "still runs" in refused(folder)
    os.kill(other, signal.SIGKILL)
    os.waitpid(other, 0)
    assert resume(folder).exit_code == 0


def test_rounds_are_added_as_if_the_run_had_been_longer(write_scenario: Callable[..., Path]) -> None:
    file = write_scenario(learner={"name": f"{__name__}:Gossip"}, rounds=4, snapshots={"keep": True})
    short, _ = cut(file)
    words = ("--runs", file.parent / "runs", "--run-id", "long", "--rounds", 6, "--no-plots", "-q")
    assert netsim("run", file, *words).exit_code == 0
    done = resume(short, ("run", "--extend", 2))
    assert done.exit_code == 0, done.output
    assert records(short.with_name("whole-6-rounds")) == records(short.with_name("long"))


def test_a_run_that_its_duration_has_ended_gets_no_rounds(write_scenario: Callable[..., Path]) -> None:
    """More rounds would not make it longer; the advice is about what would."""
    gossip = {"name": "asynchronous_gossip", "duration_s": 3}
    whole, _ = cut(write_scenario(rounds=99, protocol=gossip, snapshots={"keep": True}))
    line = refused(whole, ("run", "--extend", 2))
    assert "of 99 rounds, and would with more rounds, too" in line and "scenario.yaml --set ..." in line


def test_no_room_for_snapshots_is_no_trouble(tmp_path: Path) -> None:
    """A snapshot that cannot be written is left out; the ones before stay."""
    writer = Snapshots(tmp_path / "file" / "in the way", ("netsim",), 1)
    (tmp_path / "file").write_text("")
    empty = Snapshot(1, 1, 0, 0, {}, [], {}, {})
    assert writer.write(empty) is None
    written = Snapshots(tmp_path / "snapshots", ("netsim",), 1).write(empty)
    assert written is not None and read(written[0], ("netsim",)) == empty
    with pytest.raises(ScenarioError, match="is no value"):
        writer.write(empty._replace(results={("a", 0, 0, 0): os.system}))


def test_a_snapshot_holds_values_and_runs_nothing() -> None:
    value = {"a": [np.arange(3.0), (1, "b", None)], ("k", 1): {2.5: True}}
    found = unpack_values(pack(value), ())
    assert (
        found["a"][0].tolist() == [0, 1, 2]
        and found["a"][1] == (1, "b", None)
        and found["k", 1] == {2.5: True}
    )
    for evil in (os.system, subprocess.Popen, Lock, shutil.rmtree):
        with pytest.raises(ValueError, match="is no value"):
            unpack_values(pack(evil), ("netsim", "subprocess", "shutil", "posix"))


def test_keys_say_what_was_ordered_before() -> None:
    """Of device 0 two tasks were ordered in round 2, so (2, 1) was and (2, 2) was not; of device 1 nothing was."""
    keys = Keys()
    made = [keys.next(("train", 0, round)) for round in (1, 2, 2)]
    assert made == [("train", 0, 1, 0), ("train", 0, 2, 0), ("train", 0, 2, 1)]
    assert all(is_before(key, keys.marks) for key in made)
    assert not is_before(("train", 0, 2, 2), keys.marks) and not is_before(("train", 1, 1, 0), keys.marks)
    assert keys.in_order
    keys.next(("train", 0, 1))
    assert not keys.in_order


def test_a_run_that_was_killed_while_its_tables_were_ended_goes_on(late: tuple[Path, Path]) -> None:
    """Its status is written before: the checksums are the last that is."""
    whole, folder = late
    changed(folder, status="finished")
    assert resume(folder).exit_code == 0
    assert records(folder) == records(whole)


def test_a_target_ends_the_run_that_goes_on_where_it_would_have(
    write_scenario: Callable[..., Path],
) -> None:
    """The sums grow round by round; the fifth round's reaches what is aimed at, with and without a kill before."""
    world = {"learner": {"name": f"{__name__}:Gossip"}, **EVERY, "rounds": 9}
    plain, _ = cut(write_scenario("plain", **world))
    means = loaded(plain).metrics.groupby("round").value.mean()
    aim = {
        "stop": {"metric": "arrived", "at_least": float(means[5])},
        "snapshots": {"every": 2, "keep": True},
    }
    whole, (early, late) = cut(write_scenario("aimed", **{**world, **aim}), 1, 4)
    for folder in (early, late):
        assert resume(folder).exit_code == 0
        assert records(folder) == records(whole)
        assert json.loads((folder / "metadata.json").read_text())["stopped"].endswith("in round 5")
    assert "has finished" in refused(whole)
    assert "was stopped" in (line := refused(whole, ("run", "--extend", 2))) and "--set stop=null" in line


def test_a_full_disk_with_more_room_goes_on(
    small_disk: Path, write_scenario: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fills up in the middle, snapshots and all; then something else makes room."""
    monkeypatch.setattr(Recorder, "PAUSE_S", 0.0)
    monkeypatch.setattr(Recorder, "SHARE", 1e9)
    file = write_scenario(learner={"name": f"{__name__}:Gossip"}, rounds=40, snapshots={"every": 5})
    words = ("run", file, "--run-id", "a", "--no-plots", "-q", "--runs")
    assert netsim(*words, file.parent / "runs").exit_code == 0
    other = small_disk / "other"
    other.write_bytes(bytes(500_000))
    done = netsim(*words, small_disk)
    folder = small_disk / "small" / "a"
    assert done.exit_code == 2 and "No space left on device" in done.output, done.output
    assert json.loads((folder / "metadata.json").read_text())["status"] == "failed"
    other.unlink()
    assert resume(folder).exit_code == 0
    assert records(folder) == records(file.parent / "runs" / "small" / "a")


@pytest.mark.parametrize("how", ["kill", "interrupt", "worker"])
def test_signals_at_a_random_moment(how: str) -> None:
    """What ``benchmarks/kills.py`` does many times."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    from kills import killed

    killed("fedavg", "forked", random.Random(0), how)
