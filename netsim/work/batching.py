"""Which jobs are run together as one batch: as asked, or as a short measurement says."""

from __future__ import annotations

import itertools
import math
import statistics
import textwrap
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from netsim.core.errors import ScenarioError
from netsim.work.job import TrainingJob

Mode = Literal["auto", "on", "off"]
Unit = Sequence[TrainingJob]
"""Jobs that run as one: a single job, or a stack of them."""

WORTHWHILE = 0.95
"""A way must take less than this share of the loop's time, whose results do not depend on who is stacked with whom."""

TRIAL_S, TRIAL_STEPS, REPEATS = 0.1, 16, 3
"""A trial of the loop lasts about this long, has at most so many steps, and is repeated so often."""

SLOW_S = 1.0
"""Where the slowest way takes longer for a whole group of shortened jobs, ways are tried twice, not three times [s]."""

HOPELESS = 3
"""A way that takes so many times as long as the fastest is not tried again."""

UNDECIDED = 1.15
"""Ways that lie closer together than this are tried twice as often."""

ENOUGH = 8
"""Jobs that a way is tried with for which one takes as long in a small group as in a large one: any but a stack."""

ENOUGH_TO_STACK = 32
"""Jobs that a stack is tried with; what a larger one would still gain does not turn the choice."""

OUTGROWN = 4
"""A group so many times larger than the measured one is measured again."""


@dataclass(frozen=True)
class Measurement:
    """What was measured before a choice.

    Attributes:
        label: The kind of job.
        jobs: Size of the group.
        seconds_per_job: By way of running it [s]; of shortened jobs.
        chosen: The way that was taken.
        share: How much of a job a shortened one is, about.
        failed: What went wrong, by way that cannot run such jobs; those are not chosen.
    """

    label: str
    jobs: int
    seconds_per_job: dict[str, float]
    chosen: str
    share: float = 1.0
    failed: Mapping[str, str] = field(default_factory=dict)


def measure(
    ways: dict[str, Callable[[Sequence[TrainingJob]], Any]],
    jobs: Sequence[TrainingJob],
    repeats: int = REPEATS,
) -> Measurement:
    """Try each way of running ``jobs``, in turns, on shortened copies; choose the fastest.

    The first way is the reference: another must beat it by more than a twentieth to be chosen. Each way counts with the
    median of its times: one that others on the machine hold up more than the rest has that against it. A way that ends
    with an error is dropped, unless it is the reference.
    """
    stack = jobs[0].stack
    assert stack is not None
    reference, *_ = ways

    failed: dict[str, str] = {}
    times: dict[str, list[float]] = {name: [] for name in ways}

    def trial(name: str, steps: int) -> float:
        few = ENOUGH_TO_STACK if name.startswith("stacked") else ENOUGH
        short = [_shortened(job, steps) for job in jobs[:few]]
        begin = time.perf_counter()
        try:
            ways[name](short)
        except Exception as error:
            if name == reference:
                raise
            failed[name] = in_words(error)
            del times[name]
        return (time.perf_counter() - begin) / len(short)

    first = {
        name: trial(name, 1) for name in ways
    }  # what is done once only (kernels chosen, models built) counts for nothing
    steps = 1
    if stack.shorten is not None and first[reference] < TRIAL_S:
        steps = min(TRIAL_STEPS, max(2, int(TRIAL_S / max(first[reference], 1e-6))))
    tried, turn = list(times), 0
    while turn == 0 or (len(tried) > 1 and turn < 2 * repeats):
        for name in tried:
            seconds = trial(name, steps)
            if name in times:
                times[name].append(seconds)
        turn += 1
        middle = {name: statistics.median(own) for name, own in times.items()}
        if turn == 1 and max(middle.values()) * len(jobs) >= SLOW_S:
            repeats = min(repeats, 2)
        limit = min(middle.values()) * (HOPELESS if turn < repeats else UNDECIDED)
        tried = [name for name in tried if name in middle and middle[name] < limit]
    fastest = min(middle, key=lambda name: middle[name])
    chosen = fastest if middle[fastest] < WORTHWHILE * middle[reference] else reference
    return Measurement(stack.label, len(jobs), middle, chosen, min(1.0, steps / stack.steps), failed)


def in_words(error: Exception) -> str:
    """What went wrong: its first sentence."""
    first = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
    return textwrap.shorten(f"{type(error).__name__}: {first}", 200, placeholder=" ...")


def _shortened(job: TrainingJob, steps: int) -> TrainingJob:
    stack = job.stack
    if stack is None or stack.shorten is None:
        return job
    return TrainingJob(job.function, stack.shorten(job.inputs, steps), job.kept, stack)


@dataclass(frozen=True)
class Obstacle:
    """What keeps jobs of one kind from being stacked.

    Attributes:
        label: The kind of job.
        reason: Why, as the end of a sentence; empty if nothing does.
    """

    label: str
    reason: str


class Stacking:
    """Makes units of pending jobs.

    Attributes:
        mode: ``on``, ``off``, or ``auto``: measured once for each kind of job.
        limit_bytes: Memory that the jobs of one unit may take together [byte]; larger groups are split.
        obstacles: What is known of each kind of job that was to be stacked.
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
        """Whether ``job`` should wait for others like it, for a unit may be made of them."""
        if job.stack is None or self.mode == "off":
            return False
        if job.stack.key in self.obstacles and self.obstacles[job.stack.key].reason:
            return False
        known = self._known.get(job.stack.key)
        return known is None or known.chosen == "stacked"

    def obstacle(self, jobs: Sequence[TrainingJob]) -> str:
        """What keeps ``jobs``, two or more of one kind, from being stacked; empty if nothing does.

        Raises:
            ScenarioError: Something does, and the scenario says that they are to be stacked.
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
        """Places in ``jobs`` that form a unit each.

        Args:
            jobs: Pending jobs, of any kinds.
            workers: How many units can run at the same time.
            run: Runs units to their end, to measure with.
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
        """Cut a group into even parts: at least one per worker, none larger than memory allows."""
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
        """For the run's record."""
        return self.facts_of(self.measurements)

    def facts_of(self, measurements: Iterable[Measurement]) -> dict[str, Any]:
        """The same, with ``measurements`` that somebody else has made."""
        return {
            "mode": self.mode,
            "measured": [measurement.__dict__ for measurement in measurements],
            "obstacles": [found.__dict__ for found in self.obstacles.values() if found.reason],
        }
