"""Searches for points with Optuna: each batch of them follows from what came out of those before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from netsim.core.errors import ScenarioError
from netsim.scenario.points import Range
from netsim.scenario.sweep import Case, Cases

Numbers = Mapping[str, float | None]
"""What came out of a run, by name."""


def numbers(summary: Mapping[str, Any]) -> Numbers:
    """Return the numbers of a run's summary that a study can be about, by name."""
    found: dict[str, float | None] = {
        "hours": summary["simulated_h"],
        "joules": summary["energy_per_device_j"]["mean"],
    }
    for modality, own in summary.get("accuracy", {}).items():
        found |= {f"accuracy {modality}": own["final"], f"best accuracy {modality}": own["best"]}
    for name, by_modality in summary.get("metrics", {}).items():
        found |= {f"{name} {modality}": own["last"] for modality, own in by_modality.items()}
    return found


class Search:
    """A study on its way: a tree-structured Parzen estimator (Bergstra et al. 2011), for several aims, too.

    Points follow from the seed of the study and from what came out, never from which run ended first. So a study that
    was killed asks for the same points again, finds those that are done, and goes on.

    Args:
        cases: The sweep, which has a study.

    Raises:
        ScenarioError: Optuna is not installed.
    """

    def __init__(self, cases: Cases) -> None:
        assert cases.study is not None
        try:
            import optuna
        except ImportError:
            raise ScenarioError(
                "study: needs Optuna, which is not installed; pip install 'netsim[study]'"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._cases, self._asked, self._aims = cases, cases.study, cases.study.aims
        self._failed = optuna.trial.TrialState.FAIL
        sampler = optuna.samplers.TPESampler(seed=cases.study.seed)
        self._study = optuna.create_study(directions=list(self._aims.values()), sampler=sampler)
        self._points: dict[int, dict[str, Any]] = {}

    def batches(self, outcome: Callable[[Case], Numbers | None]) -> Iterator[list[Case]]:
        """Yield runs that are to be done before the next ones are asked for; those of a point that came before are not.

        Args:
            outcome: Returns what came out of a run; None if it failed.

        Raises:
            ScenarioError: A run is finished and has no such number as the study is about.
        """
        known: set[str] = set()
        for first in range(0, self._asked.trials, self._asked.batch):
            count = min(self._asked.batch, self._asked.trials - first)
            trials = [self._study.ask() for _ in range(count)]
            runs = []
            for trial in trials:
                point = self._points[trial.number] = self._point(trial)
                runs.append([self._cases.case(point, seed) for seed in self._cases.seeds])
            new = {case.name: case for own in runs for case in own if case.name not in known}
            known |= new.keys()
            yield [*new.values()]
            for trial, own in zip(trials, runs, strict=True):
                values = self._values([outcome(case) for case in own])
                self._study.tell(trial, values, self._failed if values is None else None)

    def _point(self, trial: Any) -> dict[str, Any]:
        point: dict[str, Any] = {}
        for key, of in self._asked.keys.items():
            if not isinstance(of, Range):
                point[key] = of[trial.suggest_categorical(key, range(len(of)))]
            elif of.whole:
                point[key] = trial.suggest_int(key, math.ceil(of.low), math.floor(of.high), log=of.log)
            else:
                point[key] = of.of(trial.suggest_float(key, of.low, of.high, log=of.log))
        return point

    def _values(self, found: Sequence[Numbers | None]) -> list[float] | None:
        """Return the medians over seeds of the numbers that the study is about; None if a run has failed."""
        values = []
        for name in self._aims:
            own = []
            for one in found:
                if one is None:
                    return None
                if name not in one:
                    raise ScenarioError(
                        f"study: {self._aims[name].replace('z', 's')}: no run has a number {name!r}; there are "
                        + ", ".join(one)
                    )
                own.append(math.nan if (value := one[name]) is None else value)
            values.append(float(np.median(own)))
        return values if np.isfinite(values).all() else None

    def best(self) -> list[dict[str, Any]]:
        """Return the best points with their numbers, in order of the first: those that no other point beats in all."""
        trials = sorted(self._study.best_trials, key=lambda trial: (trial.values, trial.number))
        rows = [
            self._points[trial.number] | dict(zip(self._aims, trial.values, strict=True)) for trial in trials
        ]
        return list({str(row): row for row in rows}.values())
