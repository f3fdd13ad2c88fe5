"""Results of a run that was recorded: what it has learnt."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from netsim.core.errors import ScenarioError
from netsim.events import AnswerRow, MetricRow
from netsim.learner import Metric
from netsim.work.answers import value_of

CRUMB = 1e-9
"""Relative difference that another processor's rounding may make."""


@dataclass
class Measurement:
    """One measurement of a node in a round.

    Attributes:
        time_s: When it was made in the run [s].
        count: Number of its values; None where only learning knows.
        values: Its values.
        joined: Whether its values are with the next measurement, which was made at the same time.
    """

    time_s: float
    count: int | None
    values: Sequence[Metric] = ()
    joined: bool = False


@dataclass
class Results:
    """Metrics and answers of a run, found by who asks for them.

    They are asked for twice. The first time the clock is that of the run, and each measurement gets the values recorded
    at its time, each answer its turn. The second time they are given out, whatever the clock says.

    Attributes:
        metrics: Rows of the table ``metrics``.
        answers: Rows of the table ``answers``.
    """

    metrics: Iterable[MetricRow]
    answers: Sequence[AnswerRow]
    _measured: defaultdict[tuple[int, int], list[Measurement]] = field(
        default_factory=lambda: defaultdict(list), init=False
    )
    _given: defaultdict[tuple[int, int], list[float]] = field(
        default_factory=lambda: defaultdict(list), init=False
    )
    _answered: dict[Hashable, Any] = field(default_factory=dict, init=False)
    _settled: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._turn = iter(self.answers)

    def values(self, node: int, round: int, time_s: float, count: int | None) -> Sequence[Metric]:
        """Return the values of the next measurement of ``node`` for ``round``; nothing yet in the first replay.

        Args:
            node: A device, the server, or -1.
            round: The round.
            time_s: Simulated time of the measurement [s].
            count: Number of values; None if it is not known.
        """
        measured = self._measured[node, round]
        if not self._settled:
            measured.append(Measurement(time_s, count))
            return ()
        given = self._given[node, round]
        place = len(given)
        given.append(time_s)
        if place and measured[place - 1].joined and measured[place].values and given[place - 1] != time_s:
            raise ScenarioError(
                f"round {round}, node {node}: the records cannot tell which of two measurements has which values, for "
                "both were made at the same time; now they are not"
            )
        return measured[place].values

    def answer(self, asked: Hashable) -> tuple[AnswerRow, Any]:
        """Return the row with the learnt value that is ``asked`` for, and the value.

        Raises:
            ScenarioError: The records do not have it.
        """
        if not self._settled:
            self._answered[asked] = next(self._turn, None)
        try:
            row = self._answered[asked]
            return row, value_of(row.value)
        except (KeyError, AttributeError, ValueError):
            raise ScenarioError(
                "the learner asks for a value that was learnt (work.value), which decides how the clock goes on, and "
                "the run's records do not have it (table answers)"
            ) from None

    def settle(self) -> None:
        """Give each measurement of the first replay the values that were recorded at its time.

        Raises:
            ScenarioError: There are others.
        """
        rows: defaultdict[tuple[int, int], list[MetricRow]] = defaultdict(list)
        for row in self.metrics:
            rows[row.device, row.round].append(row)
        for key in {**rows, **self._measured}:
            left = rows[key]
            for time_s, group in groupby(self._measured[key], lambda one: one.time_s):
                here = [row for row in left if math.isclose(row.time_s, time_s, rel_tol=CRUMB)]
                left = left[len(here) :]
                if not _shared_out(here, list(group)):
                    left = here
                    break
            if left:
                raise ScenarioError(
                    f"metrics.parquet: round {key[1]}, device {key[0]}: {left[0].name!r} at {left[0].time_s:g} s is no "
                    "measurement that this version of the program, or of the learner, makes"
                )
        self._settled = True


def _shared_out(rows: Sequence[MetricRow], group: Sequence[Measurement]) -> bool:
    """Give measurements of the same time their values; return whether that is possible.

    If several do not know how many they have, the last gets all.
    """
    values = [Metric(row.name, row.value, row.modality) for row in rows]
    known = sum(one.count or 0 for one in group)
    unknown = [one for one in group if one.count is None]
    rest = len(values) - known
    if rest < 0 or (rest and (not unknown or (known and len(unknown) > 1))):
        return not rows
    for one in group:
        one.joined = one.count is None and one is not unknown[-1]
        count = one.count if one.count is not None else 0 if one.joined else rest
        one.values, values = values[:count], values[count:]
    return True
