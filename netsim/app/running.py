"""Builds what a scenario says, runs it and records it: what the command and ``netsim.run`` have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

from netsim.app.build import build
from netsim.app.recorded import Ended, recorder_in, run_recorded
from netsim.app.simulation import Simulation
from netsim.app.trackers import TRACKERS, Tracker
from netsim.core.errors import ScenarioError, reason
from netsim.core.interrupts import Interrupted
from netsim.core.modules import loaded_from
from netsim.learner import Learner
from netsim.records.run_folder import MODELS, SNAPSHOTS, Recorder
from netsim.records.totals import Totals
from netsim.scenario.loading import Plan
from netsim.work.models import Keeper
from netsim.work.snapshots import Snapshots


class Running:
    """A scenario that is built, and whose records are open.

    Attributes:
        plan: The scenario.
        simulation: What runs.
        totals: Its sums so far.
        surrogate: Whether its data stands in for data that is not here.
        folder: The run's folder.
    """

    REPLAY_SHARE: ClassVar[float] = 0.01
    """Of the wall-clock time of a run, what may be spent at its end on a replay, so that retiming it begins at once."""

    REPLAY_S: ClassVar[float] = 1.5
    """Wall-clock time that a short replay takes [s]: runs whose share is less are not replayed."""

    def __init__(
        self,
        plan: Plan,
        cache: Path,
        say: Callable[[str], None],
        recorded: Callable[[Simulation], tuple[Totals, Recorder]],
    ) -> None:
        """Build it, and open its records.

        Args:
            plan: The scenario.
            cache: Folder for pre-processed and generated data.
            say: Shows the user a message about a long task.
            recorded: Lets totals and a recorder watch it.

        Raises:
            ScenarioError: It cannot be built or recorded.
        """
        begin = time.perf_counter()
        self.plan, self._cache = plan, cache
        try:
            self.simulation = build(plan, cache, say)
        except OSError as error:
            raise ScenarioError(
                f"{error.filename or cache}: {reason(error)}; --cache names the folder for prepared data"
            ) from error
        self.surrogate = bool(self.simulation.learner.facts().get("data", {}).get("surrogate"))
        self.totals, self._recorder = recorded(self.simulation)
        self.folder, scenario = self._recorder.folder, plan.scenario
        if scenario.snapshots.every != "off":
            self.simulation.snapshots = Snapshots(
                self.folder / SNAPSHOTS,
                own_packages(plan.own),
                scenario.snapshots.every,
                scenario.rounds if scenario.snapshots.keep else 0,
            )
        if (keep := scenario.models.keep) != "none":
            self.simulation.keeper = self._keeper(keep)
        self._build_s = time.perf_counter() - begin

    def _keeper(self, keep: Literal["last", "best", "all"]) -> Keeper:
        """Return what keeps the models.

        Raises:
            ScenarioError: There is no accuracy to choose the best by, or the learner keeps no models.
        """
        learner, file = self.simulation.learner, self.plan.file
        name, every = self.plan.parts["learner"].name, self.plan.scenario.models.every
        if type(learner).model is Learner.model:
            raise ScenarioError(f"{file}: models.keep: learner {name!r} has no models to keep; use none")
        if keep == "best" and "accuracy" not in learner.METRICS:
            raise ScenarioError(
                f"{file}: models.keep: learner {name!r} has no metric 'accuracy', by which the best models are chosen; "
                "use last or all"
            )
        every = every or (None if keep == "last" else 1)
        return Keeper(self.folder / MODELS, keep, every, {"learner": name, "run": self.folder.name})

    def track(self, names: Sequence[str]) -> list[Tracker]:
        """Make trackers watch the run, and return them; who calls this closes them.

        Raises:
            ScenarioError: One cannot begin.
        """
        settings = self.plan.scenario.model_dump(mode="json")
        trackers: list[Tracker] = []
        for name in names:
            try:
                trackers.append(TRACKERS[name](self.totals, self.folder, settings))
            except Exception as error:
                raise ScenarioError(f"--track {name}: {' '.join(str(error).split())}") from error
            self.simulation.watch(trackers[-1])
        return trackers

    @classmethod
    def new(
        cls, plan: Plan, cache: Path, runs: Path, run_id: str | None, say: Callable[[str], None]
    ) -> Running:
        """Build a new run and make its folder, ``run_id`` in ``runs``; without an id, its name is time and seed."""
        return cls(plan, cache, say, lambda simulation: recorder_in(runs, run_id, simulation))

    def run(self, screen: AbstractContextManager[Any]) -> Ended:
        """Run it with ``screen`` open, and end its records whatever it ends with.

        Raises:
            ScenarioError: Its records could not be written.
            Exception: Any other that ended it, but for an interrupt, which :attr:`Ended.error` has.
        """
        ended = run_recorded(
            self.simulation, self.totals, self._recorder, screen, self.surrogate, self._build_s
        )
        problem = self._recorder.problem
        if problem is not None and not self.folder.is_dir():
            raise ScenarioError(f"{self.folder}: was removed while the run went on; run it again")
        if problem is not None and ended.status != "finished":
            raise ScenarioError(
                f"{self.folder}: cannot be written ({reason(problem)}); the records there are "
                f"readable up to {self.far(ended)}; make room and go on with netsim resume {self.folder}, or "
                "choose another disk with --runs and run again"
            )
        if ended.status == "failed" and ended.error:
            raise ended.error
        within_s = (self._build_s + ended.run_s) * self.REPLAY_SHARE
        if ended.status == "finished" and not problem and within_s > self.REPLAY_S:
            with suppress(Interrupted):  # the run is recorded
                from netsim.app.retime import prepare_to_retime

                ends = self.totals.outcomes["finished"]
                prepare_to_retime(self.folder, self._cache, self.totals.means, ends, within_s)
        return ended

    def far(self, ended: Ended) -> str:
        """Say how far the records on disk reach."""
        return f"round {ended.safe_rounds} of {self.plan.scenario.rounds}"

    def notes(self, ended: Ended) -> list[str]:
        """Return what its user should know of how it ended, a sentence each."""
        found = []
        problem, protocol = self._recorder.problem, self.plan.parts["protocol"].name
        if problem is not None:
            found.append(
                f"{self.folder}: no room to merge the tables ({reason(problem)}); they "
                "stay folders of parts, which are complete and are read like files"
            )
        alive = any(device.alive for device in self.simulation.network.devices)
        if ended.status == "finished" and not self.totals.rounds_closed and alive:
            found.append(
                f"protocol {protocol!r} closed no round, so none counts as finished; it "
                "should call self.work.close(round, self.network.env.now) for each, when nobody is in it any more"
            )
        return [*found, *ended.notes]


def own_packages(folders: Collection[Path]) -> frozenset[str]:
    """Return the packages whose classes results may have: this program's, and those of a user's own ``folders``."""
    return frozenset({name.partition(".")[0] for name in loaded_from(folders)} | {"netsim", "learners"})
