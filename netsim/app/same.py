"""Checks that a replay is that of the run that was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from netsim.app.replayed import Replay
from netsim.core.errors import ScenarioError
from netsim.events import Observer, RoundRow
from netsim.records.reader import read_columns
from netsim.records.run_folder import plain
from netsim.replay.results import CRUMB


def check_data_of(metadata: Mapping[str, Any], first: Replay) -> None:
    """Check that the data that the learner finds is what the run learnt from.

    Raises:
        ScenarioError: It is another set, or stands in for it.
    """
    found = plain(first.learner.facts()).get("data") or {}
    for key in ("name", "surrogate"):
        was, now = (metadata.get("data") or {}).get(key), found.get(key)
        if was != now:
            raise ScenarioError(
                f"{first.plan.file}: data: its {key} was {was!r} in the run, and here it is {now!r}; who has how many "
                "samples follows from the data, so it must be here, as it was"
            )


def check_networks(first: Replay, second: Replay) -> None:
    """Check that the devices hear the same others, and train the same networks.

    Raises:
        ScenarioError: They do not.
    """
    if first.learner.setup.networks != second.learner.setup.networks:
        raise ScenarioError("--set: devices.classes: other networks would learn; use netsim run")
    if first.network.motion is not None:
        return  # whom devices meet is part of the course
    edges = [{tuple(sorted(edge)) for edge in one.network.first.graph.edges} for one in (first, second)]
    for a, b in sorted(edges[0] ^ edges[1]):
        words = "would hear each other" if (a, b) in edges[1] else "would not hear each other any more"
        raise ScenarioError(
            f"--set: devices {a} and {b} {words}, so something else would be learnt; use netsim run"
        )


class Rounds(Observer):
    """Keeps the rounds of the first replay."""

    def __init__(self) -> None:
        self._rows: list[RoundRow] = []

    def on_round_end(self, row: RoundRow, iterations: Mapping[str, int]) -> None:
        """Keep a row."""
        self._rows.append(row)

    def compare(self, folder: Path) -> None:
        """Compare the rows with those of the run in ``folder``, up to rounding.

        Raises:
            ScenarioError: They differ.
        """
        recorded = read_columns(folder, "rounds")
        wrong = "" if len(self._rows) == len(recorded[0]) else "has another number of rows"
        for name, mine, theirs in zip(
            RoundRow._fields, zip(*self._rows, strict=True), recorded, strict=False
        ):
            if wrong:
                break
            if name == "outcome":
                same = np.array(mine) == np.array(theirs)
            else:
                same = np.isclose(mine, theirs, rtol=CRUMB, atol=0, equal_nan=True)
            for place in np.flatnonzero(~same)[:1].tolist():
                row = self._rows[place]
                wrong = f"round {row.round}, device {row.device}: {name} is {theirs[place]}, and now {mine[place]}"
        if wrong:
            raise ScenarioError(
                f"{folder}/rounds.parquet: {wrong}, without any change: the program, its learner or its data are not "
                "those of the run (metadata.json: commit, versions, data); run it anew"
            )
