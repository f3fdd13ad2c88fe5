"""Choice of the jobs that run together as one batch: stated in the scenario, or decided by a short measurement."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from netsim.core.errors import ScenarioError
from netsim.work.job import TrainingJob
from netsim.work.measurement import Measurement, measure

Mode = Literal["auto", "on", "off"]
Unit = Sequence[TrainingJob]
"""Jobs that run as one: a single job, or a stack of them."""

OUTGROWN = 4
"""A group that is this many times larger than the measured one is measured again."""


@dataclass(frozen=True)
class Obstacle:
    """A reason why jobs of one kind cannot be stacked.

    Attributes:
        label: The kind of job.
        reason: The reason, as the end of a sentence; empty if they can be stacked.
    """

    label: str
    reason: str


class Stacking:
    """Groups pending jobs into units, each of which runs as one.

    Attributes:
        mode: ``on``, ``off``, or ``auto``. With ``auto`` it is measured once for each kind of job.
        limit_bytes: Memory that the jobs of one unit may take together [byte]; larger groups are split.
        obstacles: For each kind of job that was to be stacked, whether it can be.
        measurements: All measurements so far.
    """

    def __init__(
        self,
        mode: Mode = "off",
        limit_bytes: float = math.inf,
        obstacles: dict[Hashable, Obstacle] | None = None,
    ) -> None:
        self.mode = mode
        self.limit_bytes = limit_bytes
        self.obstacles: dict[Hashable, Obstacle] = {} if obstacles is None else obstacles
        self.measurements: list[Measurement] = []
        self._known: dict[Hashable, Measurement] = {}

    def holds_back(self, job: TrainingJob) -> bool:
        """Return whether ``job`` should wait for others of its kind, because they may be stacked."""
        if job.stack is None or self.mode == "off":
            return False
        if job.stack.key in self.obstacles and self.obstacles[job.stack.key].reason:
            return False
        known = self._known.get(job.stack.key)
        return known is None or known.chosen == "stacked"

    def obstacle(self, jobs: Sequence[TrainingJob]) -> str:
        """Return the reason why ``jobs``, two or more of one kind, cannot be stacked; empty if they can.

        Raises:
            ScenarioError: They cannot, and the scenario asks for stacking.
        """
        stack = jobs[0].stack
        assert stack is not None
        if stack.key not in self.obstacles:
            reason = stack.obstacle([job.inputs for job in jobs[:2]]) if stack.obstacle else ""
            self.obstacles[stack.key] = Obstacle(stack.label, reason)
        found = self.obstacles[stack.key]
        if found.reason and self.mode == "on":
            raise ScenarioError(
                f"jobs.stacking: {found.label} cannot be stacked: {found.reason}; use auto (the default) or off"
            )
        return found.reason

    def units(
        self, jobs: Sequence[TrainingJob], workers: int, run: Callable[[Sequence[Unit]], Any]
    ) -> list[list[int]]:
        """Group ``jobs`` into units and return the positions of each unit's jobs in ``jobs``.

        Args:
            jobs: Pending jobs, of any kinds.
            workers: Number of units that can run at the same time.
            run: Runs units to their end; used to measure.
        """
        groups: dict[Hashable, list[int]] = {}
        for place, job in enumerate(jobs):
            groups.setdefault(job.stack.key if job.stack else place, []).append(place)
        units: list[list[int]] = []
        for places in groups.values():
            group = [jobs[place] for place in places]
            if self._stacks(group, workers, run):
                units += [[places[i] for i in part] for part in self.split(group, workers)]
            else:
                units += [[place] for place in places]
        return units

    def split(self, jobs: Sequence[TrainingJob], workers: int = 1) -> list[range]:
        """Split a group into parts of about equal size and return their ranges.

        There are as many parts as workers where the jobs suffice. No part is larger than the memory allows.
        """
        stack = jobs[0].stack
        assert stack is not None
        most = len(jobs)
        if stack.row_bytes > 0 and not math.isinf(self.limit_bytes):
            most = max(1, int(self.limit_bytes // stack.row_bytes))
        parts = min(len(jobs), max(workers, math.ceil(len(jobs) / most)))
        cuts = [len(jobs) * i // parts for i in range(parts + 1)]
        return [range(a, b) for a, b in itertools.pairwise(cuts)]

    def _stacks(
        self, group: Sequence[TrainingJob], workers: int, run: Callable[[Sequence[Unit]], Any]
    ) -> bool:
        stack = group[0].stack
        if self.mode == "off" or stack is None or len(group) == 1 or self.obstacle(group):
            return False
        if self.mode == "on":
            return True
        known = self._known.get(stack.key)
        if known is None or len(group) >= OUTGROWN * known.jobs:
            known = self._known[stack.key] = measure(
                {
                    "loop": lambda jobs: run([[job] for job in jobs]),
                    "stacked": lambda jobs: run(
                        [[jobs[i] for i in part] for part in self.split(jobs, workers)]
                    ),
                },
                group,
            )
            self.measurements.append(known)
        return known.chosen == "stacked"

    def facts(self) -> dict[str, Any]:
        """Return the mode, the measurements and the obstacles, for the run's record."""
        return self.facts_of(self.measurements)

    def facts_of(self, measurements: Iterable[Measurement]) -> dict[str, Any]:
        """Return the same as :meth:`facts`, with ``measurements`` that were made elsewhere."""
        return {
            "mode": self.mode,
            "measured": [measurement.__dict__ for measurement in measurements],
            "obstacles": [found.__dict__ for found in self.obstacles.values() if found.reason],
        }
