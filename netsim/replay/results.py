"""Results of a run that was recorded: what it has learnt."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
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
        given_s: When it is made in the second replay [s].
        joined: The first measurement of the same moment, if the last one of it has the values of all.
    """

    time_s: float
    count: int | None
    values: Sequence[Metric] = ()
    given_s: float = math.nan
    joined: Measurement | None = None


@dataclass
class Results:
    """Metrics and answers of a run, found by who asks for them.

    They are asked for twice. The first time the clock is that of the run, and each measurement gets the values recorded
    at its time, each answer its turn. The second time they are given out, whatever the clock says.

    Attributes:
        metrics: Rows of the table ``metrics``.
        answers: Rows of the table ``answers``.
        measured: What :attr:`measurements` were in an earlier first replay, which then is not done again.
    """

    metrics: Iterable[MetricRow]
    answers: Sequence[AnswerRow]
    measured: Iterable[tuple[int, int, float, int | None]] = ()
    _measured: defaultdict[tuple[int, int], list[Measurement]] = field(
        default_factory=lambda: defaultdict(list), init=False
    )
    _answered: dict[Hashable, Any] = field(default_factory=dict, init=False)
    _settled: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._turn = iter(self.answers)
        for node, round, time_s, count in self.measured:
            self._measured[node, round].append(Measurement(time_s, count))

    @property
    def measurements(self) -> list[tuple[int, int, float, int | None]]:
        """Return the measurements of the first replay: node, round, time [s], number of values."""
        return [
            (node, round, one.time_s, one.count)
            for (node, round), all in self._measured.items()
            for one in all
        ]

    @property
    def left(self) -> bool:
        """Return whether there are values that were not given out."""
        return any(math.isnan(one.given_s) for all in self._measured.values() for one in all)

    def values(self, node: int, round: int, time_s: float, count: int | None) -> Sequence[Metric]:
        """Return the values of the next measurement of ``node`` for ``round``; nothing yet in the first replay.

        Args:
            node: A device, the server, or -1.
            round: The round.
            time_s: Simulated time of the measurement [s].
            count: Number of values; None if it is not known.
        """
        if not self._settled:
            self._measured[node, round].append(Measurement(time_s, count))
            return ()
        found = next(self._turns[node, round])
        found.given_s = time_s
        if found.joined is not None and found.joined.given_s != time_s:
            raise ScenarioError(
                f"round {round}, device {node}: measured twice in one moment of the run, and now in two moments; the "
                "records cannot tell which values are whose, so this needs netsim run"
            )
        return found.values

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
        for node, round in {**rows, **self._measured}:
            groups = [list(group) for _, group in groupby(self._measured[node, round], attrgetter("time_s"))]
            if not _share_out(rows[node, round], groups):
                raise ScenarioError(
                    f"metrics.parquet: round {round}, device {node}: these are not the measurements that this version "
                    "of the program, or of the learner, makes"
                )
        self._turns = {key: iter(measured) for key, measured in self._measured.items()}
        self._settled = True


def _share_out(rows: Sequence[MetricRow], groups: Sequence[Sequence[Measurement]]) -> bool:
    """Give each row to a measurement of its time, ``groups`` being those of one time; return whether all have fitted.

    Where several measurements of one time do not know how many values they have, the last of them gets all of these.
    """
    shares: list[list[Metric]] = [[] for _ in groups]
    for row in rows:
        gaps_s = [abs(group[0].time_s - row.time_s) for group in groups]
        if not gaps_s or min(gaps_s) > CRUMB * row.time_s:
            return False
        shares[gaps_s.index(min(gaps_s))].append(Metric(row.name, row.value, row.modality))
    for values, group in zip(shares, groups, strict=True):
        places = [place for place, one in enumerate(group) if one.count is None]
        unknown = [group[place] for place in places]
        rest = len(values) - sum(one.count or 0 for one in group)
        joined = group[0] if rest and len(unknown) > 1 else None
        if rest < 0 or (rest and not unknown) or (joined and len(places) <= places[-1] - places[0]):
            return False
        for one in group:
            one.joined, count = joined, one.count
            if count is None:
                count = rest if one is unknown[-1] else 0
            one.values, values = values[:count], values[count:]
    return True
