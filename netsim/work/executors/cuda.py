"""The executor that runs jobs on GPUs, several at a time."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pydantic import Field

from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.work.batching import Stacking, Unit
from netsim.work.executors.pooled import Pooled
from netsim.work.job import TrainingJob, run_jobs
from netsim.work.moving import move, with_tensors
from netsim.work.torch_device import choose_torch_device, intra_op_threads


class CudaOptions(Options):
    """Block ``jobs.executor`` of ``cuda``."""

    devices: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="GPUs, as cuda:0, cuda:1 ... (cpu is a stand-in for trying); null: all that PyTorch sees",
    )
    streams: int = Field(1, gt=0, description="jobs at the same time on each GPU")


@dataclass(frozen=True)
class _Seat:
    """The PyTorch device and stream of one worker thread."""

    device: str
    stream: Any  # None on a CPU


class Cuda(Pooled):
    """Runs jobs on one or several GPUs, on each in one or several streams. For networks that keep a GPU busy.

    Inputs are on the device that ``inputs['torch_device']`` names. A worker of another device copies them to its own,
    keeps its copies of the kept inputs, and sets ``torch_device`` to its own device. It moves the results back to
    where the inputs were. Several streams help where one job alone leaves a GPU idle and jobs do not stack.
    """

    Options: ClassVar[type[Options]] = CudaOptions
    cpu_only = False

    def __init__(self, options: Any = None, stacking: Stacking | None = None) -> None:
        options = options or CudaOptions()
        self._seats: queue.SimpleQueue[_Seat] = queue.SimpleQueue()
        self._here = threading.local()
        self._kept: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._kept_lock = threading.Lock()
        seats = [_seat(device) for _ in range(options.streams) for device in _devices(options)]
        for seat in seats:
            self._seats.put(seat)
        super().__init__(options, stacking, workers=len(seats))

    def _enter(self) -> None:
        intra_op_threads(1)
        self._here.seat = self._seats.get()

    def _start(self, unit: Unit) -> Future[list[Any]]:
        made = _made(_home(unit, "cpu"))
        return self._pool.submit(self._run, unit, made)

    def _run(self, unit: Unit, made: Any = None) -> list[Any]:
        seat: _Seat = self._here.seat
        home = _home(unit, seat.device)
        with _at(seat):
            if made is not None:
                _wait_for(made, home, seat)
            results = run_jobs([self._brought(job, seat, home) for job in unit])
            return _taken_home(results, made, home, seat)

    def _brought(self, job: TrainingJob, seat: _Seat, home: str) -> TrainingJob:
        """Return ``job`` with its inputs on the seat's device."""
        if home == seat.device:
            return job
        inputs = {
            name: self._keep(value, seat) if name in job.kept else move(value, seat.device)
            for name, value in job.inputs.items()
        }
        if "torch_device" in inputs:
            inputs["torch_device"] = seat.device
        return replace(job, inputs=inputs)

    def _keep(self, value: Any, seat: _Seat) -> Any:
        """Return a copy of ``value`` on the seat's device, made once for all streams."""
        with self._kept_lock:
            key = (seat.device, id(value))
            if key not in self._kept:
                copy = move(value, seat.device)
                _finish(seat)  # other streams use the copy, too
                # The value is kept alive, so that no other object can get its id.
                self._kept[key] = (value, copy)
            return self._kept[key][1]


def _devices(options: CudaOptions) -> list[str]:
    import torch

    if options.devices is not None:
        where = "jobs.executor.devices"
        return [choose_torch_device(name, None, where) for name in options.devices]
    if not torch.cuda.is_available():
        raise ScenarioError(
            "jobs.executor: cuda: this machine has no GPU that PyTorch can use; jobs.executor: auto takes what there is"
        )
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def _home(unit: Unit, default: str) -> str:
    """Return the device that the inputs of ``unit`` are on, and that its results must be on."""
    return str(unit[0].inputs.get("torch_device", default))


# The functions below do nothing on a CPU, where every operation has ended when it returns.


def _seat(device: str) -> _Seat:
    import torch

    return _Seat(device, torch.cuda.Stream(device) if device != "cpu" else None)


@contextlib.contextmanager
def _at(seat: _Seat) -> Iterator[None]:
    if seat.stream is None:
        yield
        return
    import torch

    with torch.cuda.device(seat.device), torch.cuda.stream(seat.stream):
        yield


def _made(home: str) -> Any:
    """Return the submitter's stream on ``home`` and an event in it that happens when the inputs are there."""
    if home == "cpu":
        return None
    import torch

    stream = torch.cuda.current_stream(home)
    return stream, stream.record_event()


def _wait_for(made: Any, home: str, seat: _Seat) -> None:
    """Let this thread's streams wait until the inputs are there."""
    import torch

    _, event = made
    torch.cuda.current_stream(home).wait_event(event)  # this stream copies inputs to another GPU
    if seat.stream is not None:
        seat.stream.wait_event(event)


def _taken_home(results: list[Any], made: Any, home: str, seat: _Seat) -> list[Any]:
    """Move ``results`` to ``home`` and return them, ready for the submitter to use at once."""
    results = move(results, home)
    _finish(seat)
    if made is not None:
        import torch

        stream, _ = made
        torch.cuda.current_stream(home).synchronize()
        with_tensors(results, lambda tensor: _used_in(tensor, stream))
    return results


def _used_in(tensor: Any, stream: Any) -> Any:
    """Tell PyTorch that ``stream`` uses ``tensor``; return it.

    Else PyTorch might give its memory to this thread's next job while ``stream`` still reads it.
    """
    if tensor.is_cuda:
        tensor.record_stream(stream)
    return tensor


def _finish(seat: _Seat) -> None:
    if seat.stream is not None:
        seat.stream.synchronize()
