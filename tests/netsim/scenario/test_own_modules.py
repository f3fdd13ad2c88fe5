"""Modules of a user's own are found beside the scenario, by workers too, or one line says why not."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from warm_python import python

from netsim.scenario import load_plan
from netsim.scenario.yaml_file import read_yaml, write_yaml

LEARNER = """
import os

from learners.algorithms.stub import Stub
from netsim.learner import Metric, Step


def where(device):
    return device, os.getpid(), __file__


def told(inputs):
    return [tell(**one) for one in inputs]


def tell(device, result):
    number, process, file = result
    assert number == device
    return [Metric("elsewhere", float(process != os.getpid())), Metric("beside", float("scenario" in file))]


class Mine(Stub):
    \"\"\"Says which process did its work, and with which file.\"\"\"

    METRICS = {"elsewhere": "whether the work was done in another process", "beside": "with the scenario's module"}

    def train(self, work, node, round, state, cost):
        result = work.do(where, {"device": node}, round)
        return Step(round, round, work.together(told, {"device": node, "result": result}, round))
"""

PHYSICS = """
from netsim.world.radio.path_loss import PathLoss
from netsim.world.topology.placement import Placement
import numpy as np


class Line(Placement):
    \"\"\"Devices 10 m apart.\"\"\"

    def positions(self, count, rng):
        return np.column_stack([10.0 * np.arange(count), np.zeros(count)])
"""


LOSS = """
from netsim.world.radio.path_loss import FreeSpace


class Mine(FreeSpace):
    pass
"""


@pytest.fixture
def folder(tmp_path):
    """The scenario's folder, with a learner beside it; another folder to run from; and what is put there."""
    beside = tmp_path / "scenario"
    beside.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (beside / "mine.py").write_text(LEARNER)
    return beside


def scenario(folder, learner="mine:Mine", name="x", **blocks):
    tree = {"rounds": 2, "devices": {"count": 3}, "topology": {"links": {"name": "range", "range_m": 200}}}
    tree |= {"learner": learner, **blocks}
    (folder / f"{name}.yaml").write_text(write_yaml(tree))
    return folder / f"{name}.yaml"


