"""The executor that measures which way of running jobs is fastest on this machine."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from netsim.core.options import Options
from netsim.work.batching import Stacking
from netsim.work.executor import Executor
from netsim.work.executors.inline import Inline, kind_of
from netsim.work.executors.pooled import PooledOptions
from netsim.work.executors.processes import Processes
from netsim.work.executors.threads import Threads
from netsim.work.forking import can_fork_now
from netsim.work.job import Stack, TrainingJob
from netsim.work.measurement import Measurement, measure
from netsim.work.operator_threads import Fixed

WORTHWHILE_S, WORTHWHILE_FORKED_S = 6.0, 2.0
"""Worker processes are tried if all jobs together could gain more than this [s]; to start and try them takes as long.

It is less where they are forked, or are there already. At best they divide the time of one thread by their number.
"""

PROCESSES = ("processes", "stacked in processes")

ALONE = "alone"
"""Way of jobs without company: one by one; only the threads inside operators are measured."""

WORKERS = ("threads", *PROCESSES)

ALL_THREADS = " with all threads"
"""Added to the name of a way: with all threads inside operators, where the way without this has one."""


class Auto(Executor):
    """Measures at the start of a run, for each family of jobs, what is fastest: a loop, stacks, threads or processes.

    A family are the kinds of job that one function does as stacks, such as the training of devices with different
    networks. They are measured together, since workers do them side by side. Jobs without a ``Stack`` are not measured:
    they go to workers where some were chosen, unless they gain by threads inside operators.

    The choice and the measured times are in the run's record. Times differ from machine to machine and from run to run.
    If one run chooses stacks and another a loop, their results differ by rounding. For the same bytes every time, name
    an executor and set ``jobs.stacking`` to ``on`` or ``off``.
    """

    Options: ClassVar[type[Options]] = PooledOptions
    moves = "if it pays"

    def __init__(self, options: Any = None, stacking: Stacking | None = None) -> None:
        super().__init__(options, stacking)
        self._make: dict[str, Callable[[], Executor]] = {
            ALONE: lambda: Inline(None, Stacking("off")),
            "loop": lambda: self._inline(Stacking("off")),
            "stacked": lambda: self._inline(self._stacks()),
            "loop" + ALL_THREADS: lambda: self._inline(Stacking("off"), -1),
            "stacked" + ALL_THREADS: lambda: self._inline(self._stacks(), -1),
            "threads": lambda: Threads(options, Stacking("off")),
            "processes": lambda: Processes(options, Stacking("off")),
            "stacked in processes": lambda: Processes(options, self._stacks()),
        }
        self._worker_count = (options or PooledOptions()).count
        self._children: dict[str, Executor] = {}
        self._expected_jobs = 0
        self._known: dict[Hashable, Measurement] = {}
        self._tickets = itertools.count()
        self._held: dict[int, TrainingJob] = {}
        self._routed: dict[int, tuple[Executor, int]] = {}

    @property
    def works_ahead(self) -> bool:
        """Return whether any family of jobs runs in workers."""
        return any(known.chosen in ("threads", "processes") for known in self._known.values())

    @property
    def works_elsewhere(self) -> bool:
        """Return whether any family of jobs runs in worker processes."""
        return any(known.chosen in PROCESSES for known in self._known.values())

    @property
    def in_one_process(self) -> bool:
        """Return whether something was measured and no workers were chosen."""
        return bool(self._known) and super().in_one_process

    def forked(self) -> None:
        """Drop all ways but the loop and stacking; the forked process has no workers."""
        for way in WORKERS:
            self._make.pop(way, None)
            self._children.pop(way, None)

    def prepare(self, torch_device: str, expected_jobs: int) -> None:
        """Drop the ways that cannot work on ``torch_device``, and note the number of jobs."""
        self._expected_jobs = expected_jobs
        if torch_device != "cpu":
            for way in WORKERS:
                del self._make[way]

    def submit(self, job: TrainingJob) -> int:
        """Pass ``job`` on, or hold it until others are there to measure with; return its ticket."""
        ticket = next(self._tickets)
        way = self._way_of(job.stack) if job.stack else self._way_without_stack(job)
        if way is None:
            self._held[ticket] = job
        else:
            self._route(ticket, job, way)
        return ticket

    def finish(self, tickets: Collection[int], wait: bool = True) -> dict[int, Any]:
        """Return results from the chosen executors; see :meth:`Executor.finish`."""
        if any(ticket in self._held for ticket in tickets):
            self._release()
        asked: dict[Executor, dict[int, int]] = {}
        for ticket in tickets:
            if ticket in self._routed:
                child, inner = self._routed[ticket]
                asked.setdefault(child, {})[inner] = ticket
        found: dict[int, Any] = {}
        # First what this process runs itself, while workers work; it waits for workers only if it has no results.
        for child in sorted(asked, key=lambda child: child.works_ahead):
            try:
                done = child.finish(list(asked[child]), wait and not (child.works_ahead and found))
            except Exception:
                if not found:
                    raise
                break  # it is raised at the next call, so that no result is lost
            found |= {asked[child][inner]: result for inner, result in done.items()}
        for ticket in found:
            del self._routed[ticket]
        self.work_wall_s = sum(child.work_wall_s for child in self._children.values())
        self.jobs_done = sum(child.jobs_done for child in self._children.values())
        return found

    def discard(self, ticket: int) -> None:
        """Drop the job; its result will not be asked for."""
        self._held.pop(ticket, None)
        child, inner = self._routed.pop(ticket, (None, 0))
        if child is not None:
            child.discard(inner)

    def facts(self) -> Mapping[str, Any]:
        """Return the measurements and the choices, for the run's record."""
        return {
            "stacking": self.stacking.facts_of(self._known.values()),
            "threads": self.inside.facts(),
        }

    def close(self) -> None:
        """Close all executors that were opened."""
        for child in self._children.values():
            child.close()

    def _stacks(self) -> Stacking:
        """Return a stacking for executors that stack every job that they are given."""
        return Stacking("on", self.stacking.limit_bytes, self.stacking.obstacles)

    def _child(self, way: str) -> Executor:
        if way not in self._children:
            child = self._children[way] = self._make[way]()
            if way == ALONE:
                child.inside = self.inside
        return self._children[way]

    def _inline(self, stacking: Stacking, place: int = 0) -> Inline:
        """Make an executor of this process, with the number of threads at ``place`` inside operators."""
        child = Inline(None, stacking)
        child.inside = Fixed(self.inside, place)
        return child

    def _route(self, ticket: int, job: TrainingJob, way: str) -> None:
        child = self._child(way)
        self._routed[ticket] = (child, child.submit(job))

    @property
    def _chosen_workers(self) -> str | None:
        """Return the first way with workers that was chosen; None if there is none."""
        return next((known.chosen for known in self._known.values() if known.chosen in WORKERS), None)

    def _way_without_stack(self, job: TrainingJob) -> str:
        """Return the way of ``job``: workers, if some were chosen and it is not known to gain by threads inside.

        Beside busy workers that cannot be found out, so it goes to them as well.
        """
        workers = self._chosen_workers
        best = self.inside.best_for(kind_of([job]))
        if workers and (best == 1 or (best is None and self._is_busy(workers))):
            return workers
        return ALONE

    def _is_busy(self, way: str) -> bool:
        """Return whether jobs were passed on to ``way`` whose results nobody has asked for yet."""
        child = self._children.get(way)
        return any(other is child for other, _ in self._routed.values())

    def _way_of(self, stack: Stack) -> str | None:
        """Return the way of such jobs; None if it is not known, or not yet known whether they can be stacked."""
        if self.stacking.mode != "off" and stack.key not in self.stacking.obstacles:
            return None
        known = self._known.get(self._family(stack))
        return known.chosen if known else None

    def _family(self, stack: Stack) -> Hashable:
        """Return what jobs have in common that are run in the same way."""
        obstacle = self.stacking.obstacles.get(stack.key)
        return stack.function, bool(obstacle and obstacle.reason)

    def _release(self) -> None:
        """Choose a way for all jobs that are held, family by family, and pass them on."""
        held, self._held = self._held, {}
        stacks = {ticket: job.stack for ticket, job in held.items() if job.stack}
        if self.stacking.mode != "off":
            kinds: dict[Hashable, list[TrainingJob]] = {}
            for ticket, stack in stacks.items():
                kinds.setdefault(stack.key, []).append(held[ticket])
            for jobs in kinds.values():
                if len(jobs) > 1:
                    self.stacking.obstacle(jobs)
        families: dict[Hashable, list[int]] = {}
        for ticket, stack in stacks.items():
            families.setdefault(self._family(stack), []).append(ticket)
        for family, tickets in families.items():
            way = self._decide(family, [held[ticket] for ticket in tickets])
            for ticket in tickets:
                unknown = self.stacking.mode == "auto" and stacks[ticket].key not in self.stacking.obstacles
                self._route(ticket, held[ticket], ALONE if unknown and "stacked" in way else way)

    def _decide(self, family: Hashable, jobs: Sequence[TrainingJob]) -> str:
        known = self._known.get(family)
        if known:  # a new kind, or one that is alone of its kind
            return known.chosen
        here = {"on": ["stacked"], "off": ["loop", "threads"], "auto": ["loop", "stacked", "threads"]}
        if len(jobs) == 1:  # nothing to stack, and too little to measure
            return ALONE
        names = [name for name in here[self.stacking.mode] if name in self._make]
        if self.stacking.mode == "auto" and not self._some_stack(jobs):
            names.remove("stacked")
        if len(self.inside.numbers) > 1:
            names += [name + ALL_THREADS for name in names if name + ALL_THREADS in self._make]
        in_workers = "processes" in self._make
        if len(names) == 1 and not in_workers:
            return names[0]
        measured = measure({name: self._way(name) for name in names}, jobs, expected_jobs=self._expected_jobs)
        best, seconds = measured.chosen, measured.seconds_per_job
        cheap = can_fork_now() or any(way in self._children for way in PROCESSES)
        if in_workers and self._gain_s(measured) > (WORTHWHILE_FORKED_S if cheap else WORTHWHILE_S):
            worker = "stacked in processes" if self._workers_stack(jobs, seconds) else "processes"
            again = measure(
                {name: self._way(name) for name in (best, worker)},
                jobs,
                expected_jobs=self._expected_jobs,
                starting=True,
            )
            measured = replace(
                again,
                seconds_per_job=seconds | again.seconds_per_job,
                failed={**measured.failed, **again.failed},
            )
            if measured.chosen != worker and all(known.chosen != worker for known in self._known.values()):
                self._children.pop(worker).close()  # its workers hold memory
        self._known[family] = measured
        if self.works_ahead:
            self.workers = self._child(self._chosen_workers or "threads").workers
        return measured.chosen

    def _gain_s(self, measured: Measurement) -> float:
        """Return what worker processes could save at best in the whole run [s], if what starts them cost nothing."""
        seconds = measured.seconds_per_job
        alone_s = min(seconds[way] for way in ("loop", "stacked") if way in seconds)
        workers = min(measured.jobs, self._worker_count)
        saved_s = seconds[measured.chosen] - alone_s / workers
        return saved_s / measured.share * self._expected_jobs

    def _some_stack(self, jobs: Sequence[TrainingJob]) -> bool:
        """Return whether two of ``jobs`` can be stacked."""
        keys = Counter(job.stack.key for job in jobs if job.stack)
        return any(count > 1 and not self.stacking.obstacles[key].reason for key, count in keys.items())

    def _workers_stack(self, jobs: Sequence[TrainingJob], seconds: Mapping[str, float]) -> bool:
        """Return whether stacks are faster than single jobs, both with one thread inside operators as in workers."""
        if self.stacking.mode != "auto":
            return self.stacking.mode == "on"
        if "stacked" not in seconds:
            return False
        if self.inside.numbers[0] > 1:
            self.inside.limit()
            seconds = measure(
                {name: self._way(name) for name in ("loop", "stacked")}, jobs, 1
            ).seconds_per_job
            self.inside.limit(False)
        return seconds.get("stacked", math.inf) < seconds["loop"]

    def _way(self, name: str) -> Callable[[Sequence[TrainingJob]], None]:
        child = self._child(name)

        def run(jobs: Sequence[TrainingJob]) -> None:
            before = child.jobs_done, child.work_wall_s  # trials do not count as work of the run
            tickets = [child.submit(job) for job in jobs]
            try:
                while tickets:
                    done = child.finish(tickets)
                    tickets = [ticket for ticket in tickets if ticket not in done]
            finally:
                for ticket in tickets:  # the results of a way that failed will not be asked for
                    child.discard(ticket)
                child.jobs_done, child.work_wall_s = before

        return run
