"""What cannot run where, or in so little memory, is said in a line before anything is written."""

from __future__ import annotations

import importlib.util
import re
import socket
import time

import pytest
import torch
from typer.testing import CliRunner

from netsim.app.commands.cli import app

LEARNING = {
    "data": {"name": "generated", "samples": 40, "test_samples": 10},
    "partition": "iid",
    "learner": {"name": "dmml", "architecture": "concat"},
}


@pytest.fixture
def command(write_scenario, tmp_path):
    """Runs ``netsim run``; returns what became of it, and the folder that runs would be in."""

    def run(*words, **blocks):
        path, runs = write_scenario(**blocks), tmp_path / "runs"
        options = ["--runs", str(runs), "--cache", str(tmp_path / "cache"), "--quiet", "--no-plots"]
        return CliRunner().invoke(app, ["run", str(path), *options, *words]), runs

    return run


def complaint(outcome):
    """The one line that was said, of a command that ended with 2 and left nothing behind."""
    result, runs = outcome
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output and not runs.exists()
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture
def closed_port():
    """A port of this machine at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_an_executor_that_nobody_knows(command):
    line = complaint(command(jobs={"executor": "thread"}))
    assert "jobs.executor.name: unknown name 'thread'. Did you mean 'threads'?" in line
    assert "Known executors: auto, cuda, forked, inline, processes, ray, threads" in line


def test_an_option_that_the_executor_does_not_have(command):
    line = complaint(command(jobs={"executor": {"name": "threads", "worker": 2}}))
    assert "jobs.executor.worker: unknown key. Did you mean 'workers'?" in line


@pytest.mark.parametrize("name", ["threads", "processes", "auto"])
def test_no_workers_at_all(command, name):
    line = complaint(command(jobs={"executor": {"name": name, "workers": 0}}))
    assert "jobs.executor.workers: must be greater than 0 (got 0)" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("executor", ["auto", "inline"])
def test_a_gpu_that_is_not_there(command, executor):
    line = complaint(command(jobs={"device": "cuda", "executor": executor}, **LEARNING))
    assert "jobs.device: 'cuda' is not there: this machine has no GPU" in line and "use cpu or auto" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_executor_for_gpus_without_one(command):
    line = complaint(command(jobs={"executor": "cuda"}, **LEARNING))
    assert "jobs.executor" in line and "no GPU" in line


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_an_executor_that_cannot_drive_a_gpu(command, monkeypatch, executor):
    """As if there were a GPU, which is not touched before the error."""
    monkeypatch.setattr("netsim.app.build.choose_torch_device", lambda *_: "cuda:0")
    line = complaint(command(jobs={"executor": executor, "device": "cuda"}, **LEARNING))
    assert f"jobs.executor: {executor!r} works on CPUs only (jobs.device is 'cuda:0')" in line
    assert "use inline, or jobs.device: cpu" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_processes_on_a_gpu_that_is_not_there(command):
    line = complaint(command(jobs={"executor": "processes", "device": "cuda"}, **LEARNING))
    assert "jobs.device: 'cuda' is not there" in line


def test_stacking_is_auto_on_or_off(command):
    line = complaint(command(jobs={"stacking": "maybe"}))
    assert "jobs.stacking: must be 'auto', 'on' or 'off' (got 'maybe')" in line


@pytest.mark.parametrize("word", ["on", "off", "auto", "true", "false"])
@pytest.mark.parametrize("where", ["file", "--set"])
def test_a_switch_may_be_written_as_yaml_writes_it(command, write_scenario, word, where):
    """YAML 1.1 reads on as true."""
    path = write_scenario("switched")
    if where == "file":
        path.write_text(path.read_text() + f"jobs:\n  stacking: {word}\n")
    settings = ["--set", f"jobs.stacking={word}"] if where == "--set" else []
    result = CliRunner().invoke(app, ["check", str(path), *settings])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(("value", "word"), [(True, "on"), (False, "off")])
def test_a_switch_that_is_a_boolean_runs(command, value, word):
    result, runs = command(jobs={"stacking": value})
    assert result.exit_code == 0, result.output
    (resolved,) = runs.glob("*/*/scenario.yaml")
    assert re.search(rf"stacking: '?{word}'?\n", resolved.read_text())


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("memory_gib", 0, "must be greater than 0 (got 0)"),
        ("memory_gib", "2 GiB", "(got '2 GiB')"),
        ("max_pending", -1, "must be at least 0 (got -1)"),
        ("precision", "float16", "(got 'float16')"),
    ],
)
def test_values_that_cannot_be(command, key, value, words):
    line = complaint(command(jobs={key: value}))
    assert f"jobs.{key}: " in line and words in line


@pytest.mark.parametrize("executor", ["auto", "inline", "threads"])
def test_models_that_do_not_fit(command, executor):
    line = complaint(command(jobs={"device": "cpu", "memory_gib": 1e-6, "executor": executor}, **LEARNING))
    found = re.search(r"jobs\.memory_gib: the models of 3 devices take ([\d.e-]+) ([KMG]iB)", line)
    assert found, line
    assert "devices.count" in line and "learner.networks" in line and "allow more" in line


def test_models_that_fit_run(command):
    result, runs = command(
        "--rounds", "1", jobs={"device": "cpu", "memory_gib": 1, "executor": "inline"}, **LEARNING
    )
    assert result.exit_code == 0, result.output
    assert list(runs.glob("*/*/metadata.json"))


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra 'ray'")
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_does_not_answer(command, closed_port, scheme):
    address = f"{scheme}127.0.0.1:{closed_port}"
    begin = time.perf_counter()
    line = complaint(command(jobs={"executor": {"name": "ray", "address": address}}))
    assert time.perf_counter() - begin < 20
    assert f"jobs.executor.address: no Ray cluster answers at {address!r}" in line
    assert "ray start --head" in line and "leave out jobs.executor.address" in line


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra 'ray'")
def test_an_address_that_is_none(command):
    line = complaint(command(jobs={"executor": {"name": "ray", "address": "the cluster"}}))
    assert "must be ray://host:port or host:port" in line


def test_how_much_small_models_need(command):
    line = complaint(command(jobs={"device": "cpu", "memory_gib": 1e-6, "executor": "inline"}, **LEARNING))
    needed, allowed = re.findall(r"take ([\d.e-]+) [KMG]iB", line)
    assert float(needed) > float(allowed) > 0
