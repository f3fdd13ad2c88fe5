"""The summary of a run in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from netsim.app.recorded import Ended

MOST_SHOWN = 12
"""Numbers of one metric that are shown."""


def print_summary(
    out: Console,
    ended: Ended,
    folder: Path,
    facts: Mapping[str, Any],
    explained: Mapping[str, str],
) -> None:
    """Print a run's numbers, how its tasks were run, and where its records are.

    Args:
        out: The terminal.
        ended: How the run ended.
        folder: The run's folder.
        facts: How tasks were run.
        explained: A line of explanation for each metric.
    """
    from rich.markup import escape
    from rich.table import Table

    from netsim.app.progress import hours, joules

    summary, run_s, work_s = ended.summary, ended.run_s, ended.work_s
    energy = summary["energy_per_device_j"]
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    how = f"stopped: {summary['stopped']}" if summary.get("stopped") else ended.status
    table.add_row("rounds", escape(f"{summary['rounds_finished']} of {summary['rounds']} ({how})"))
    table.add_row("simulated time", hours(summary["simulated_s"]))
    if summary["round_s"]:
        spread = summary["round_s"]
        table.add_row("round", _median_and_tail(spread))
    for kind, values in summary["accuracy"].items():
        note = "  (surrogate data)" if summary["surrogate_data"] else ""
        table.add_row(
            escape(f"accuracy, {kind}") if len(summary["accuracy"]) > 1 else "accuracy",
            f"{100 * values['final']:.1f} %, best {100 * values['best']:.1f} % in round {values['best_round']}{note}",
        )
    if summary["accuracy"]:
        _add_in_short(table, summary["metrics"])
    else:
        for name, by_modality in summary["metrics"].items():
            meaning = f", {explained[name]}" if explained.get(name) else ""
            table.add_row(escape(name), escape(_first_to_last(by_modality) + meaning))
    parts = ", ".join(
        f"{c} {joules(energy[c])}" for c in ("compute", "sending", "receiving", "idle") if energy[c]
    )
    table.add_row("energy a device", f"mean {joules(energy['mean'])} ({parts or 'nothing'})")
    table.add_row("", f"{joules(energy['min'])} to {joules(energy['max'])}")
    if summary["airtime_s"]:
        spread = summary["airtime_s"]
        count = sum(summary["transfers"].values())
        table.add_row(
            "transfers",
            f"{count:,}, {summary['transfers'].get('delivered', 0) / count:.1%} delivered; "
            f"airtime {_median_and_tail(spread)}",
        )
    for dead in summary["dead_devices"]:
        table.add_row("died", f"device {dead['device']} at {hours(dead['time_s'])}")
    outside = 1 - work_s / run_s if run_s > 0 else 0.0
    table.add_row("wall time", f"{run_s:.1f} s, {100 * outside:.1f} % of it outside training and evaluation")
    for measured in facts["stacking"]["measured"]:
        times = ", ".join(f"{way} {1e3 * s:.3g} ms" for way, s in measured["seconds_per_job"].items())
        table.add_row("", escape(f"{measured['label']}: {measured['chosen']} ({times})"))
        for way, error in measured["failed"].items():
            table.add_row("", escape(f"{measured['label']}: {way} was dropped ({error})"))
    for found in facts["stacking"]["obstacles"]:
        table.add_row("", escape(f"{found['label']}: not stacked: {found['reason']}"))
    for measured in facts.get("threads", {}).get("measured", ()):
        times = ", ".join(f"{number}: {1e3 * s:.3g} ms" for number, s in measured["seconds"].items())
        table.add_row(
            "", escape(f"{measured['label']}: threads inside operators {measured['chosen']} ({times})")
        )
    forked = facts.get("forked", {})
    if forked.get("after_round") is not None:
        measured_s = [
            f"{key.removesuffix('_s').replace('_', ' ')} {1e3 * s:.3g} ms"
            for key, s in forked.items()
            if key.endswith("_s")
        ]
        times = f" (a round: {', '.join(measured_s)})" if measured_s else ""
        table.add_row("", f"learning in a process of its own from round {forked['after_round'] + 1}{times}")
    table.add_row("records", escape(str(folder)))
    out.print(table)


def print_changes(
    out: Console, changed: Mapping[str, Sequence[Any]], before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Print which keys of a run were changed, and its time and energy before and after.

    Args:
        out: The terminal.
        changed: Old and new value, by key.
        before: The summary of the run.
        after: That of the run as it would be.
    """
    from netsim.app.progress import hours, joules

    for key, (old, new) in changed.items():
        out.print(f"{key}: {old} → {new}", markup=False)
    spent = [one["energy_per_device_j"]["mean"] for one in (before, after)]
    out.print(
        f"simulated time: {hours(before['simulated_s'])} → {hours(after['simulated_s'])}, "
        f"energy a device: {joules(spent[0])} → {joules(spent[1])}"
    )


def _median_and_tail(spread_s: Mapping[str, float]) -> str:
    """Write two quantiles of times [s]: ``median 60 ms, 99 % 75.7 ms``."""
    from netsim.app.progress import hours

    tail = spread_s["q99"]
    note = " (∞: never finished)" if math.isinf(tail) else ""
    return f"median {hours(spread_s['median'])}, 99 % {hours(tail)}{note}"


def _add_in_short(table: Table, metrics: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Add what was measured besides the accuracy, side by side and without explanations."""
    from rich.columns import Columns
    from rich.text import Text

    if metrics:
        short = [Text(f"{name} {_first_to_last(ends)}") for name, ends in metrics.items()]
        table.add_row("also measured", Columns(short, padding=(0, 3, 0, 0)))
        table.add_row("", "(means over devices; python -m analysis says what each is)")


def _first_to_last(by_modality: Mapping[str, Mapping[str, float]]) -> str:
    """Write a metric's means over devices: ``2.29 → 0.142``; of very many numbers, such as a confusion's, the first."""
    shown = [
        (f"{modality} " if modality != "fused" else "") + f"{ends['first']:.3g} → {ends['last']:.3g}"
        for modality, ends in islice(by_modality.items(), MOST_SHOWN)
    ]
    more = len(by_modality) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
