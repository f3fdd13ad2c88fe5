"""Who may import whom, read from the source."""

import ast
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("netsim", "learners", "analysis")

# One arrow a line: what stands right may be imported by what stands left, with all that is in it.
ALGORITHM = (
    "netsim.core",
    "netsim.learner",
    "netsim.work.job",
    "netsim.work.graph",
    "netsim.work.future",
    "netsim.work.torch_device",
    "netsim.core.budget",
    "netsim.world.topology.mixing",
)
MAY_IMPORT = {
    "netsim.core": (),
    "netsim.events": (),
    "netsim.world": ("netsim.core", "netsim.events"),
    "netsim.learner": ("netsim.core",),
    "netsim.work": ("netsim.core", "netsim.events", "netsim.learner"),
    "netsim.protocols": ("netsim.core", "netsim.events", "netsim.learner", "netsim.world", "netsim.work"),
    "netsim.replay": ("netsim.core", "netsim.events", "netsim.learner", "netsim.work", "netsim.protocols"),
    "netsim.records": ("netsim.core", "netsim.events"),
    "netsim.scenario": ("netsim.core", "netsim.world"),
    "netsim.app": ("netsim", "analysis"),
    "learners.choice": ("netsim.core",),
    "learners.data": ("netsim.core", "learners.choice"),
    "learners.networks": ("netsim.core", "learners.choice"),
    "learners.training": (*ALGORITHM, "learners.choice", "learners.networks", "learners.data"),
    "learners.checks": (
        *("learners.data", "learners.networks", "learners.training"),
        *("netsim.core", "netsim.events", "netsim.learner", "netsim.work"),
    ),
    "learners.algorithms": (
        *ALGORITHM,
        "learners.choice",
        "learners.training",
        "learners.networks",
        "learners.data",
    ),
    "analysis": (),
}
MOST = 14
"""So many of our modules may be imported by one."""

ALLOWED_FOR_NOW = {
    # A network is a module and a value.
    *("learners.networks.built", "learners.networks.network"),
    # An executor of its own.
    "learners.algorithms.dry_run",
    # Buffers that travel to workers, and the word for an obstacle to a batch.
    *("learners.networks.state", "learners.training.stackable"),
    # YAML of a run's folder, and names of the columns of energy.
    *("netsim.records.run_folder", "netsim.records.totals"),
}
"""Modules, and folders of them, that need not keep the rules yet."""


def name_of(path):
    """The dotted name of a file."""
    return path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")


MODULES = {name_of(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def runs(tree):
    """Nodes of a module that are run: what is imported for the type checker only is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from runs(node)


def imported(path):
    """All modules that a file imports, from anywhere."""
    found = set()
    for node in runs(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {full if full in MODULES else node.module for full in whole.values()}
    return found


IMPORTS = {module: imported(path) - {module} for module, path in MODULES.items()}
OURS = {module: {other for other in found if other in MODULES} for module, found in IMPORTS.items()}


def lies_in(module, *places):
    return any(module == place or module.startswith(f"{place}.") for place in places)


def room(module):
    """Where a module lives; algorithms are whatever else the learners are."""
    home = next((place for place in MAY_IMPORT if lies_in(module, place)), None)
    return home or ("learners.algorithms" if lies_in(module, "learners") else module)


def allowed_for_now(*modules):
    return any(lies_in(module, *ALLOWED_FOR_NOW) for module in modules)


@pytest.mark.parametrize("place", MAY_IMPORT)
def test_arrows_between_rooms_point_one_way(place):
    strangers = [
        f"{module} imports {other}"
        for module in OURS
        if room(module) == place and not allowed_for_now(module)
        for other in sorted(OURS[module])
        if room(other) != place and not lies_in(other, *MAY_IMPORT[place])
    ]
    assert strangers == []


def test_there_is_no_cycle_between_rooms():
    arrows = nx.DiGraph(
        (room(module), room(other))
        for module, found in OURS.items()
        for other in found
        if room(module) != room(other) and not allowed_for_now(module, other)
    )
    assert list(nx.simple_cycles(arrows)) == []
    assert len(arrows) >= len(MAY_IMPORT) - 1


def test_there_is_no_cycle_between_folders():
    """Of packages, one inside another being two; what people import and nobody of ours does is no part of one."""
    entrances = {"netsim", "netsim.gym", "analysis"} | {name for name in MODULES if name.endswith("__main__")}
    assert not entrances & set().union(*OURS.values())
    folder = {name: path.parent for name, path in MODULES.items()}
    arrows = nx.DiGraph(
        (folder[module], folder[other])
        for module, found in OURS.items()
        for other in found
        if module not in entrances and folder[module] != folder[other]
    )
    assert list(nx.simple_cycles(arrows)) == []
    assert len(arrows) > len(MAY_IMPORT)


def test_no_module_imports_very_many_of_ours():
    many = {module: len(found) for module, found in OURS.items() if len(found) > MOST}
    assert {module: count for module, count in many.items() if not allowed_for_now(module)} == {}


def importing(package, *tops):
    """Modules of a package that import something of these packages, anywhere in the file."""
    return {
        module
        for module, found in IMPORTS.items()
        if lies_in(module, package) and {other.partition(".")[0] for other in found} & set(tops)
    }


def test_netsim_knows_no_learner():
    assert importing("netsim", "learners") == set()


def test_only_one_module_calls_analysis():
    assert importing("netsim", "analysis") <= {"netsim.app.analysed"}


@pytest.mark.parametrize("part", ["core", "world", "protocols", "scenario", "records", "learner", "events"])
def test_physics_and_protocols_know_no_torch(part):
    assert importing(f"netsim.{part}", "torch", "torchvision", "torchaudio", "librosa") == set()


def test_learners_see_no_clock():
    assert importing("learners", "simpy", "analysis") == set()


def test_analysis_reads_records_only():
    assert importing("analysis", "netsim", "learners", "simpy", "torch") == set()


def test_the_radio_does_not_know_who_protocols_are():
    """Of the world, the network is above its parts."""
    lower = [f"netsim.world.{part}" for part in ("devices", "radio", "topology")]
    above = ("netsim.world.network", "netsim.world.edge_server")
    assert [m for m in OURS if lies_in(m, *lower) and any(lies_in(x, *above) for x in OURS[m])] == []
