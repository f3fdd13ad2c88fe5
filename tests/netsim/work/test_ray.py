"""Ray as an executor: what every executor must do is in test_executors.py; here is what only Ray does."""

import os
import socket
import sys
import time

import pytest
import torch
from jobs_for_workers import Data, double_at_the_second_attempt

from netsim.core.errors import ScenarioError
from netsim.work.executors.ray import Ray, _in_time
from netsim.work.job import TrainingJob

ray = pytest.importorskip("ray")


def whoami():
    return os.getpid(), torch.get_num_threads()


def total(data):
    return data.numbers.sum().item(), Data.unpacked


@pytest.fixture(scope="module")
def executor(one_ray):
    made = Ray(Ray.Options(workers=2))
    yield made
    made.close()
    assert ray.is_initialized(), "it ended a Ray that it had not started"


def test_jobs_are_done_elsewhere_with_one_thread(executor, do):
    process, threads = do(executor, TrainingJob(whoami, {}))
    assert process != os.getpid() and threads == 1


def test_a_killed_worker_changes_no_result(executor, do, tmp_path):
    x = torch.arange(5.0)
    inputs = {"x": x, "mark": str(tmp_path / "mark")}
    assert torch.equal(do(executor, TrainingJob(double_at_the_second_attempt, inputs)), 2 * x)


def test_kept_inputs_are_stored_once_and_unpacked_once_by_a_worker(executor, do):
    Data.packed, data = 0, Data()
    for _ in range(4):
        assert do(executor, TrainingJob(total, {"data": data}, frozenset({"data"}))) == (45.0, 1)
    assert Data.packed == 1


def test_a_cluster_that_is_not_there_is_an_error_that_helps(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as closed:  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        for scheme in ("", "ray://"):
            address = f"{scheme}127.0.0.1:{closed.getsockname()[1]}"
            begin = time.perf_counter()
            with pytest.raises(ScenarioError, match=r"jobs.executor.address.*ray start --head.*leave out"):
                Ray(Ray.Options(address=address, timeout_s=3))
            assert time.perf_counter() - begin < 4


def test_an_address_without_a_port_is_refused(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ScenarioError, match="must be ray://host:port or host:port"):
        Ray(Ray.Options(address="somewhere"))


def test_a_call_that_never_ends_is_given_up():
    begin = time.perf_counter()
    with pytest.raises(TimeoutError):
        _in_time(lambda: time.sleep(5), 0.1)
    assert time.perf_counter() - begin < 2


def test_without_ray_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ScenarioError, match=r"pip install 'netsim\[ray\]'"):
        Ray()
