"""A server's learner that trains nothing: for benchmarks and tests of the simulator. It needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from netsim.core.options import Options
from netsim.learner import Budget, Message, Metric, ServerLearner, Setup, Workload
from netsim.work.job import TrainingJob


class ServerStubOptions(Options):
    """The block of a ``server_stub`` learner."""

    flops: float = Field(default=1e9, ge=0, description="FLOPs of a device's round")
    server_flops: float = Field(default=0.0, ge=0, description="FLOPs of an aggregation")
    upload_bits: float = Field(default=1e6, ge=0, description="size of an upload [bit]")
    download_bits: float = Field(default=1e6, ge=0, description="size of a download [bit]")


class ServerStub(ServerLearner):
    """Computes and sends as much as its options say, and learns nothing.

    Its payloads say who made them of what: a download (the server's round), an upload (the device, and the download
    that it began with).
    """

    Options: ClassVar[type[Options]] = ServerStubOptions
    METRICS: ClassVar[Mapping[str, str]] = {"arrived": "uploads that a round of the server aggregated"}
    looks_ahead: ClassVar[bool] = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        assert isinstance(setup.options, ServerStubOptions)
        self.options = setup.options
        self._began_with: dict[int, Any] = {}

    def workload(self, device: int, round: int, budget: Budget) -> Workload:
        """The same every round."""
        flops = self.options.server_flops if device == self.server else self.options.flops
        return Workload({}, {"stub": flops})

    def training_job(self, device: int, round: int, workload: Workload) -> TrainingJob | None:
        """None: there is no real work."""
        return None

    def apply(self, device: int, round: int, result: Any) -> Sequence[Metric]:
        """Nothing changes."""
        return ()

    def download(self, round: int, devices: Sequence[int], together: bool = False) -> Sequence[Message]:
        """The same to everybody."""
        return [Message(tuple(devices), self.options.download_bits, round)]

    def receive(self, device: int, round: int, payload: Any) -> None:
        """Remember what the device began with."""
        self._began_with[device] = payload

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[Message]:
        """An upload."""
        return [Message(tuple(neighbours), self.options.upload_bits, (device, self._began_with[device]))]

    def combine(self, device: int, round: int, arrived: Mapping[int, Any]) -> Sequence[Metric]:
        """Count the uploads."""
        return [Metric("arrived", float(len(arrived)))]