def new_python(*words, cwd):
    """``python WORDS`` in an interpreter that has loaded nothing yet."""
    return subprocess.run([sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True)


def netsim(folder, *words, cwd=None, python=python):
    return python("-m", "netsim", *words, cwd=cwd or folder.parent / "elsewhere")


def metrics(folder, path, *words, cwd=None, python=python):
    options = ("--quiet", "--no-plots", "--run-id", "a", "--runs", folder / "runs")
    done = netsim(folder, "run", path, *options, *words, cwd=cwd, python=python)
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(folder / "runs" / "x" / "a" / "metrics.parquet")
    return rows.groupby("name").value.agg(["min", "max"])


@pytest.mark.parametrize("executor", ["inline", "processes", "ray"])
def test_found_beside_the_scenario_by_every_process(folder, executor):
    """From another folder that has a module of the same name: the scenario's own is meant, here and in workers."""
    if executor == "ray":
        pytest.importorskip("ray")
    (folder.parent / "elsewhere" / "mine.py").write_text("raise RuntimeError('the wrong one')")
    options = {} if executor == "inline" else {"workers": 1}
    found = metrics(
        folder, scenario(folder, jobs={"executor": {"name": executor, **options}, "device": "cpu"})
    )
    assert set(found.loc["elsewhere"]) == {float(executor != "inline")}
    assert set(found.loc["beside"]) == {1.0}


def test_a_run_can_be_repeated_from_its_folder_wherever_that_is(folder):
    path = scenario(folder)
    metrics(folder, path)
    again = folder / "runs" / "x" / "a" / "scenario.yaml"
    assert read_yaml(again)["modules"] == [str(folder)]
    assert set(metrics(folder / "runs", again, cwd=folder.parent).loc["beside"]) == {1.0}


def test_found_in_folders_that_the_scenario_names_and_not_in_the_current_one(folder):
    inner = folder / "inner"
    inner.mkdir()
    done = netsim(folder, "check", scenario(inner), cwd=folder)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert (
        f"no module 'mine' in {inner} or among installed packages. There is one in the current folder" in line
    )
    assert line.endswith(f"put it beside the scenario, or write modules: [{folder}].")
    done = netsim(folder, "check", scenario(inner), "--set", f"modules=[{folder}]", cwd=folder)
    assert done.returncode == 0, done.stderr
    done = netsim(folder, "check", scenario(inner, modules=[".."]))
    assert done.returncode == 0, done.stderr
    assert f"own code: learner.name from {folder / 'mine.py'}\n" in done.stdout
    done = netsim(folder, "check", scenario(inner, modules=["../nowhere"]))
    assert "modules.0: no such folder: " in done.stderr and "cannot load 'mine:Mine'" in done.stderr


def test_the_screen_names_code_before_it_is_run(folder, tmp_path):
    """Each file once, with all keys that name it; of installed packages too, but not what is this program's own."""
    (folder / "mine.py").write_text("raise RuntimeError('is run')")
    (folder / "world.py").write_text(PHYSICS)
    package = tmp_path / "installed" / "theirs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "loss.py").write_text(LOSS)
    topology = {"placement": "world:Line", "links": {"name": "range", "range_m": 10}}
    radio = {"path_loss": "theirs.loss:Mine", "channel": "netsim.world.radio.fading:NoFading"}
    path = scenario(folder, topology=topology, radio=radio, data="mine:Data", partition="iid")
    code = f"import sys; sys.path.append({str(package.parent)!r}); from netsim.__main__ import main; main()"
    lines = [
        "own code: data.name, learner.name from mine.py beside the scenario",
        f"own code: radio.path_loss.name from {package / 'loss.py'}",
        "own code: topology.placement.name from world.py beside the scenario",
    ]
    for command in ("check", "run"):
        done = python("-c", code, command, path, cwd=tmp_path)
        assert sorted(done.stdout.splitlines()) == lines
        assert "RuntimeError: is run" in done.stderr
    runs = ("--runs", tmp_path / "runs", "--no-plots")
    done = python("-c", code, "run", path, "--set", "learner=stub", "--set", "data=null", *runs, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.splitlines() if "own code" in line) == lines[1:]
    for quiet in ("--quiet", "--json"):
        words = (path, "--set", "learner=stub", "--set", "data=null", *runs, quiet)
        assert "own code" not in python("-c", code, "run", *words, cwd=tmp_path).stdout


def test_names_of_libraries_stay_theirs(folder):
    """Files called like them break nothing, whether Python is run from their folder or not; named, they are refused."""
    for name in ("random", "torch", "numpy", "learners", "queue"):
        (folder / f"{name}.py").write_text("raise RuntimeError('shadow')")
    (folder / "analysis").mkdir()
    path = scenario(folder, jobs={"executor": {"name": "processes", "workers": 1}})
    metrics(folder, path, python=new_python)
    metrics(folder / "again", path, cwd=folder, python=new_python)
    for cwd in (None, folder):
        done = netsim(folder, "check", scenario(folder, "random:Learner"), cwd=cwd, python=new_python)
        (line,) = done.stderr.splitlines()
        assert f"{folder / 'random.py'} cannot be used, for 'random' is already the name of " in line
        assert line.endswith("give your own another name")


def test_a_package_beside_the_scenario_and_other_kinds_of_components(folder):
    package = folder / "world"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "physics.py").write_text(PHYSICS)
    path = scenario(
        folder, topology={"placement": "world.physics:Line", "links": {"name": "range", "range_m": 10}}
    )
    metrics(folder, path)
    devices = pd.read_parquet(folder / "runs" / "x" / "a" / "devices.parquet")
    assert devices.x_m.tolist() == [0, 10, 20]
    done = netsim(folder, "check", path, "--set", "topology.placement=world.fysics:Line")
    assert f"no module 'world.fysics' in {package}" in done.stderr
    done = netsim(folder, "check", path, "--set", "topology.placement=mine.physics:Line")
    assert f"no module 'mine.physics' for {folder / 'mine.py'} is no folder" in done.stderr


