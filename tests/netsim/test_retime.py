"""``netsim retime`` without learning: it is a fresh run with the same change, or says where it is not."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from retiming import netsim, refused, remembered, retime, retimed_as, run

import netsim.app.retime as at_its_end
from learners.algorithms.stub import Stub
from netsim.app.running import Running
from netsim.core.interrupts import INTERRUPTED
from netsim.learner import Metric, Step
from netsim.records.checksums import write_checksums
from netsim.work.answers import LONGEST, text_of, value_of

Tree = dict[str, Any]


def add(own: float, node: int) -> dict[str, Any]:
    """Heavy work of a learner; a plain value, and one that is none."""
    return {"sum": own + node / 3, "plain": (own, {node: [True, None, math.nan, "a"]}), "array": np.ones(2)}


def mean(inputs: Any) -> list[float]:
    """Light work of all nodes."""
    return [0.5 * one["own"] + 0.5 * np.mean([0.0, *one["arrived"].values()]) for one in inputs]


def told(inputs: Any) -> list[list[Metric]]:
    """What is measured."""
    return [[Metric("arrived", one["own"])] for one in inputs]


class Gossip(Stub):
    """A learner of one's own: its devices add and average numbers."""

    ASKED: ClassVar[str] = ""

    def train(self, work: Any, node: int, round: int, state: Any, cost: Any) -> Step:
        """Order an addition; wait for a value of it, if one is asked for."""
        added = work.do(add, {"own": state, "node": node}, round)
        if self.ASKED:
            assert len(work.value({"of": [node, added[self.ASKED]]})["of"][1]) == 2
        return Step(added["sum"], added["sum"])

    def aggregate(self, work: Any, node: int, round: int, state: Any, arrived: Any) -> Step:
        """Order an average."""
        return Step(work.together(mean, {"own": state, "arrived": arrived}, round))

    def evaluate(self, work: Any, node: int, round: int, state: Any) -> Any:
        """Order what is told of it."""
        return work.together(told, {"own": state}, round)


class Waiting(Gossip):
    """One that waits for numbers and texts."""

    ASKED = "plain"


class WaitingInVain(Gossip):
    """One that waits for what no table holds."""

    ASKED = "array"


SERVER = {"protocol": {"name": "server_rounds", "participants": 2}}
LATE = {"protocol": {"name": "decentralized_rounds", "deadline_s": 1.5, "late": "keep"}, "rounds": 4}


@pytest.fixture
def first(write_scenario: Callable[..., Path]) -> Callable[..., Path]:
    """Runs a scenario of the stub learner; returns the run's folder."""
    return lambda **blocks: run(write_scenario(**blocks), "first")


