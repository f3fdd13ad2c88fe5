"""A learner that trains nothing: for benchmarks and tests of the simulator. It needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from netsim.core.options import Options
from netsim.learner import Budget, Cost, Learner, Message, Metric, Report, Setup, Step, alike

if TYPE_CHECKING:
    from netsim.work.graph import TaskGraph


class StubOptions(Options):
    """The block of a ``stub`` learner."""

    iterations: int = Field(default=1, ge=0, description="iterations per round")
    flops: float = Field(default=1e9, ge=0, description="FLOPs of an iteration")
    bits: float = Field(
        default=1e6, ge=0, description="size of the message to each neighbour, or to the server [bit]"
    )
    coordinated: bool = Field(default=False, description="whether rounds end with a report to a cluster head")
    report_bits: float = Field(default=0.0, ge=0, description="size of a report, and of a decision [bit]")
    download_bits: float = Field(
        default=1e6, ge=0, description="size of the server's message to each device [bit]"
    )
    server_flops: float = Field(
        default=0.0, ge=0, description="FLOPs of the server's own computing in a round"
    )


class Stub(Learner):
    """Computes and sends as much as its options say, and learns nothing."""

    Options: ClassVar[type[Options]] = StubOptions
    METRICS: ClassVar[Mapping[str, str]] = {"arrived": "uploads that a round of the server aggregated"}
    SUITS = frozenset({"decentralized", "server", "asynchronous", "hierarchical"})
    limits_steps = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        assert isinstance(setup.options, StubOptions)
        self.options = setup.options
        self.coordinated = self.options.coordinated

    def first(self, work: TaskGraph, node: int) -> Step:
        """Return the round before the first, 0, as the state."""
        return Step(0, 0)

    @alike
    def cost(self, node: int, round: int, peers: Sequence[int], budget: Budget, plan: Any) -> Cost:
        """Return the same every round."""
        if self.setup.is_server(node):
            return Cost({}, {"server": self.options.server_flops})
        return Cost({}, {"stub": budget.at_most(self.options.iterations) * self.options.flops})

    @alike
    def messages(
        self, node: int, round: int, receivers: Sequence[int], together: bool = False
    ) -> Sequence[Message]:
        """Return one message for all."""
        bits = self.options.download_bits if self.setup.is_server(node) else self.options.bits
        return [Message(tuple(receivers), bits)] if receivers else []

    @alike
    def train(self, work: TaskGraph, node: int, round: int, state: Any, cost: Cost) -> Step:
        """Send the round."""
        return Step(round, round)

    @alike
    def aggregate(
        self, work: TaskGraph, node: int, round: int, state: Any, arrived: Mapping[int, Any]
    ) -> Step:
        """Change nothing; the server counts what arrived."""
        arrivals = (Metric("arrived", float(len(arrived))),) if self.setup.is_server(node) else ()
        return Step(state, metrics=arrivals)

    def aggregate_weighed(
        self,
        work: TaskGraph,
        node: int,
        round: int,
        state: Any,
        arrived: Mapping[int, Any],
        factors: Mapping[int, float],
    ) -> Step:
        """Change nothing."""
        return self.aggregate(work, node, round, state, arrived)

    def merge(
        self,
        work: TaskGraph,
        node: int,
        round: int,
        state: Any,
        arrived: Mapping[int, Any],
        devices: Mapping[int, Sequence[int]],
    ) -> Step:
        """Change nothing; the cloud counts what arrived."""
        return Step(state, metrics=(Metric("arrived", float(len(arrived))),))

    def report(self, work: TaskGraph, device: int, round: int, state: Any, budget: Budget) -> Report:
        """Return a report of the stated size."""
        return Report(self.options.report_bits, device)

    def decide(
        self, work: TaskGraph, head: int, round: int, reports: Mapping[int, Any]
    ) -> tuple[Mapping[int, Report], Sequence[Metric]]:
        """Return a decision of the stated size for everybody who has reported."""
        return {k: Report(self.options.report_bits, k) for k in reports}, ()
