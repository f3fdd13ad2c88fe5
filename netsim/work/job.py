"""The real computation behind a device's simulated one, as executors receive it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from netsim.core.errors import ScenarioError
from netsim.core.own_code import code_of_ones_own

Inputs = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Stack:
    """A way to do jobs of one kind as one batch.

    Attributes:
        key: Jobs with equal keys may be stacked: same networks, same batch size, same kind of work.
        function: A module-level function from the inputs of several jobs to their results, in the same order. Each
            result is that of the job alone, up to rounding.
        shorten: A module-level function from a job's inputs and a number of steps to the inputs of a job with only
            that many steps, which is used to measure; None where the job is already short.
        row_bytes: Memory that each stacked job takes while it runs, as the learner estimates it [byte].
        label: Its name in a run's record.
        steps: Approximate number of steps of such a job.
        obstacle: A module-level function from the inputs of two such jobs to the reason why they cannot be stacked, as
            the end of a sentence; empty if they can. It is called once for each key, before any jobs are stacked.
    """

    key: Hashable
    function: Callable[[Sequence[Inputs]], Sequence[Any]]
    shorten: Callable[[Inputs, int], Inputs] | None = None
    row_bytes: float = 0.0
    label: str = "job"
    steps: int = 1
    obstacle: Callable[[Sequence[Inputs]], str] | None = None


@dataclass(eq=False, slots=True)
class TrainingJob:
    """A computation whose inputs are fixed when it is submitted.

    Attributes:
        function: A module-level function, so that a worker process can find it by name; called as
            ``function(**inputs)``. It must not change its inputs.
        inputs: Everything that the result depends on: a state, data, a seed.
        kept: Names of inputs that are the same objects in many jobs (data). A worker in another process may keep them
            instead of receiving them with every job.
        stack: How it is done in one batch with others of its kind; None if it cannot be.
        round: The round that it belongs to, for an error that it ends with; None if it belongs to none.
        number: Its place in the order in which jobs were ordered, which is their order in a stack.
    """

    function: Callable[..., Any]
    inputs: Inputs
    kept: frozenset[str] = frozenset()
    stack: Stack | None = None
    round: int | None = None
    number: int = 0

    @property
    def name(self) -> str:
        """Return the function's name, which says the kind of a job without a ``stack``."""
        return name_of(self.function)


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of ``function``, or of the function that a partial one calls."""
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def check_function(function: Callable[..., Any]) -> None:
    """Check that another process can find the function of a task by its name.

    Raises:
        ScenarioError: It cannot.
    """
    name, inner = name_of(function), function
    while isinstance(inner, partial):
        inner = inner.func
    if not callable(inner) or "<" in name or inspect.ismethod(inner):
        kind = (
            "a method"
            if inspect.ismethod(inner)
            else "a lambda or local"
            if callable(inner)
            else "no function"
        )
        raise ScenarioError(
            f"learner: {name} cannot be a task, because it is {kind}, which another process cannot find by name; use a "
            "function of the module's top level, and pass what it needs as inputs"
        )


def cannot_be_sent(what: str, error: Exception) -> ScenarioError:
    """Return the error that says that another process cannot get ``what``, because pickling ended with ``error``."""
    return ScenarioError(
        f"learner: {what} cannot be sent to another process ({type(error).__name__}: {error}); give it values that can "
        "be pickled (tensors, arrays, numbers, dataclasses of a module), or use jobs.executor: inline"
    )


def run_jobs(jobs: Sequence[TrainingJob]) -> list[Any]:
    """Do one job as it is, or several of one kind as one batch; return the results in the order of ``jobs``.

    Raises:
        ScenarioError: A function of a user's own ended with an error; names it, the round, the devices that its inputs
            call ``device``, and the line.
    """
    round, devices = jobs[0].round, [job.inputs.get("device") for job in jobs]
    when = "" if round is None else f", round {round}"
    if all(isinstance(device, int) for device in devices):
        when += f", device {' '.join(map(str, devices))}"
    with code_of_ones_own(f"learner: task {jobs[0].name}{when}", jobs[0].function):
        if len(jobs) == 1:
            return [jobs[0].function(**jobs[0].inputs)]
        stack = jobs[0].stack
        assert stack is not None, "only jobs that stack are done together"
        return list(stack.function([job.inputs for job in jobs]))