DYING = {"devices": {"count": 3, "battery": {"capacity_j": 0.45}}, "rounds": 4}
CHANGES: dict[str, tuple[Tree, list[str]]] = {
    "bandwidth": ({}, ["radio.bandwidth_hz=1e6"]),
    "fading, access": ({}, ["radio.channel={name: rayleigh, coherence_time_s: 0.05}", "radio.access=shared"]),
    "turns, half duplex": ({}, ["radio.access=tdma", "radio.half_duplex=true"]),
    "interference": ({}, ["radio.access={name: reuse, channels: 2}"]),
    "stragglers": ({}, ["devices.stragglers={name: exponential, mean: 2.0}"]),
    "distances": ({}, ["topology.placement.positions_m=[[0, 0], [10, 0], [0, 30]]"]),
    "batteries of which some run empty all the same": (DYING, ["devices.battery.capacity_j=0.46"]),
    "late messages that come as late": (LATE, ["devices.tx_power_w=0.2"]),
    "costs, records": (
        {"records": {"transfers": "summary"}},
        ["costs.flops_per_mac=1", "records.transfers=all"],
    ),
    "server": (SERVER, ["server.position_m=[10, 10]", "server.processor.frequency_hz=1e6"]),
    "asynchronous server": ({"protocol": "asynchronous_server"}, ["server.uplink.bandwidth_hz=1e5"]),
    "policies": (
        {"policies": {"cpu_frequency": {"name": "deadline_frequency", "deadline_s": 3}}},
        ["policies.cpu_frequency.deadline_s=5", "policies.tx_power={name: channel_aware, snr_db: 30}"],
    ),
    "contention": ({"protocol": "asynchronous_server"}, ["server.uplink.access=csma"]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_it_is_a_fresh_run_with_the_same_change(name: str, first: Callable[..., Path]) -> None:
    blocks, settings = CHANGES[name]
    folder = first(**blocks)
    retimed = retimed_as(run(folder / "scenario.yaml", "fresh", *settings), folder, *settings)
    assert remembered(folder, *settings) == ("costs" not in name)
    facts = json.loads((retimed / "metadata.json").read_text())["retimed"]
    assert facts["run"] == "small/first"
    assert any(key.startswith(settings[0].partition("=")[0]) for key in facts["changed"])


@pytest.mark.parametrize("learner", [Gossip, Waiting])
def test_a_learner_of_ones_own_need_not_know_of_it(learner: type, first: Callable[..., Path]) -> None:
    folder = first(learner={"name": f"test_retime:{learner.__name__}"}, rounds=3)
    setting = "radio.bandwidth_hz=1e6"
    assert len(set(pd.read_parquet(folder / "metrics.parquet")["value"])) == 9
    retimed_as(run(folder / "scenario.yaml", "fresh", setting), folder, setting)
    assert not remembered(folder, setting)  # its code may have changed since


def test_a_learner_that_waits_for_what_records_do_not_hold_is_refused(first: Callable[..., Path]) -> None:
    folder = first(learner={"name": "test_retime:WaitingInVain"})
    assert "learnt (work.value)" in refused(folder, "radio.bandwidth_hz=1e6")


def test_answers_are_read_as_they_were_written() -> None:
    value = {1: (2.5, [None, "a", True]), "b": {"dict": [[]], "tuple": ()}, (1, 2): -0.0}
    assert repr(value_of(text_of(value))) == repr(value)
    assert text_of([np.ones(1)]) == text_of(Metric("a", 1.0)) == text_of("a" * LONGEST) == ""


def test_a_retimed_run_can_be_retimed(first: Callable[..., Path]) -> None:
    folder = first()
    fresh = run(folder / "scenario.yaml", "fresh", "radio.bandwidth_hz=2e6", "devices.tx_power_w=0.2")
    assert retime(folder, "radio.bandwidth_hz=2e6").exit_code == 0
    retimed_as(fresh, folder.with_name("first-retimed"), "devices.tx_power_w=0.2")


@pytest.mark.parametrize(
    ("blocks", "setting", "where"),
    [
        (
            {"devices": {"count": 3, "battery": {"capacity_j": 100.0}}},
            "devices.battery.capacity_j=0.35",
            "round 2, device 1: would run out of battery; in the run it did not",
        ),
        (
            DYING,
            "devices.battery.capacity_j=1",
            "round 2, device 2: would combine what devices 0, 1 sent; in the run it did combine nothing",
        ),
        (
            {"protocol": {"name": "decentralized_rounds", "deadline_s": 5.0}},
            "protocol.deadline_s=0.9",  # 4 GFLOP at 4 GFLOP/s take a second
            "round 1, device 0: would combine nothing that was sent; in the run it did combine what devices 1, 2 sent",
        ),
        (LATE, "radio.bandwidth_hz=1.8e5", "round 2, device 0: would combine what device"),
        ({}, "policies.links={name: greedy_links, degree: 0}", "round 1, device 2: would meet"),
        ({}, "radio.outage_snr_db=60", "round 1, device 0: would combine nothing that was sent"),
        (SERVER, "protocol.first=1", "round 1, the server: would combine what device 1 sent"),
        (SERVER, "protocol.participants=3", "round 1, device 0: would combine what the server sent; in the run it"),
        (
            {"protocol": "asynchronous_server"},
            "devices.overrides=[{devices: [0], processor: {frequency_hz: 1e8}}]",
            "round 1, the server: would combine what device 1 sent; in the run it did combine what device 0 sent",
        ),
    ],
)  # fmt: skip
def test_it_stops_where_something_else_would_be_learnt(
    blocks: Tree, setting: str, where: str, first: Callable[..., Path]
) -> None:
    line = refused(first(**blocks), setting)
    assert where in line and "netsim run" in line and setting.split("=")[0] in line


def test_the_round_and_the_device_that_it_names_are_those_of_a_fresh_run(first: Callable[..., Path]) -> None:
    blocks = {"devices": {"count": 3, "battery": {"capacity_j": 100.0}}, "rounds": 5}
    folder, setting = first(**blocks), "devices.battery.capacity_j=0.8"
    line = refused(folder, setting)
    fresh = pd.read_parquet(run(folder / "scenario.yaml", "fresh", setting) / "rounds.parquet")
    dead = fresh[fresh["outcome"] == "died"].sort_values("end_s").iloc[0]
    assert f"round {dead['round']}, device {dead['device']}: would run out of battery" in line


def test_what_was_remembered_is_no_more_if_a_file_or_the_memory_changed(first: Callable[..., Path]) -> None:
    folder, setting = first(), "radio.bandwidth_hz=1e6"
    assert retime(folder, setting).exit_code == 0 and remembered(folder, setting)
    (memory,) = (folder.parents[2] / "cache").glob("replays/*")
    whole = memory.read_bytes()
    memory.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert not remembered(folder, setting)
    memory.write_bytes(whole)
    (folder / "rounds.parquet").write_bytes(b"?")
    assert "rounds.parquet: is not the file that was written" in refused(folder, setting)


@pytest.mark.parametrize(("share", "ready"), [(1e3, True), (1e-6, False)])
def test_a_run_that_took_long_is_replayed_at_its_end(
    share: float, ready: bool, write_scenario: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the first retiming needs no learner; a replay that takes more than its share leaves nothing."""
    monkeypatch.setattr(Running, "REPLAY_S", 0.0)
    monkeypatch.setattr(Running, "REPLAY_SHARE", share)
    file = write_scenario()
    where = ("--runs", file.parent / "runs", "--cache", file.parent / "cache")
    done = netsim("run", file, *where, "--run-id", "first", "--no-plots", "-q")
    assert done.exit_code == 0, done.output
    folder = Path(done.output.strip())
    assert remembered(folder, "radio.bandwidth_hz=1e6") == ready


@pytest.mark.parametrize("most, left_s, reached", [(5, 99, 0), (99, -1, 1), (99, 99, 2)])
def test_a_replay_at_a_runs_end_that_would_be_for_nothing_is_not_begun(
    most: int,
    left_s: float,
    reached: int,
    write_scenario: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two rounds of three devices are 12 questions at least; building a large world again takes time and memory."""
    folder = run(write_scenario(), "first")
    done: list[str] = []

    def noted(what: str) -> Callable[..., Any]:
        whole = getattr(at_its_end, what)
        return lambda *given: [done.append(what), whole(*given)][1]

    monkeypatch.setattr(at_its_end, "MOST_QUESTIONS", most)
    for what in ("wrong_with", "replay"):
        monkeypatch.setattr(at_its_end, what, noted(what))
    at_its_end.prepare_to_retime(folder, folder.parent / "cache", {}, 6, left_s)
    assert done == ["wrong_with", "replay"][:reached]


def test_an_interrupt_after_the_end_of_a_run_says_that_it_has_finished(
    write_scenario: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Running, "REPLAY_S", 0.0)
    monkeypatch.setattr(at_its_end, "wrong_with", lambda folder: os.kill(os.getpid(), signal.SIGINT))
    file = write_scenario()
    done = netsim("run", file, "--runs", file.parent / "runs", "--run-id", "a", "--no-plots", "-q")
    assert done.exit_code == INTERRUPTED
    assert done.stderr.startswith("interrupted when the run had finished; its records in ")


def test_a_run_with_code_of_ones_own_is_not_replayed_at_its_end(
    write_scenario: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing could be kept of it, for that code may have changed when it is asked for."""
    monkeypatch.setattr(Running, "REPLAY_S", 0.0)
    monkeypatch.setattr(Running, "REPLAY_SHARE", 1e3)
    replayed: list[object] = []
    monkeypatch.setattr("netsim.app.retime._Again.as_it_was", lambda *given: replayed.append(given))
    file = write_scenario(learner={"name": "mine:Mine", "flops": 4e9, "bits": 1e6})
    (file.parent / "mine.py").write_text(
        "from learners.algorithms.stub import Stub\nclass Mine(Stub): pass\n"
    )
    done = netsim("run", file, "--runs", file.parent / "runs", "--run-id", "own", "--no-plots", "-q")
    assert done.exit_code == 0, done.output
    netsim(
        "run", write_scenario("ours"), "--runs", file.parent / "runs", "--run-id", "ours", "--no-plots", "-q"
    )
    assert len(replayed) == 1  # of the second run


REFUSED = {
    "seed=3": "--set seed: cannot be changed without learning again",
    "rounds=1": "--set rounds: cannot be changed",
    "learner.bits=3": "--set learner.bits: cannot be changed",
    "devices.count=4": "--set devices.count: cannot be changed",
    "protocol=server_rounds": "--set protocol.name: cannot be changed",
    "evaluation.every=2": "--set evaluation.every: cannot be changed",
    "jobs.threads=2": "--set jobs.threads: cannot be changed",
    "topology.placement.spacing_m=40": "devices 0 and 1 would not hear each other any more",
    "radio.bandwith_hz=3": "--set: radio.bandwith_hz: unknown key. Did you mean 'bandwidth_hz'?",
    "radio.bandwidth_hz=5e5": "--set: nothing differs from the run",
    "radio.bandwidth_hz=-1": "--set: radio.bandwidth_hz: must be greater than 0",
}


def test_what_decides_what_is_learnt_is_refused(first: Callable[..., Path]) -> None:
    links = {"name": "range", "range_m": 30.0}
    topology = {
        "placement": {"name": "grid", "spacing_m": 20.0},
        "links": links,
        "require_connected": False,
    }
    folder = first(topology=topology)
    for setting, reason in REFUSED.items():
        assert reason in refused(folder, setting)


def test_only_a_finished_run_as_it_was_written_is_retimed(first: Callable[..., Path]) -> None:
    folder, setting = first(), "radio.bandwidth_hz=1e6"
    assert "not a run folder" in refused(folder.parent, setting)
    for status in ("running", "interrupted", "failed"):
        change(folder, "metadata.json", '"finished"', f'"{status}"')
        assert f"is a run that is {status}" in refused(folder, setting)
        change(folder, "metadata.json", f'"{status}"', '"finished"')
    table = folder / "rounds.parquet"
    written = table.read_bytes()
    table.write_bytes(written[:-1] + b"?")
    assert "rounds.parquet: is not the file that was written" in refused(folder, setting)
    table.write_bytes(written)
    frame = pd.read_parquet(table)
    frame.loc[frame["round"] == 2, "slowdown"] = 1.5  # adds up, and is not what the simulator does
    frame.to_parquet(table)
    write_checksums(folder)
    assert ": slowdown is 1.5, and now 1.0, without any change" in refused(folder, setting)
    frame.drop(columns="late").to_parquet(table)
    write_checksums(folder)
    assert "late" in refused(folder, setting)


def change(folder: Path, name: str, old: str, new: str) -> None:
    file = folder / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    write_checksums(folder)
