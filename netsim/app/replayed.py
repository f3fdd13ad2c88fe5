"""A simulation that trains nothing: what would be learnt is in the records of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from netsim.app.build import build
from netsim.app.simulation import Simulation
from netsim.app.stopping import AtRound, Target
from netsim.protocols.asked import Asked
from netsim.replay.course import Course
from netsim.replay.followed import Followed, Recalled
from netsim.replay.graph import ReplayGraph
from netsim.replay.memory import Forgotten, Notes, Remembered
from netsim.replay.results import Results
from netsim.scenario.loading import Part, Plan
from netsim.scenario.model import StopOptions
from netsim.work.graph import TaskGraph


@dataclass
class Replay(Simulation):
    """A simulation of a run that was recorded.

    Attributes:
        course: What is asked of the learner.
        results: What was learnt.
        same_costs: Whether a task costs as many FLOPs as in the run.
        last: The round with which the run ended.
        reason: Why it ended early; empty if it did not.
        notes: Is told what the learner is asked and answers; None: nobody is.
    """

    course: Course = field(kw_only=True)
    results: Results = field(kw_only=True)
    same_costs: bool = field(kw_only=True, default=True)
    last: int = field(kw_only=True)
    reason: str = field(kw_only=True, default="")
    notes: Notes | None = field(kw_only=True, default=None)

    def run(self) -> None:
        """Run to the end of the last round.

        Raises:
            ScenarioError: What is learnt would not be what was learnt in the run.
        """
        self.watch(self.course)
        super().run()
        self.course.end()
        if isinstance(self.learner, Remembered):
            self.learner.end(self.last, self.course.ends)
            if self.results.left:
                raise Forgotten

    def _target(self, options: StopOptions, end: Callable[[], Any]) -> Target:
        return AtRound(options, len(self.network.devices), end, self.last, self.reason)

    def _work(self) -> TaskGraph:
        return ReplayGraph(self.observer, self.course, self.results)

    def _asked(self, work: TaskGraph) -> Asked:
        assert isinstance(work, ReplayGraph)
        devices = len(self.network.devices)
        if isinstance(self.learner, Remembered):
            return Recalled(self.learner, devices, work)
        return Followed(self.learner, devices, work, self.course, self.same_costs, self.notes)


def replay(
    plan: Plan,
    quiet: Plan,
    course: Course,
    results: Results,
    cache: Path,
    say: Callable[[str], None],
    remembered: Remembered | None = None,
) -> Replay:
    """Build the simulation of ``plan`` with the jobs and the data of ``quiet``, or with what is ``remembered``."""
    parts = {
        **plan.parts,
        **{key: quiet.parts[key] for key in ("data", "jobs.executor") if key in quiet.parts},
    }
    scenario = plan.scenario.model_copy(update={"jobs": quiet.scenario.jobs})
    if remembered is not None:
        parts = {key: part for key, part in parts.items() if key not in ("data", "partition")}
        learner = parts["learner"]
        parts["learner"] = _Known(learner.name, learner.entry, learner.options, remembered)
    built = build(replace(plan, scenario=scenario, parts=parts), cache, say)
    return Replay(
        plan,
        built.learner,
        built.network,
        built.executor,
        "cpu",
        built.observer,
        course=course,
        results=results,
        last=course.rounds,
    )


class _Once:
    """A data source that loads its data once."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._loaded: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def loaded(self, *given: Any) -> Any:
        """Load the data, or return it."""
        if self._loaded is None:
            self._loaded = self._source.loaded(*given)
        return self._loaded


@dataclass(frozen=True)
class _Made(Part):
    """A component that is made already."""

    made: Any = None

    def make(self, *arguments: Any) -> Any:
        return self.made


class _Known(_Made):
    """A learner that is made already."""

    @cached_property
    def cls(self) -> Any:
        """Return the function that returns it."""
        return self.make


def loaded_once(plan: Plan) -> dict[str, Part]:
    """Return the part of ``plan`` that is its data, if it has any; two simulations of it load it once."""
    if "data" not in plan.parts:
        return {}
    part = plan.parts["data"]
    return {"data": _Made(part.name, part.entry, part.options, _Once(part.make()))}
