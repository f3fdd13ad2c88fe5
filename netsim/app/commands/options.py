"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from netsim.scenario.loading import Plan

ScenarioFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A scenario, e.g. scenarios/two_devices.yaml.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the scenario, e.g. --set learner.alpha_kd=0.5. Can be given several times.",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Change the scenario's seed.")]
Rounds = Annotated[int | None, typer.Option(help="Change the scenario's number of rounds.")]
Cache = Annotated[
    Path,
    typer.Option(
        envvar="NETSIM_CACHE", help="Folder for pre-processed and generated data.", show_default=True
    ),
]
Runs = Annotated[Path, typer.Option(help="Folder that run folders are made in.")]
Plots = Annotated[bool, typer.Option(help="Draw the run's plots at the end.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the run's folder and nothing else.")]


def planned(
    file: Path, settings: list[str] | None, seed: int | None, rounds: int | None, screen: Console
) -> Plan:
    """Return the scenario in ``file``, checked, with its keys changed as options say."""
    from netsim.scenario.loading import load_plan

    changes = list(settings or [])
    changes += [f"seed={seed}"] if seed is not None else []
    changes += [f"rounds={rounds}"] if rounds is not None else []
    return load_plan(file, changes, lambda text: screen.print(text, markup=False, soft_wrap=True))
