"""Real work that a device's simulated computation stands for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

Inputs = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Stack:
    """How jobs of one shape are done as one batch.

    Attributes:
        key: Jobs with equal keys may be stacked: same networks, same batch size, same kind of work.
        function: A module-level function from the inputs of several jobs to their results, in their order. Each
            result is that of the job alone, up to rounding.
        shorten: A module-level function from a job's inputs and a number of steps to the inputs of a job of the same
            shape with so few steps, to measure with; None where the job is short itself.
        row_bytes: Memory that each stacked job takes while it runs, as far as its learner can tell [byte].
        label: What it is called in a run's record.
        steps: How many steps such a job has, about.
        obstacle: A module-level function from the inputs of two such jobs to what keeps them from being done together,
            as the end of a sentence; empty if nothing does. It is asked once for each key, before any are stacked.
    """

    key: Hashable
    function: Callable[[Sequence[Inputs]], Sequence[Any]]
    shorten: Callable[[Inputs, int], Inputs] | None = None
    row_bytes: float = 0.0
    label: str = "job"
    steps: int = 1
    obstacle: Callable[[Sequence[Inputs]], str] | None = None


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """A piece of real work whose inputs are fixed when it is submitted.

    Attributes:
        function: A module-level function, so that a worker process can find it by name; called as
            ``function(**inputs)``. It must not change its inputs.
        inputs: Everything that the work depends on: a state, data, a seed. Nothing else may matter.
        kept: Names of inputs that are the very same objects in many jobs (data): a worker elsewhere may keep its copy
            of them instead of being sent one with every job.
        stack: How it is done together with others like it; None if it cannot be.
    """

    function: Callable[..., Any]
    inputs: Inputs
    kept: frozenset[str] = frozenset()
    stack: Stack | None = None

    @property
    def name(self) -> str:
        """The function's name, by which work that is alike is known where it has no ``stack``."""
        function = self.function
        while isinstance(function, partial):
            function = function.func
        return str(getattr(function, "__qualname__", type(function).__qualname__))


def run_jobs(jobs: Sequence[TrainingJob]) -> list[Any]:
    """Do one job as it is, or several of one shape as one batch; results in their order."""
    if len(jobs) == 1:
        return [jobs[0].function(**jobs[0].inputs)]
    stack = jobs[0].stack
    assert stack is not None, "only jobs that stack are done together"
    return list(stack.function([job.inputs for job in jobs]))
