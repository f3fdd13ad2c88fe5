"""Looks at a scenario or at runs, and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from netsim.app.commands.options import Rounds, ScenarioFile, Seed, Settings, planned
from netsim.app.said import said_in_short
from netsim.core.errors import ScenarioError


def check(file: ScenarioFile, settings: Settings = None, seed: Seed = None, rounds: Rounds = None) -> None:
    """Check a scenario without running it: keys, values, names, and whether its data is there."""
    errors, out = Console(stderr=True), Console(highlight=False, soft_wrap=True)
    with said_in_short(errors):
        from netsim.app.checks import check_data, check_room

        plan = planned(file, settings, seed, rounds, out)
        check_room(plan)
        check_data(plan)
    for note in plan.notes:
        errors.out(f"note: {note}", highlight=False)
    s, parts = plan.scenario, plan.parts
    out.print(
        f"{file}: ok. {s.rounds} rounds of {parts['learner'].name} on {s.devices.count} devices"
        f"{', data ' + parts['data'].name if 'data' in parts else ''}"
        f"{', partition ' + parts['partition'].name if 'partition' in parts else ''}, "
        f"channel {parts['radio.channel'].name}, access {parts['radio.access'].name}, seed {s.seed}",
        markup=False,
    )


def verify(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
) -> None:
    """Check runs: are the files those that were written, and do seconds, joules and bits add up?"""
    errors, out = Console(stderr=True), Console(highlight=False, soft_wrap=True)
    with said_in_short(errors):
        from netsim.app.analysed import wrong_with

        wrong = []
        for folder in folders:
            lines = wrong_with(folder)
            wrong += lines
            if not lines:
                out.print(f"{folder}: ok", markup=False)
        if wrong:
            raise ScenarioError("\n".join(wrong))
