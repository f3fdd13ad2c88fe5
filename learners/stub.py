"""A learner that trains nothing: for benchmarks and tests of the simulator. It needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from netsim.core.options import Options
from netsim.learner import Budget, Learner, Message, Metric, Report, Setup, Workload
from netsim.work.job import TrainingJob


class StubOptions(Options):
    """The block of a ``stub`` learner."""

    iterations: int = Field(default=1, ge=0, description="iterations per round")
    flops: float = Field(default=1e9, ge=0, description="FLOPs of an iteration")
    bits: float = Field(default=1e6, ge=0, description="size of the message to each neighbour [bit]")
    coordinated: bool = Field(default=False, description="whether rounds end with a report to a cluster head")
    report_bits: float = Field(default=0.0, ge=0, description="size of a report, and of a decision [bit]")


class Stub(Learner):
    """Computes and sends as much as its options say, and learns nothing."""

    Options: ClassVar[type[Options]] = StubOptions
    looks_ahead: ClassVar[bool] = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        assert isinstance(setup.options, StubOptions)
        self.options = setup.options
        self.coordinated = self.options.coordinated

    def workload(self, device: int, round: int, budget: Budget) -> Workload:
        """The same every round."""
        return Workload({}, {"stub": self.options.iterations * self.options.flops})

    def training_job(self, device: int, round: int, workload: Workload) -> TrainingJob | None:
        """None: there is no real work."""
        return None

    def apply(self, device: int, round: int, result: Any) -> Sequence[Metric]:
        """Nothing changes."""
        return ()

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[Message]:
        """The same to all neighbours; the payload is its sender's round."""
        return [Message(tuple(neighbours), self.options.bits, round)] if neighbours else []

    def combine(self, device: int, round: int, arrived: Mapping[int, Any]) -> Sequence[Metric]:
        """Nothing changes."""
        return ()

    def report(self, device: int, round: int, budget: Budget) -> Report:
        """A report of the stated size."""
        return Report(self.options.report_bits, device)

    def decide(
        self, head: int, round: int, reports: Mapping[int, Any]
    ) -> tuple[Mapping[int, Report], Sequence[Metric]]:
        """A decision of the stated size for everybody who has reported."""
        return {k: Report(self.options.report_bits, k) for k in reports}, ()

    def accept(self, device: int, round: int, decision: Any | None) -> None:
        """Nothing changes."""
