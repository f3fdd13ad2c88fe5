"""Choice of the jobs that run together as one batch: stated in the scenario, or decided by a short measurement."""

from __future__ import annotations

import itertools
import math
import statistics
import textwrap
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from netsim.core.errors import ScenarioError
from netsim.work.job import TrainingJob

Mode = Literal["auto", "on", "off"]
Unit = Sequence[TrainingJob]
"""Jobs that run as one: a single job, or a stack of them."""

WORTHWHILE = 0.95
"""Largest share of the loop's time that another way of running jobs may take to be chosen.

The loop is preferred because its results do not depend on which jobs are stacked together.
"""

TRIAL_S, TRIAL_STEPS, REPEATS = 0.4, 16, 3
"""Duration of a trial of the loop [s], most steps of a job in it, and how often it is repeated."""

SHARE = 0.05
"""Largest share of the run's work that trials may take, beyond one of each way."""

SLOW_S = 1.0
"""If the slowest way needs longer than this for a group of shortened jobs, ways are tried twice, not thrice [s]."""

HOPELESS = 3
"""A way that takes this many times as long as the fastest is not tried again."""

ONCE_S = 0.3
"""What is done once only takes about this long [s]: kernels are chosen, models are built, PyTorch traces a function."""

HOPELESS_COLD = 1.5
"""A way that takes this many times as long as the reference the first time, less ``ONCE_S``, is not tried again."""

UNDECIDED = 1.15
"""Ways that lie closer together than this are tried twice as often."""

ENOUGH = 8
"""Jobs in the trial of any way but a stack.

Without stacking, the time of one job does not depend on the size of the group.
"""

ENOUGH_TO_STACK, STACK_S = 32, 0.2
"""Most jobs in the trial of a stack, and time in which the loop would do them [s]; few long ones are enough.

The little that a larger stack would gain does not change the choice.
"""

OUTGROWN = 4
"""A group that is this many times larger than the measured one is measured again."""


@dataclass(frozen=True)
class Measurement:
    """Times that were measured before a choice between ways of running jobs.

    Attributes:
        label: The kinds of job.
        jobs: Size of the group.
        seconds_per_job: Time per shortened job [s], by way of running it.
        chosen: The way that was chosen.
        share: Approximate share of a whole job's time that a shortened one takes, in the first way.
        failed: Errors of the ways that cannot run such jobs, by way; those ways are not chosen.
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
    expected_jobs: float = math.inf,
    starting: bool = False,
) -> Measurement:
    """Try each way of running ``jobs``, in turns, on shortened copies; choose the fastest.

    The first way is the reference. Another way is chosen only if it is more than a twentieth faster. The ways are
    compared by the median of their times, so that one trial that other programs slow down does not decide. A way that
    ends with an error is dropped, unless it is the reference; then the error is raised.

    Args:
        ways: Functions that run a group of jobs, by name; the reference is first.
        jobs: Jobs of one kind, or of several that are to be run in the same way.
        repeats: How often each way is tried.
        expected_jobs: Number of such jobs in the run; what finding out may cost follows from it.
        starting: Whether a first trial may be long because it starts workers.

    Returns:
        The times and the choice.
    """
    stacks = [job.stack for job in jobs if job.stack]
    reference, *_ = ways

    failed: dict[str, str] = {}
    times: dict[str, list[float]] = {name: [] for name in ways}

    latest: dict[str, float] = {}  # time per job of each way

    def tried_with(name: str) -> int:
        fit = ENOUGH
        if name.startswith("stacked"):
            fit = max(ENOUGH, int(STACK_S / max(latest.get(reference, 0.0), 1e-6)))
        return min(len(jobs), ENOUGH_TO_STACK, fit)

    def trial(name: str, steps: int) -> float:
        short = [_shortened(job, steps) for job in jobs[: tried_with(name)]]
        begin = time.perf_counter()
        try:
            ways[name](short)
        except Exception as error:
            if name == reference:
                raise
            failed[name] = in_words(error)
            del times[name]
        latest[name] = (time.perf_counter() - begin) / len(short)
        return latest[name]

    first = {
        name: trial(name, 1) for name in ways
    }  # not counted, for the first run also does what is done once only
    times |= {
        name: [seconds]
        for name, seconds in first.items()
        if name in times
        and not starting
        and seconds - ONCE_S / tried_with(name) > HOPELESS_COLD * first[reference]
    }
    steps, one_step_s, whole = 1, 0.0, statistics.mean(stack.steps for stack in stacks)
    if stacks[0].shorten is not None and first[reference] < TRIAL_S:
        one_step_s = trial(reference, 1)
        steps = min(TRIAL_STEPS, max(2, int(TRIAL_S / max(one_step_s * min(ENOUGH, len(jobs)), 1e-6))))
    tried, turn, begin_s, most_s = [name for name in times if not times[name]], 0, time.perf_counter(), 0.0
    while turn == 0 or (len(tried) > 1 and turn < 2 * repeats and time.perf_counter() - begin_s <= most_s):
        for name in tried:
            seconds = trial(name, steps)
            if name in times:
                times[name].append(seconds)
        turn += 1
        middle = {name: statistics.median(own) for name, own in times.items()}
        # A job also has parts that are no steps.
        step_s = (middle[reference] - one_step_s) / max(1, steps - 1)
        share = middle[reference] / (middle[reference] + max(0.0, step_s) * max(0.0, whole - steps))
        most_s = SHARE * min(middle.values()) / share * expected_jobs
        if turn == 1 and max(middle.values()) * len(jobs) >= SLOW_S:
            repeats = min(repeats, 2)
        limit = min(middle.values()) * (HOPELESS if turn < repeats else UNDECIDED)
        tried = [name for name in tried if name in middle and middle[name] < limit]
    fastest = min(middle, key=lambda name: middle[name])
    chosen = fastest if middle[fastest] < WORTHWHILE * middle[reference] else reference
    label = ", ".join(dict.fromkeys(stack.label for stack in stacks))
    return Measurement(label, len(jobs), middle, chosen, share, failed)


def in_words(error: Exception) -> str:
    """Return the type of ``error``, or of what it stands for, and the first sentence of its message."""
    error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    first = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
    return textwrap.shorten(f"{type(error).__name__}: {first}", 200, placeholder=" ...")


def _shortened(job: TrainingJob, steps: int) -> TrainingJob:
    stack = job.stack
    if stack is None or stack.shorten is None:
        return job
    return replace(job, inputs=stack.shorten(job.inputs, steps))


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
