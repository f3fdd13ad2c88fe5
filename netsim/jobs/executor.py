"""Runs jobs: submitted early, asked for late."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from netsim.jobs.job import TrainingJob
from netsim.options import NoOptions, Options


class Executor(ABC):
    """Takes jobs when a device's simulated computation begins and owes their results when it ends.

    All jobs that are pending at one moment are independent, so an executor is free to run them together,
    elsewhere, or one after another, as long as each result depends on the job's own inputs alone.

    Attributes:
        work_wall_s: Wall-clock seconds spent inside jobs so far [s]; never used inside a simulation.
        jobs_done: How many jobs have been run.
        cpu_only: Whether it cannot drive a GPU; ``jobs.device: auto`` is then the CPU.
    """

    Options: ClassVar[type[Options]] = NoOptions
    cpu_only: ClassVar[bool] = False

    def __init__(self, options: Any = None) -> None:
        self.options = options
        self.work_wall_s = 0.0
        self.jobs_done = 0

    @abstractmethod
    def submit(self, job: TrainingJob) -> int:
        """Accept ``job`` and return the ticket that its result is asked for with."""

    @abstractmethod
    def result(self, ticket: int) -> Any:
        """The result of the job behind ``ticket``; a ticket is good for one question."""

    @abstractmethod
    def discard(self, ticket: int) -> None:
        """Nobody will ask for this job any more (its device died, or was cut off)."""

    def close(self) -> None:  # noqa: B027 (a hook: most executors hold nothing)
        """Free what the executor holds; the default holds nothing."""