DATA = {"data": {"name": "generated", "samples": 60, "test_samples": 10}, "partition": "iid"}


NOT_FOUND = {
    "learner.name": {"learner": "nine:Mine"},
    "radio.path_loss.name": {"radio": {"path_loss": "nine:Loss"}},
    "learner.networks.features": {
        "learner": {"name": "dmml", "networks": {"features": "nine:Net"}},
        **DATA,
    },
    "learner.networks.features.name": {
        "learner": {"name": "dmml", "networks": {"features": {"name": "nine:Net", "size": 3}}},
        **DATA,
    },
    "devices.classes.phone.networks.features.name": {
        "devices": {"count": 3, "classes": {"phone": {"networks": {"features": "nine:Net"}}}},
        **DATA,
    },
    "data.name": {"data": "nine:Data"},
}


def test_what_is_not_found_is_said_before_pytorch_is_loaded(folder):
    """The line names the key and where it was looked for, in order."""
    paths = [
        scenario(folder, name=f"x{place}", **{"learner": "stub", **blocks})
        for place, blocks in enumerate(NOT_FOUND.values())
    ]
    elsewhere = folder.parent / "elsewhere"
    code = (
        "import sys; from pathlib import Path; from netsim.core.errors import ScenarioError\n"
        "from netsim.scenario import load_plan\n"
        "for path in sys.argv[1:]:\n"
        "    try: load_plan(Path(path))\n"
        "    except ScenarioError as error: print(error)\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = new_python("-c", code, *paths, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    for path, key, line in zip(paths, NOT_FOUND, done.stdout.splitlines(), strict=True):
        assert line.startswith(f"{path}: {key}: cannot load 'nine:")
        assert line.endswith(
            f"no module 'nine' in {folder} or among installed packages. Did you mean 'mine'?"
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class Mine(:\n", "{file}, line 1: SyntaxError: invalid syntax"),
        (
            "\nimport nowhere_at_all\n",
            "{file}, line 2: ModuleNotFoundError: No module named 'nowhere_at_all'",
        ),
        ("\n\nx = y\n", "{file}, line 3: NameError: name 'y' is not defined"),
        ("import json\njson.loads('{')\n", "{file}, line 2: JSONDecodeError: Expecting property name"),
        ("raise SystemExit(3)", "{file}, line 1: SystemExit: 3"),
        ("def Mine(): pass\n", "'Mine' is no class in {file}. Its classes: none."),
        ("class Mine: pass\n", "Mine in {file} has no Options derived from netsim.core.options.Options"),
        (LEARNER.replace("class Mine", "class Mein"), "'Mine' is not there in {file}. Did you mean 'Mein'?"),
        (
            "from netsim.learner import Learner\nclass Mine(Learner): pass\n",
            "Mine in {file} does not define aggregate, cost, first, messages, train",
        ),
    ],
    ids=["syntax", "import", "name", "inside a library", "exit", "function", "options", "typo", "abstract"],
)
def test_a_module_that_fails_is_one_line_with_file_and_line(folder, text, words):
    (folder / "mine.py").write_text(text)
    done = netsim(folder, "check", scenario(folder))
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith(f"error: {folder / 'x.yaml'}: learner.name: cannot load 'mine:Mine': ")
    assert words.format(file=folder / "mine.py") in line


def test_two_modules_of_one_name_are_never_taken_for_each_other(folder, tmp_path):
    """In one process, as in a notebook: the second scenario does not silently get the first one's module."""
    from netsim.core.errors import ScenarioError

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "only_one_of_me.py").write_text(LEARNER)
    assert load_plan(scenario(tmp_path / "one", "only_one_of_me:Mine")).own == (tmp_path / "one",)
    with pytest.raises(
        ScenarioError, match=r"two/only_one_of_me.py cannot be used, .* the name of .*one/only_one"
    ):
        load_plan(scenario(tmp_path / "two", "only_one_of_me:Mine"))
    assert (
        load_plan(scenario(tmp_path / "one", "only_one_of_me:Mine")).parts["learner"].cls.__name__ == "Mine"
    )
    assert Path(sys.modules["only_one_of_me"].__file__).parent == tmp_path / "one"
