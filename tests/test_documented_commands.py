"""Every command that a page shows is one that the program takes, with keys that scenarios have, and runs.

Each page's commands are typed in their order, in a folder with what the page says to save, and made short: few rounds,
little data. Pages whose commands train much are ``slow`` (CONTRIBUTING.md says how they are run).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from documented import ROOT, Command, Reader, commands
from run_folders import simulate
from warm_python import python

from analysis.__main__ import app as analysis
from netsim.app.commands.cli import app as netsim
from netsim.scenario.loading import load_plan

SHOWN = list(commands())
TYPED = {
    page: [one for one in SHOWN if one.page == page] for page in dict.fromkeys(one.page for one in SHOWN)
}
SLOW = {
    "README.md",
    "docs/guides/bring_your_own.md",
    "docs/guides/different_networks.md",
    "docs/guides/resume.md",
    "docs/guides/retime.md",
    "docs/guides/sweep.md",
    "docs/learners/compression.md",
    "docs/learners/dmml_kd.md",
    "docs/learners/fedavg.md",
    "docs/learners/fedhgb.md",
    "docs/learners/fedmd.md",
    "docs/learners/fedzkt.md",
    "docs/learners/mhd.md",
}
"""Pages whose commands take more than ten seconds together."""


def _tour(reader: Reader) -> None:
    """The README leaves it to the reader which sweep he writes: here the guide's."""
    reader.save("docs/guides/sweep.md")
    text = (reader.folder / "bandwidth.yaml").read_text()
    (reader.folder / "my_sweep.yaml").write_text(text.replace("two_devices", "scenarios/two_devices"))


def _beside_the_scenario(reader: Reader) -> None:
    (reader.folder / "two_devices.yaml").write_text((ROOT / "scenarios" / "two_devices.yaml").read_text())


def _with_runs(reader: Reader) -> None:
    """The runs that the guide to looking speaks of: two learners, two seeds."""
    simulate(reader.folder / "runs" / "two_devices" / "a", rounds=4, count=2)
    for learner in ("dmml", "dmml_kd"):
        for seed in (1, 2):
            folder = reader.folder / "runs" / "sweep" / "two_devices" / f"{learner}-{seed}"
            simulate(folder, learner=learner, seed=seed, rounds=4, count=4)


def _with_recordings(reader: Reader) -> None:
    done = python("make_recordings.py", cwd=reader.folder)
    assert done.returncode == 0, done.stderr


BEFORE: dict[str, Callable[[Reader], Any]] = {
    "README.md": _tour,
    "docs/guides/bring_your_own.md": _with_recordings,
    "docs/guides/look.md": _with_runs,
    "docs/guides/sweep.md": _beside_the_scenario,
}
"""What a page expects to be there."""


def parsed(program: str, words: tuple[str, ...]) -> tuple[str | None, dict[str, Any]]:
    """Parse words as the program would, and run nothing; return the command's name and its values."""
    root: Any = typer.main.get_command({"netsim": netsim, "analysis": analysis}[program])
    if program == "analysis":
        return program, root.make_context(program, list(words)).params
    context = typer.Context(root, info_name=program)
    name, command, rest = root.resolve_command(context, list(words))
    return name, command.make_context(name, rest, parent=context).params


def test_there_are_many() -> None:
    """All that the program can do is shown somewhere."""
    assert len(SHOWN) > 60
    shown = {one.words[0] for one in SHOWN if one.program == "netsim"}
    assert shown == {command.name or command.callback.__name__ for command in netsim.registered_commands}


@pytest.mark.parametrize("command", SHOWN, ids=[f"{one.page}-{place}" for place, one in enumerate(SHOWN)])
def test_a_page_shows_a_command_that_the_program_takes(command: Command) -> None:
    name, values = parsed(command.program, command.words)
    file = values.get("file")
    if name in ("run", "check", "partition") and file is not None and file.parts[0] == "scenarios":
        changes = list(values.get("settings") or [])
        changes += [f"rounds={values['rounds']}"] if values.get("rounds") is not None else []
        load_plan(ROOT / file, changes)


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else []) for page in TYPED]
)
def test_the_commands_of_a_page_run_one_after_the_other(
    page: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kept = getattr(request.config, "cache", None)
    reader = Reader(tmp_path, kept.mkdir("netsim") if kept else tmp_path / ".cache")
    reader.save(page)
    BEFORE.get(page, lambda _: None)(reader)
    missing = []
    for command in TYPED[page]:
        try:
            reader.type(command)
        except FileNotFoundError as data:
            missing.append(f"{command} needs {data}")
    if len(missing) == len(TYPED[page]):
        pytest.skip("; ".join(missing))


def test_lists_of_pages_have_nothing_that_is_not_there() -> None:
    assert not {*SLOW, *BEFORE} - TYPED.keys()
