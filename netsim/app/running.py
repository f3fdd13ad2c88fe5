"""Builds what a scenario says, runs it and records it: what the command and ``netsim.run`` have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from netsim.app.build import build
from netsim.app.recorded import Ended, recorder_in, run_recorded
from netsim.app.trackers import TRACKERS, Tracker
from netsim.core.errors import ScenarioError, reason
from netsim.scenario.loading import Plan


class Running:
    """A scenario that is built, and whose records are open.

    Attributes:
        plan: The scenario.
        simulation: What runs.
        totals: Its sums so far.
        surrogate: Whether its data stands in for data that is not here.
        folder: The run's folder.
    """

    def __init__(
        self, plan: Plan, cache: Path, runs: Path, run_id: str | None, say: Callable[[str], None]
    ) -> None:
        """Build it, and make its folder.

        Args:
            plan: The scenario.
            cache: Folder for pre-processed and generated data.
            runs: Folder that run folders are made in.
            run_id: Name of the run's folder; None for time and seed.
            say: Shows the user a message about a long task.

        Raises:
            ScenarioError: It cannot be built, or its folder cannot be made.
        """
        begin = time.perf_counter()
        self.plan = plan
        try:
            self.simulation = build(plan, cache, say)
        except OSError as error:
            raise ScenarioError(
                f"{error.filename or cache}: {reason(error)}; --cache names the folder for prepared data"
            ) from error
        self.surrogate = bool(self.simulation.learner.facts().get("data", {}).get("surrogate"))
        self.totals, self._recorder = recorder_in(runs, run_id, self.simulation)
        self.folder = self._recorder.folder
        self._build_s = time.perf_counter() - begin

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
                f"readable up to {self.far(ended)}; make room, or choose another disk with --runs, and run again"
            )
        if ended.status == "failed" and ended.error:
            raise ended.error
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
