"""Refuses metrics that the learner has not declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netsim.core.errors import ScenarioError
from netsim.events import MetricRow, Observer
from netsim.learner import Learner


class Declared(Observer):
    """Checks that each metric is one of ``METRICS`` of ``learner``, or of the protocol: one of ``declared``."""

    def __init__(self, learner: Learner, declared: Mapping[str, str]) -> None:
        self._learner = learner
        self._declared = declared

    def on_metrics(self, rows: Sequence[MetricRow]) -> None:
        """Look at the rows of a round.

        Raises:
            ScenarioError: One has a name that is not declared.
        """
        own = ", ".join(self._learner.METRICS) or "none"
        for row in rows:
            if row.name not in self._declared:
                raise ScenarioError(
                    f"learner: metric {row.name!r} of node {row.device}, round {row.round}, is not in "
                    f"{type(self._learner).__name__}.METRICS, which has {own}; add it there, "
                    "with a line of explanation"
                )
