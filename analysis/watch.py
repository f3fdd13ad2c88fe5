"""Looks at a run that goes on elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from analysis.runs.files import RunError
from analysis.runs.run import Run, load_run
from analysis.tables import accuracy_by_round, energy_by_category

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60
GONE_S = 30.0
"""A run that says it is running, and wrote nothing for so long, may have been killed [s]; the watcher says so."""


def watch(folder: Path, out: Console, every_s: float, once: bool) -> None:
    """Show a run until it ends, looking every ``every_s`` seconds of real time; with ``once`` show it once.

    Raises:
        RunError: It is no run's folder.
    """
    run = _steady(folder)
    if once or run.metadata.get("status") != "running":
        out.print(view(run))
        return
    with Live(view(run), console=out, auto_refresh=False) as live:
        while run.metadata.get("status") == "running":
            time.sleep(every_s)
            run = _steady(folder)
            live.update(view(run), refresh=True)


def _steady(folder: Path) -> Run:
    """Return the records of a run that is being written to: a part may take another's place while they are read."""
    for _ in range(5):
        try:
            return load_run(folder)
        except RunError:
            if not (folder / "metadata.json").is_file():
                raise
            time.sleep(0.2)
    return load_run(folder)


def view(run: Run) -> Group:
    """Return what is shown of a run: how far it is, accuracy, simulated time, energy, who is dead."""
    lines = [Text(f"{run.name}  {run.learner}, seed {run.seed}: {run.progress}", style="bold")]
    quiet_s = time.time() - max((file.stat().st_mtime for file in run.folder.rglob("*")), default=time.time())
    if run.metadata.get("status") == "running" and quiet_s > GONE_S:
        lines.append(
            Text(f"nothing was written for {quiet_s:.0f} s; it may have been killed", style="yellow")
        )
    for modality, curve in accuracy_by_round(run).groupby("modality", sort=False):
        values = curve["mean"].to_numpy()
        text = f"{modality!s:<10} {100 * values[-1]:5.1f} %  {sparkline(values.tolist())}"
        lines.append(Text(text))
    if len(run.spending):
        hours = float(run.spending["end_s"].max()) / 3600
        spent = energy_by_category(run)["total_j"]
        lines.append(
            Text(f"{hours:.4g} simulated hours, {spent.mean():.4g} J a device (most {spent.max():.4g} J)")
        )
    if run.dead:
        lines.append(Text(f"batteries that ran out: {', '.join(map(str, run.dead[:20]))}", style="red"))
    return Group(*lines)


def sparkline(values: list[float]) -> str:
    """Return values as small bars, the last :data:`WIDTH` of them, from the lowest to the highest."""
    shown = values[-WIDTH:]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(BARS[min(len(BARS) - 1, int(len(BARS) * (value - low) / span))] for value in shown)
