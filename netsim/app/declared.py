"""Refuses what a learner or a protocol reports and has not declared: other metrics, and rows that are none."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import get_type_hints

import numpy as np
import simpy

from netsim.core.asking import wrong
from netsim.core.errors import ScenarioError
from netsim.core.own_code import is_own
from netsim.events import MetricRow, Observer, RoundBatch, RoundRow
from netsim.learner import Learner
from netsim.protocols.protocol import Protocol

_FITS: Mapping[type, tuple[type, ...]] = {
    int: (int, np.integer),
    float: (int, float, np.integer, np.floating),
    str: (str,),
}
_NAMES: Mapping[type, str] = {int: "a whole number", float: "a number", str: "a text"}


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


class DeclaredRows(Observer):
    """Checks that rows of rounds have what their columns say, where ``protocol`` is a user's own."""

    def __init__(self, protocol: type[Protocol]) -> None:
        self._protocol = protocol
        self._columns = get_type_hints(RoundRow) if is_own(protocol) else {}

    def on_rounds(self, batch: RoundBatch) -> None:
        """Look at the columns.

        Raises:
            ScenarioError: One has another type.
        """
        for (name, kind), value in zip(self._columns.items(), batch.columns, strict=False):
            if isinstance(value, (np.ndarray, *_FITS[kind])):
                continue
            what = "a generator: is a yield from missing?" if inspect.isgenerator(value) else f"{value!r:.80}"
            row = batch.columns
            raise ScenarioError(
                f"protocol: {self._protocol.__name__} gives a RoundRow of device {row.device}, round {row.round}, "
                f"whose {name} must be {_NAMES[kind]} (got {what})"
            )


def end_of(protocol: Protocol) -> simpy.Event:
    """Let ``protocol`` start, and return the event at which the run ends.

    Raises:
        ScenarioError: It has returned something else.
    """
    end = protocol.start()
    if not isinstance(end, simpy.Event):
        raise wrong(
            f"protocol: {type(protocol).__name__}.start", "the SimPy event at which the run ends", end
        )
    return end
