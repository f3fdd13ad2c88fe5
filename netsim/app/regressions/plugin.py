"""The pytest plugin: ``pytest --netsim scenarios/`` runs scenarios and compares their numbers with stored ones."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("netsim", "regressions of netsim scenarios")
    group.addoption(
        "--netsim",
        action="append",
        default=[],
        metavar="FOLDER",
        help="run the scenarios of this folder, as expected/regressions.yaml says, and compare them with expected/",
    )
    group.addoption("--netsim-regen", action="store_true", help="store the numbers that the runs give")
    group.addoption(
        "--netsim-cache", metavar="FOLDER", help="folder for prepared data; default: in pytest's cache"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make pytest look into the folders that ``--netsim`` names, beside its own."""
    for folder in config.getoption("--netsim"):
        if not (config.rootpath / folder).is_dir() and not Path(folder).is_dir():
            raise pytest.UsageError(f"--netsim: {folder}: no such folder")
    config.args.extend(folder for folder in config.getoption("--netsim") if folder not in config.args)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Return a collector for a scenario in one of the folders, if the plan of its folder names it."""
    folders = {Path(folder).resolve() for folder in parent.config.getoption("--netsim")}
    if file_path.suffix != ".yaml" or file_path.parent.resolve() not in folders:
        return None
    collector: pytest.Collector = ScenarioFile.from_parent(parent, path=file_path)
    return collector


class ScenarioFile(pytest.File):
    """A scenario; it is one test."""

    def collect(self) -> Iterable[pytest.Item]:
        """Return the scenario's regression, if the plan has it."""
        from netsim.core.errors import ScenarioError
        from netsim.scenario.regressions import read_plan

        try:
            plan = read_plan(self.path.parent)
        except ScenarioError as error:
            raise self.CollectError(str(error)) from None
        if plan.scenarios is None or self.path.stem in plan.scenarios:
            yield Regression.from_parent(self, name=self.path.stem, plan=plan)


class Wrong(Exception):
    """Numbers that are not those stored, or a scenario that does not run; the message is for people."""


class Regression(pytest.Item):
    """A scenario that is run and compared.

    Args:
        plan: The plan of its folder.
    """

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._plan = plan

    def runtest(self) -> None:
        """Run the scenario, one job at a time, and compare its numbers, or store them."""
        from netsim.app.python import run
        from netsim.app.regressions.numbers import gaps, numbers_of, read_stored, store, table
        from netsim.core.errors import ScenarioError
        from netsim.scenario.regressions import STORED, TOLERANCES, Case
        from netsim.scenario.sweep import ONE_CORE

        case = (self._plan.scenarios or {}).get(self.path.stem, Case())
        if case.needs and not (self.path.parent / case.needs).is_dir():
            pytest.skip(f"{self.path.stem} needs {case.needs}, which is not here")
        stored = self.path.parent / STORED / f"{self.path.stem}.json"
        try:
            before = {} if self.config.getoption("--netsim-regen") else read_stored(stored)
            settings = ONE_CORE | self._plan.set | case.set
            with tempfile.TemporaryDirectory(prefix="netsim-") as runs:
                done = run(self.path, set=settings, runs=runs, cache=self._cache(), quiet=True)
                found = numbers_of(done.summary or {})
        except ScenarioError as error:
            raise Wrong(str(error)) from None
        if self.config.getoption("--netsim-regen"):
            store(stored, found)
            return
        wrong = gaps(before, found, TOLERANCES | self._plan.tolerances | case.tolerances)
        if wrong:
            raise Wrong(
                f"{self.path.name}: {len(wrong)} of {len(found)} numbers are not those stored in {stored.name}\n"
                f"{table(wrong)}\nif this is meant: pytest --netsim-regen, and say why where you commit it"
            )

    def _cache(self) -> Path:
        """Return the folder for prepared data: as the option says, or in pytest's own cache, for the next time."""
        said = self.config.getoption("--netsim-cache")
        kept = getattr(self.config, "cache", None)  # there is none with -p no:cacheprovider
        return Path(kept.mkdir("netsim")) if kept and not said else Path(said or ".cache")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the message alone where it is one for people."""
        return (
            str(excinfo.value) if isinstance(excinfo.value, Wrong) else super().repr_failure(excinfo, style)
        )

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return what the report calls the test."""
        return self.path, None, f"scenario {self.name}"
