"""A simulation that trains nothing: what would be learnt is in the records of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from netsim.app.simulation import Simulation
from netsim.replay.course import Course
from netsim.replay.followed import Followed
from netsim.replay.graph import ReplayGraph
from netsim.replay.results import Results
from netsim.work.graph import TaskGraph


@dataclass
class Replay(Simulation):
    """A simulation of a run that was recorded.

    Attributes:
        course: What is asked of the learner.
        results: What was learnt.
        same_costs: Whether a task costs as many FLOPs as in the run.
    """

    course: Course = field(kw_only=True)
    results: Results = field(kw_only=True)
    same_costs: bool = field(kw_only=True, default=True)

    def run(self) -> None:
        """Run to the end of the last round.

        Raises:
            ScenarioError: What is learnt would not be what was learnt in the run.
        """
        self.watch(self.course)
        super().run()
        self.course.end()

    def _work(self) -> TaskGraph:
        return ReplayGraph(self.observer, self.course, self.results)

    def _asked(self, work: TaskGraph) -> Followed:
        assert isinstance(work, ReplayGraph)
        return Followed(self.learner, len(self.network.devices), work, self.course, self.same_costs)
