"""Runs the scenarios about energy, and draws the figures of docs/guides/energy.md.

python benchmarks/energy.py --figures docs/figures --runs runs
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import typer

import netsim
from analysis.runs.run import Run
from netsim.app.retime import retime

SCENARIOS = Path(__file__).parent.parent / "scenarios"
SPENT = ("compute", "sending", "receiving", "idle")


def run(runs: Path, name: str, run_id: str, **keys: Any) -> Run:
    """The run of a shipped scenario, made if it is not there."""
    folder = runs / name / run_id
    if (folder / "checksums.sha256").is_file():
        return netsim.load(folder)
    changes = {key.replace("__", "."): value for key, value in keys.items()}
    return netsim.run(SCENARIOS / f"{name}.yaml", set=changes, runs=runs, run_id=run_id, quiet=True)


def accuracy(one: Run) -> Any:
    """Mean accuracy over devices by round, of those that are there."""
    rows = one.metrics[(one.metrics["name"] == "accuracy") & (one.metrics["device"] >= 0)]
    return rows.groupby("round")["value"].mean()


def battery_death(runs: Path, axes: Any) -> None:
    """Accuracy over rounds with and without the deaths."""
    cases: dict[str, dict[str, Any]] = {
        "nobody dies": {"devices__overrides": []},
        "four die": {},
    }
    for place, (label, keys) in enumerate(cases.items()):
        one = run(runs, "battery_death", f"energy-{place}", **keys)
        curve = accuracy(one)
        axes[0].plot(curve.index, 100 * curve, label=label)
        typer.echo(
            f"battery_death, {label}: {100 * curve.iloc[-1]:.1f} %, dead {one.summary['dead_devices']}"
        )
        there = one.rounds[one.rounds["outcome"] == "finished"].groupby("round").size()
        axes[1].step(there.index, there, where="mid", label=label)
    axes[0].set(xlabel="round", ylabel="mean accuracy of those that are there [%]")
    axes[1].set(xlabel="round", ylabel="devices that finish the round", ylim=(0, 12.5))
    axes[0].legend(fontsize=8)


def solar_sensors(runs: Path, axes: Any) -> None:
    """Charge over two days, and rounds done by hour, for two batteries."""
    for place, capacity_j in enumerate((120, 400)):
        one = run(
            runs,
            "solar_sensors",
            f"energy-{capacity_j}",
            devices__battery={"capacity_j": capacity_j, "revive_at": 0.2},
        )
        rows = one.spending.sort_values("end_s")
        for device, own in rows.groupby("device"):
            axes[place].plot(
                12 + own["end_s"] / 3600, own["battery_j"] / capacity_j * 100, lw=0.6, color=f"C{device}"
            )
        done = (one.rounds["outcome"] == "finished").sum() / (96 * 8)
        last = accuracy(one).iloc[-1]
        harvested = one.charges[["harvested_j", "wasted_j"]].sum() / 8
        axes[place].set(
            xlabel="time of day [h]",
            ylabel="charge [%]",
            title=f"{capacity_j} J: {100 * done:.0f} % of all rounds done",
            xticks=np.arange(12, 61, 12),
        )
        typer.echo(
            f"solar, {capacity_j} J: {done:.3f} of the rounds, {100 * last:.1f} %, {harvested.to_dict()}"
        )


def dvfs_deadline(runs: Path, axes: Any) -> None:
    """Energy of a device by governor and static power, from one training."""
    one = run(runs, "dvfs_deadline", "energy")
    names = {"just in time": [], "race to idle": ["governor=race_to_idle", "compute_deadline_s=null"]}
    for place, static_w in enumerate((0.1, 2.0)):
        for bar, (label, settings) in enumerate(names.items()):
            words = [f"devices.processor.{text}" for text in [*settings, f"static_power_w={static_w}"]]
            folder = one.folder
            if settings or static_w != 0.1:
                target = runs / "dvfs_deadline" / f"energy-{static_w}-{bar}"
                if not target.is_dir():
                    words = words if static_w != 0.1 else words[:-1]
                    retime(one.folder, words, runs, target.name, Path(".cache"), lambda text: None)
                folder = target
            energy = netsim.load(folder).summary["energy_per_device_j"]  # type: ignore[index]
            bottom = 0.0
            for color, part in enumerate(SPENT):
                axes[place].bar(
                    label, energy[part], bottom=bottom, color=f"C{color}", label=part if not bar else None
                )
                bottom += energy[part]
            typer.echo(
                f"dvfs, static {static_w} W, {label}: {energy['mean']:.2f} J, computing {energy['compute']:.2f} J"
            )
        axes[place].set(ylabel="energy of a device [J]", title=f"static power {static_w:g} W")
    axes[0].legend(fontsize=8)


FIGURES = {one.__name__: one for one in (battery_death, solar_sensors, dvfs_deadline)}


def main(
    figures: Annotated[Path, typer.Option(help="folder for <scenario>.png")] = Path("docs/figures"),
    runs: Annotated[Path, typer.Option(help="folder for runs")] = Path("runs"),
    only: Annotated[str, typer.Option(help="names of scenarios, with commas; all unless said")] = "",
) -> None:
    """Run the scenarios and draw the figures."""
    for name in only.split(",") if only else FIGURES:
        figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
        FIGURES[name](runs, axes)
        figure.savefig(figures / f"{name}.png", dpi=110)
        plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
