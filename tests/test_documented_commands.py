"""Every command that a page shows is one that the program takes, with keys that scenarios have."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from analysis.__main__ import app as analysis
from netsim.app.cli import app as netsim
from netsim.scenario.loading import load_plan

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^(?:error: .*)?(?:\$ )?python -m (netsim|analysis) (.*)$")


def commands():
    """Commands in blocks of code: page, program, words; a line that ends with a backslash goes on."""
    for page in PAGES:
        for block in re.findall(r"```\w*\n(.*?)```", page.read_text(), re.DOTALL):
            lines = iter(block.replace("\\\n", " ").splitlines())
            for line in lines:
                if found := COMMAND.match(line.strip()):
                    told = re.sub(r"\s#.*", "", found[2])
                    while told.count("'") % 2:  # a quoted value goes on in the next line
                        told += "\n" + next(lines)
                    yield (
                        page.relative_to(ROOT).as_posix(),
                        found[1],
                        shlex.split(told.replace("<run id>", "x")),
                    )


SHOWN = list(commands())


def parsed(program, words):
    """Parse words as the program would, and run nothing; return the command's name and its values."""
    root = typer.main.get_command({"netsim": netsim, "analysis": analysis}[program])
    if program == "analysis":
        return program, root.make_context(program, list(words)).params
    context = typer.Context(root, info_name=program)
    name, command, rest = root.resolve_command(context, words)
    return name, command.make_context(name, rest, parent=context).params


def test_there_are_many():
    assert len(SHOWN) > 30
    assert {name for _, program, words in SHOWN if program == "netsim" for name in words[:1]} >= {
        *(
            "run",
            "check",
            "verify",
            "retime",
            "sweep",
            "partition",
            "list",
            "keys",
            "report",
            "compare",
            "plot",
        ),
    }


@pytest.mark.parametrize(
    ("page", "program", "words"), SHOWN, ids=[f"{page}-{place}" for place, (page, *_) in enumerate(SHOWN)]
)
def test_a_page_shows_a_command_that_the_program_takes(page, program, words):
    name, values = parsed(program, words)
    file = values.get("file")
    if name in ("run", "check", "partition") and file is not None and file.parts[0] == "scenarios":
        changes = list(values.get("settings") or [])
        changes += [f"rounds={values['rounds']}"] if values.get("rounds") is not None else []
        load_plan(ROOT / file, changes)
