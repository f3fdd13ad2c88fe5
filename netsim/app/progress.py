"""Shows a person, or a script, how far a simulation is."""

from __future__ import annotations

import json
import math
import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from netsim.events import Observer
from netsim.records.run_folder import plain
from netsim.records.totals import Totals


def hours(seconds: float) -> str:
    """Write a simulated time for people: 21.4 h, 3.2 min, 12.0 s, 17 ms; ∞ for what never ended."""
    if math.isinf(seconds):
        return "∞"
    if seconds >= 3600:
        return f"{seconds / 3600:.2f} h"
    if seconds >= 60:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.3g} s" if seconds >= 0.1 or not seconds else f"{1e3 * seconds:.3g} ms"


def joules(energy_j: float) -> str:
    """Write an energy for people: 17.6 kJ, 215 J, 12 mJ, 7 µJ."""
    for scale, unit in ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ")):
        if energy_j >= scale:
            return f"{energy_j / scale:.3g} {unit}"
    return f"{energy_j:.3g} J"


class Screen(Observer):
    """A progress line: round, simulated and wall time, mean energy, accuracy or the first metric, time left."""

    def __init__(self, console: Console, totals: Totals, rounds: int) -> None:
        self._totals = totals
        self._progress = Progress(
            TextColumn("round"),
            MofNCompleteColumn(),
            BarColumn(bar_width=8),
            TextColumn("{task.fields[state]}"),
            TextColumn("wall"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=4,
        )
        self._task = self._progress.add_task("run", total=rounds, state="")

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Move on."""
        totals = self._totals
        # Short enough, with everything else, for a terminal of eighty columns.
        state = f"{hours(time_s)}, {joules(totals.closed_energy_j)}"
        if by_round := totals.mean_accuracy():
            state += f", acc. {100 * by_round[max(by_round)]:.1f} %"
        elif metrics := totals.metrics:
            name, by_modality = next(iter(metrics.items()))
            state += f", {name} {next(iter(by_modality.values()))['last']:.3g}"
        if totals.closed_dead:
            state += f", {totals.closed_dead} dead"
        self._progress.update(self._task, completed=round, state=state)


class JsonLines(Observer):
    """One JSON object per closed round on standard output, for scripts."""

    def __init__(self, console: Console, totals: Totals) -> None:
        self._console = console
        self._totals = totals
        self._begin = time.monotonic()

    def say(self, value: dict[str, Any]) -> None:
        """Print one object on one line."""
        self._console.out(json.dumps(plain(value)), highlight=False)

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Print the state after ``round``."""
        by_round = self._totals.mean_accuracy()
        self.say(
            {
                "event": "round",
                "round": round,
                "simulated_s": time_s,
                "wall_s": round_wall(time.monotonic() - self._begin),
                "accuracy": by_round[max(by_round)] if by_round else None,
                "metrics": {
                    name: {modality: ends["last"] for modality, ends in by_modality.items()}
                    for name, by_modality in self._totals.metrics.items()
                },
                "mean_energy_j": self._totals.closed_energy_j,
                "dead": self._totals.closed_dead,
            }
        )


def round_wall(seconds: float) -> float:
    """Round a wall time [s] down to milliseconds."""
    return int(seconds * 1000) / 1000
