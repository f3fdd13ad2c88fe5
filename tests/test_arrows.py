"""Who may import whom, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def imports(package):
    """(file, imported module) for every import statement of a package."""
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found += [(path.relative_to(ROOT).as_posix(), alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.append((path.relative_to(ROOT).as_posix(), node.module))
    return found


def top(module):
    return module.partition(".")[0]


def test_netsim_knows_no_learner():
    assert [x for x in imports("netsim") if top(x[1]) == "learners"] == []


def test_only_the_command_line_calls_analysis():
    assert {file for file, module in imports("netsim") if top(module) == "analysis"} <= {"netsim/app/cli.py"}


@pytest.mark.parametrize("part", ["core", "world", "protocols", "scenario", "records"])
def test_physics_and_protocols_know_no_torch(part):
    assert [
        x for x in imports(f"netsim/{part}") if top(x[1]) in ("torch", "torchvision", "torchaudio", "librosa")
    ] == []


def test_learners_see_no_clock_and_no_radio():
    allowed = (
        "netsim.learner",
        "netsim.former.learning",
        "netsim.world.budget",
        "netsim.work",
        "netsim.core.entry",
        "netsim.core.options",
        "netsim.core.errors",
        "netsim.core.streams",
        "netsim.core.registry",
    )
    strangers = [
        (file, module)
        for file, module in imports("learners")
        if top(module) in ("simpy", "analysis")
        or (top(module) == "netsim" and not module.startswith((*allowed, "netsim.world.topology.mixing")))
    ]
    assert strangers == []


def test_analysis_reads_records_only():
    assert [x for x in imports("analysis") if top(x[1]) in ("netsim", "learners", "simpy", "torch")] == []


def test_the_radio_does_not_know_who_protocols_are():
    lower = [x for part in ("devices", "radio", "topology") for x in imports(f"netsim/world/{part}")]
    upper = (
        "netsim.protocols",
        "netsim.app.simulation",
        "netsim.app.cli",
        "netsim.world.network",
        "netsim.learner",
    )
    assert [x for x in lower if x[1].startswith(upper)] == []
