"""Runs jobs: submitted early, asked for late."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

from netsim.core.options import NoOptions, Options
from netsim.work.batching import Stacking
from netsim.work.job import TrainingJob
from netsim.work.operator_threads import Inside


class Executor(ABC):
    """Takes jobs when their inputs are there and owes their results when somebody asks.

    All jobs that are pending at one moment are independent, so an executor is free to run them together,
    elsewhere, or one after another, as long as each result depends on the job's own inputs alone.

    Attributes:
        work_wall_s: Wall-clock seconds spent inside jobs so far [s]; never used inside a simulation.
        jobs_done: How many jobs have been run.
        stacking: Which jobs are run together as one batch.
        inside: How many threads operators have that are called in this process.
        cpu_only: Whether it cannot drive a GPU; ``jobs.device: auto`` is then the CPU.
        moves: When the learning, executor and all, goes on in a process beside the clock's.
    """

    Options: ClassVar[type[Options]] = NoOptions
    cpu_only: ClassVar[bool] = False
    moves: ClassVar[Literal["never", "at once", "if it pays"]] = "never"

    def __init__(self, options: Any = None, stacking: Stacking | None = None) -> None:
        self.options = options
        self.stacking = stacking or Stacking()
        self.inside = Inside()
        self.work_wall_s = 0.0
        self.jobs_done = 0

    def forked(self) -> None:  # noqa: B027 (a hook)
        """Get ready in the forked process: no worker is here, and operators have one thread."""

    @property
    def works_ahead(self) -> bool:
        """Whether jobs run while nobody waits, so that submitting early helps."""
        return False

    @property
    def works_beside(self) -> bool:
        """Whether jobs run outside this process, so that it can do something else meanwhile."""
        return False

    @property
    def in_one_process(self) -> bool:
        """Whether it is known that no job runs in workers, which would be left behind by one that moves."""
        return not (self.works_ahead or self.works_beside)

    def prepare(self, torch_device: str, expected_jobs: int) -> None:  # noqa: B027 (a hook)
        """Learn where the jobs work, and about how many there will be, before the first one comes."""

    @abstractmethod
    def submit(self, job: TrainingJob) -> int:
        """Accept ``job`` and return the ticket that its result is asked for with."""

    @abstractmethod
    def finish(self, tickets: Collection[int], wait: bool = True) -> dict[int, Any]:
        """Results of those of ``tickets`` that are done, at least one if ``wait``; each is given out once.

        Args:
            tickets: In the order in which they are wanted.
            wait: Whether to work, or to wait for workers, until there is one.
        """

    @abstractmethod
    def discard(self, ticket: int) -> None:
        """Nobody will ask for this job any more (its device died, or was cut off)."""

    def facts(self) -> Mapping[str, Any]:
        """What belongs in the run's record: how jobs were run, and what was measured to decide it."""
        return {"stacking": self.stacking.facts(), "threads": self.inside.facts()}

    def close(self) -> None:  # noqa: B027 (a hook: most executors hold nothing)
        """Free what the executor holds; the default holds nothing."""
