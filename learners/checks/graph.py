"""A task graph that looks whether tasks are what they must be."""

from __future__ import annotations

import inspect
import pickle
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from learners.checks.promise import alike, fingerprint, promise
from netsim.events import Observer
from netsim.work.executors.inline import Inline
from netsim.work.future import Future
from netsim.work.graph import TaskGraph
from netsim.work.job import Inputs, Stack
from netsim.work.task import Task

Many = Callable[[Sequence[Inputs]], Sequence[Any]]


@dataclass
class Done:
    """A task that can be stacked, done alone.

    Attributes:
        caller: The call that ordered it, as a message says it.
        stack: How it is done with others.
        given: Its inputs.
        result: What it gave.
    """

    caller: str
    stack: Stack
    given: Inputs
    result: Any


class PlainGraph(TaskGraph):
    """A task graph that does its work in this process, one task after another.

    Attributes:
        caller: The call that is being made; tasks are ordered in its name.
    """

    def __init__(self) -> None:
        super().__init__(Inline(), Observer(), 0)
        self.caller = ""

    def look_back(self) -> None:
        """Look at what was done since the last time; here nothing is looked at."""


class CheckedGraph(PlainGraph):
    """The same, and raises :class:`BrokenPromise` where a task is not pure, or not fit to travel."""

    def __init__(self) -> None:
        super().__init__()
        self._together: dict[Many, Many] = {}
        self._stackable: defaultdict[Any, list[Done]] = defaultdict(list)
        self._results: list[
            tuple[str, Any, str]
        ] = []  # whose, the result, and its fingerprint when it was made

    def add(self, task: Task) -> Future:
        """Add a task, as :meth:`TaskGraph.add` does; it is checked while it is done."""
        function, stack, caller = task.function, task.stack, self.caller
        _check_function(function, caller)
        if stack is not None:
            _check_function(stack.function, caller)
        task.inputs, task.stack = {"caller": caller, "given": task.inputs}, None
        if task.light:
            task.function = self._together.setdefault(function, self._checked_together(function))
        else:
            task.function = self._checked_alone(function, stack)
        return super().add(task)

    def look_back(self) -> None:
        """Check that results are what they were, and that stacked tasks give the same."""
        for whose, result, digest in self._results:
            promise(fingerprint(result) == digest, f"{whose} gave a result that was changed later")
        for group in self._stackable.values():
            self._check_stack(group if len(group) > 1 else group * 2)
        self._stackable.clear()

    def _check_stack(self, members: Sequence[Done]) -> None:
        stack, given = members[0].stack, [one.given for one in members]
        if stack.obstacle is not None and stack.obstacle(given[:2]):
            return
        name, before = _name(stack.function), [fingerprint(one) for one in given]
        results = stack.function(given)
        for one, digest, result in zip(members, before, results, strict=True):
            promise(fingerprint(one.given) == digest, f"{one.caller}: {name} changed its inputs")
            promise(
                alike(result, one.result),
                f"{one.caller}: {name} gives something else when it is stacked with others than the task alone",
            )

    def _checked_alone(self, function: Callable[..., Any], stack: Stack | None) -> Callable[..., Any]:
        def run(caller: str, given: Inputs) -> Any:
            copied, before, name = _travelled(given, caller, function), fingerprint(given), _name(function)
            result = function(**given)
            self._results.append((f"{caller}: {name}", result, fingerprint(result)))
            promise(fingerprint(given) == before, f"{caller}: {name} changed its inputs")
            promise(
                fingerprint(function(**copied)) == fingerprint(result),
                f"{caller}: {name} gave two results; all that it depends on must be in its inputs",
            )
            if stack is not None:
                self._stackable[stack.key].append(Done(caller, stack, given, result))
            return result

        return run

    def _checked_together(self, function: Many) -> Many:
        def run(inputs: Sequence[Inputs]) -> Sequence[Any]:
            name, given = _name(function), [one["given"] for one in inputs]
            callers = [one["caller"] for one in inputs]
            copied = [_travelled(one, caller, function) for one, caller in zip(given, callers, strict=True)]
            before = [fingerprint(one) for one in given]
            results = list(function(given))
            promise(
                len(results) == len(given),
                f"{callers[0]}: {name} gave {len(results)} results for {len(given)} tasks",
            )
            for caller, one, digest, copy, result in zip(
                callers, given, before, copied, results, strict=True
            ):
                promise(fingerprint(one) == digest, f"{caller}: {name} changed its inputs")
                made = fingerprint(result)
                promise(
                    [fingerprint(alone) for alone in function([copy])] == [made],
                    f"{caller}: {name} gives something else in company than alone",
                )
                self._results.append((f"{caller}: {name}", result, made))
            return results

        return run


def _travelled(given: Mapping[str, Any], caller: str, function: Any) -> Any:
    """Return ``given`` as a worker gets it."""
    try:
        return pickle.loads(pickle.dumps(given))
    except Exception as error:
        problem = (
            f"{caller}: inputs of {_name(function)} cannot be sent to a worker, they do not pickle: {error}"
        )
    promise(False, problem)


def _check_function(function: Any, caller: str) -> None:
    """Check that another process finds ``function`` by its name."""
    try:
        found = not inspect.ismethod(function) and bool(pickle.dumps(function))
    except Exception:
        found = False
    promise(
        found, f"{caller}: {_name(function)} is no module-level function, so another process cannot find it"
    )


def _name(function: Any) -> str:
    function = getattr(function, "func", function)
    return f"{getattr(function, '__qualname__', type(function).__qualname__)}()"
