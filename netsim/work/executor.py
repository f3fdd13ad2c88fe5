"""Base class of executors, which run the jobs of a task graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

from netsim.core.options import NoOptions, Options
from netsim.work.batching import Stacking
from netsim.work.job import TrainingJob
from netsim.work.operator_threads import Inside


class Executor(ABC):
    """Accepts jobs as soon as their inputs are known and returns results when they are asked for.

    All jobs that are pending at one moment are independent. So an executor may run them together, in other processes,
    or one after another, as long as each result depends on the job's own inputs alone.

    Attributes:
        work_wall_s: Wall-clock time spent in jobs so far [s]; never used in the simulation.
        jobs_done: Number of jobs that have been run.
        stacking: Chooses the jobs that run together as one batch.
        inside: Sets the number of threads inside operators that are called in this process.
        workers: Number of jobs that run at the same time where they run ahead; 0 where it is not known.
        cpu_only: Whether it cannot use a GPU; ``jobs.device: auto`` is then the CPU.
        moves: When the task graph and its executor move to a forked process.
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
        self.workers = 0

    def forked(self) -> None:  # noqa: B027 (a hook)
        """Prepare for work in the forked process, where there are no workers and operators have one thread."""

    @property
    def works_ahead(self) -> bool:
        """Return whether jobs run before their results are asked for, so that it helps to submit early."""
        return False

    @property
    def works_elsewhere(self) -> bool:
        """Return whether jobs run in other processes, so that this one can do something else meanwhile."""
        return False

    @property
    def in_one_process(self) -> bool:
        """Return whether it is certain that no job runs in workers, which a forked process would not have."""
        return not (self.works_ahead or self.works_elsewhere)

    def prepare(self, torch_device: str, expected_jobs: int) -> None:  # noqa: B027 (a hook)
        """Prepare for about ``expected_jobs`` jobs on ``torch_device``; called before the first job."""

    @abstractmethod
    def submit(self, job: TrainingJob) -> int:
        """Accept ``job`` and return its ticket, with which the result is asked for."""

    @abstractmethod
    def finish(self, tickets: Collection[int], wait: bool = True) -> dict[int, Any]:
        """Return the results of those ``tickets`` that are done, by ticket; each result is returned once.

        Args:
            tickets: Tickets in the order in which their results are needed.
            wait: Whether to work, or to wait for workers, until there is at least one result.
        """

    @abstractmethod
    def discard(self, ticket: int) -> None:
        """Drop a job whose result will not be asked for, because its device died or was cut off."""

    def early(self) -> Mapping[int, Any]:
        """Return results that nobody has asked for yet, by ticket: of jobs that were run in the company of others.

        A run that goes on must not compute them anew, for in other company they may come out with other last digits.
        """
        return {}

    def accept(self, result: Any) -> int:
        """Accept a result that was :meth:`early` in the run that goes on; return its ticket."""
        raise NotImplementedError(f"{type(self).__name__} has no early results")

    def facts(self) -> Mapping[str, Any]:
        """Return how jobs were run and the measurements behind that choice, for the run's record."""
        return {"stacking": self.stacking.facts(), "threads": self.inside.facts()}

    def close(self) -> None:  # noqa: B027 (a hook: most executors hold nothing)
        """Free what the executor holds; the default holds nothing."""
