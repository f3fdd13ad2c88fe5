"""Jobs on several devices: tried with CPUs and PyTorch's 'meta' device, and with GPUs where there are some."""

import threading
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch

from netsim.core.errors import ScenarioError
from netsim.work.executors.cuda import Cuda, _Seat
from netsim.work.job import TrainingJob
from netsim.work.moving import move

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

Pair = namedtuple("Pair", "left right")


@dataclass(frozen=True)
class Samples:
    inputs: dict
    name: str


def meet(barrier):
    """Ends only when so many are here at once."""
    barrier.wait(timeout=10)
    return threading.get_ident()


def where(state, data, torch_device):
    """What a job sees: its device's name, and where its tensors are."""
    seen = {"named": torch_device, "state": state["w"].device.type, "data": data.inputs["x"].device.type}
    return {"seen": seen, "w": state["w"] + 1, "data": data}


def train(weight, data, torch_device):
    assert weight.device == data.device == torch.device(torch_device)
    for _ in range(20):
        weight = weight - 0.01 * data.T @ (data @ weight)
    return {"weight": weight}


def test_what_holds_tensors_is_made_anew_and_the_rest_is_passed_on():
    rest = {"a": [1, 2], "b": (None, "x")}
    value = {"s": Samples({"x": torch.ones(2)}, "n"), "p": Pair(torch.ones(1), [torch.ones(3)]), "rest": rest}
    moved = move(value, "meta")
    assert moved["s"].inputs["x"].is_meta and moved["s"].name == "n"
    assert isinstance(moved["p"], Pair) and moved["p"].left.is_meta and moved["p"].right[0].is_meta
    assert moved["rest"] is rest
    assert not value["s"].inputs["x"].is_meta and not value["p"].right[0].is_meta


def test_nothing_is_copied_where_nothing_moves():
    value = {"s": Samples({"x": torch.ones(2)}, "n"), "list": [torch.ones(1)]}
    assert move(value, "cpu") is value


def test_each_device_and_stream_has_a_worker_of_its_own():
    """Four jobs that wait for each other end only if all four are under way."""
    executor = Cuda(Cuda.Options(devices=("cpu", "cpu"), streams=2))
    barrier = threading.Barrier(4)
    tickets = [executor.submit(TrainingJob(meet, {"barrier": barrier})) for _ in range(4)]
    threads = set()
    while len(threads) < 4:
        threads |= set(executor.finish(tickets).values())
    executor.close()


@pytest.fixture
def away(monkeypatch):
    """An executor of one worker on 'meta', a device that is not the jobs' own."""
    monkeypatch.setattr("netsim.work.executors.cuda._devices", lambda options: ["meta"])
    monkeypatch.setattr("netsim.work.executors.cuda._seat", lambda device: _Seat(device, None))
    monkeypatch.setattr(
        "netsim.work.executors.cuda._taken_home", lambda results, *rest: results
    )  # meta holds no numbers
    executor = Cuda()
    yield executor
    executor.close()


def test_inputs_move_to_the_worker_which_is_named_to_the_job(away, do):
    data = Samples({"x": torch.ones(2)}, "n")
    inputs = {"state": {"w": torch.ones(2)}, "data": data, "torch_device": "cpu"}
    found = do(away, TrainingJob(where, inputs, frozenset({"data"})))
    assert found["seen"] == {"named": "meta", "state": "meta", "data": "meta"}
    assert inputs["torch_device"] == "cpu" and not data.inputs["x"].is_meta


def test_kept_inputs_move_once(away, do):
    inputs = {
        "state": {"w": torch.ones(2)},
        "data": Samples({"x": torch.ones(2)}, "n"),
        "torch_device": "cpu",
    }
    first, second = (do(away, TrainingJob(where, inputs, frozenset({"data"}))) for _ in range(2))
    assert first["data"] is second["data"]


def test_results_come_back_to_where_the_inputs_were(monkeypatch, do):
    """A job that names no device of its own but 'meta' gets its results there."""
    executor = Cuda(Cuda.Options(devices=("cpu",)))
    inputs = {"weight": torch.ones(3, 1), "data": torch.ones(2, 3), "torch_device": "cpu"}
    moved = []
    monkeypatch.setattr(
        "netsim.work.executors.cuda.move", lambda value, device: moved.append(device) or value
    )
    do(executor, TrainingJob(train, inputs))
    executor.close()
    assert moved == ["cpu"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("devices", [None, ("cuda:0",)])
def test_without_a_gpu_the_error_says_so(devices):
    with pytest.raises(ScenarioError, match=r"no GPU that PyTorch can use; .*auto"):
        Cuda(Cuda.Options(devices=devices))


@needs_gpu
@pytest.mark.parametrize("streams", [1, 3])
def test_results_of_gpus_are_those_of_a_plain_call(streams):
    executor = Cuda(Cuda.Options(streams=streams))
    data = torch.randn(500, 300, device="cuda:0") / 20
    jobs = [
        TrainingJob(
            train,
            {"weight": torch.randn(300, 10, device="cuda:0"), "data": data, "torch_device": "cuda:0"},
            frozenset({"data"}),
        )
        for _ in range(12)
    ]
    expected = [train(**job.inputs)["weight"] for job in jobs]
    tickets = [executor.submit(job) for job in jobs]
    found = {}
    while len(found) < len(tickets):
        found |= executor.finish([ticket for ticket in tickets if ticket not in found])
    for ticket, one in zip(tickets, expected, strict=True):
        assert found[ticket]["weight"].device == one.device
        torch.testing.assert_close(found[ticket]["weight"], one, rtol=1e-4, atol=1e-5)
    executor.close()


@needs_gpu
def test_jobs_begin_after_their_inputs_are_made(do):
    """The inputs are the end of a long queue of work; a job that did not wait would read something older."""
    executor = Cuda()
    noise = torch.randn(4000, 4000, device="cuda:0")
    for _ in range(5):
        slow = noise
        for _ in range(20):
            slow = (slow @ noise).clamp(-1, 1)
        ones = torch.ones_like(slow) + 0 * slow
        inputs = {
            "weight": ones[:, :1],
            "data": torch.zeros(1, 4000, device="cuda:0"),
            "torch_device": "cuda:0",
        }
        assert do(executor, TrainingJob(train, inputs))["weight"].sum().item() == 4000
    executor.close()
