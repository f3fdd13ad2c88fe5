"""A short measurement that chooses between ways of running jobs."""

from __future__ import annotations

import math
import statistics
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netsim.work.job import TrainingJob

Ways = Mapping[str, Callable[[Sequence[TrainingJob]], Any]]
"""Functions that run a group of jobs, by name; the first is the reference."""

WORTHWHILE = 0.95
"""Largest share of the loop's time that another way of running jobs may take to be chosen.

The loop is preferred because its results do not depend on which jobs are stacked together.
"""

TRIAL_S, TRIAL_STEPS, REPEATS = 0.4, 16, 3
"""Duration of a trial of the loop [s], most steps of a job in it, and how often it is repeated."""

SHARE = 0.03
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
    ways: Ways,
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
    trials = _Trials(ways, jobs)
    cold_s = trials.once(starting)
    steps, one_step_s = trials.length(cold_s)
    trials.in_turns(steps, one_step_s, repeats, expected_jobs)
    return trials.measurement()


class _Trials:
    """Trials of ways of running jobs.

    Attributes:
        times: Seconds per job of each way that still can be chosen; the first trial of each is left out.
        failed: Errors of the others.
        share: Approximate share of a whole job's time that a shortened one takes.
    """

    def __init__(self, ways: Ways, jobs: Sequence[TrainingJob]) -> None:
        self._ways, self._jobs = ways, jobs
        self._stacks = [job.stack for job in jobs if job.stack]
        self._reference = next(iter(ways))
        self._latest: dict[str, float] = {}
        self.times: dict[str, list[float]] = {name: [] for name in ways}
        self.failed: dict[str, str] = {}
        self.share = 1.0

    def once(self, starting: bool) -> float:
        """Try each way once, which also does what is done once only; return the reference's seconds per job.

        Such a trial counts for ways alone that are hopeless by it.
        """
        first = {name: self._try(name, 1) for name in self._ways}
        for name, seconds in first.items():
            limit = HOPELESS_COLD * first[self._reference] + ONCE_S / self._tried_with(name)
            if name in self.times and not starting and seconds > limit:
                self.times[name] = [seconds]
        return first[self._reference]

    def length(self, cold_s: float) -> tuple[int, float]:
        """Return how many steps jobs of a trial should have, and a job's seconds with one step, 0 if not measured."""
        if self._stacks[0].shorten is None or cold_s >= TRIAL_S:
            return 1, 0.0
        one_step_s = self._try(self._reference, 1)
        fit = TRIAL_S / max(one_step_s * min(ENOUGH, len(self._jobs)), 1e-6)
        return min(TRIAL_STEPS, max(2, int(fit))), one_step_s

    def in_turns(self, steps: int, one_step_s: float, repeats: int, expected_jobs: float) -> None:
        """Try all ways that have a chance in turns, until they are told apart or finding out costs too much."""
        tried, turn = [name for name, own in self.times.items() if not own], 0
        begin_s, most_s = time.perf_counter(), 0.0
        while turn == 0 or (
            len(tried) > 1 and turn < 2 * repeats and time.perf_counter() - begin_s <= most_s
        ):
            for name in tried:
                seconds = self._try(name, steps)
                if name in self.times:
                    self.times[name].append(seconds)
            turn += 1
            middle = self._middle()
            self.share = self._share(middle[self._reference], steps, one_step_s)
            most_s = SHARE * min(middle.values()) / self.share * expected_jobs
            if turn == 1 and max(middle.values()) * len(self._jobs) >= SLOW_S:
                repeats = min(repeats, 2)
            limit = min(middle.values()) * (HOPELESS if turn < repeats else UNDECIDED)
            tried = [name for name in tried if name in middle and middle[name] < limit]

    def measurement(self) -> Measurement:
        """Return what was measured, with the fastest way, or the reference if that is about as fast."""
        middle = self._middle()
        fastest = min(middle, key=lambda name: middle[name])
        chosen = fastest if middle[fastest] < WORTHWHILE * middle[self._reference] else self._reference
        label = ", ".join(dict.fromkeys(stack.label for stack in self._stacks))
        return Measurement(label, len(self._jobs), middle, chosen, self.share, self.failed)

    def _try(self, name: str, steps: int) -> float:
        """Run shortened jobs; return the seconds per job. A way that fails is dropped."""
        short = [_shortened(job, steps) for job in self._jobs[: self._tried_with(name)]]
        begin = time.perf_counter()
        try:
            self._ways[name](short)
        except Exception as error:
            if name == self._reference:
                raise
            self.failed[name] = in_words(error)
            del self.times[name]
        self._latest[name] = (time.perf_counter() - begin) / len(short)
        return self._latest[name]

    def _tried_with(self, name: str) -> int:
        fit = ENOUGH
        if name.startswith("stacked"):
            fit = max(ENOUGH, int(STACK_S / max(self._latest.get(self._reference, 0.0), 1e-6)))
        return min(len(self._jobs), ENOUGH_TO_STACK, fit)

    def _middle(self) -> dict[str, float]:
        return {name: statistics.median(own) for name, own in self.times.items()}

    def _share(self, seconds: float, steps: int, one_step_s: float) -> float:
        """Return the share of a whole job's time in ``seconds``; a job also has parts that are no steps."""
        whole = statistics.mean(stack.steps for stack in self._stacks)
        step_s = (seconds - one_step_s) / max(1, steps - 1)
        return seconds / (seconds + max(0.0, step_s) * max(0.0, whole - steps))


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
