"""Documents run, and say what is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from netsim.scenario import load_plan
from netsim.scenario.reference import reference

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def test_the_reference_of_keys_is_what_the_program_knows():
    """If this fails: ``python -m netsim keys`` prints what belongs below the line that says so."""
    assert (ROOT / "docs" / "scenario.md").read_text().endswith(reference())


def test_the_example_scenario_of_the_scenario_page_is_valid(tmp_path):
    (example,) = blocks("docs/scenario.md", "yaml")
    (tmp_path / "example.yaml").write_text(example)
    assert load_plan(tmp_path / "example.yaml").scenario.rounds == 4


def saved(page, name, folder):
    """The page's learner and scenario, where the page says to save them."""
    (code,) = blocks(page, "python")
    (scenario,) = blocks(page, "yaml")
    (folder / f"{name}.py").write_text(code)
    (folder / f"{name}.yaml").write_text(scenario)


def netsim(*words, cwd):
    """What the program prints, started in a folder as a reader would start it."""
    done = subprocess.run([sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def keeps_its_promises(folder, name, learner, **options):
    """``check_learner`` on what a page shows, in a process of its own."""
    code = f"""
import types, networkx
from learners.checks import check_learner
from {name} import {learner} as Learner
setup = types.SimpleNamespace(seed=0, device_count=3, rounds=2, options=Learner.Options(**{options}))
check_learner(lambda: Learner(setup), networkx.path_graph(3))
"""
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


def first_and_last(printed):
    """Where the error began and ended, as the screen says: ``error  2.07 → 0.105, distance ...``."""
    (line,) = (line for line in printed.splitlines() if line.startswith("error"))
    return [float(number) for number in re.match(r"error\s+(\S+) → ([^\s,]+), distance", line).groups()]


def test_the_readmes_learner_shows_that_it_learns(tmp_path):
    """Saved and run as the README says: the error falls, on screen, in the records, in a table and in a figure."""
    saved("README.md", "gossip", tmp_path)
    keeps_its_promises(tmp_path, "gossip", "Gossip")
    printed = netsim("netsim", "run", "gossip.yaml", "--run-id", "a", cwd=tmp_path)
    first, last = first_and_last(printed)
    assert last < 0.2 * first and "died" not in printed
    assert first_and_last((ROOT / "README.md").read_text()) == pytest.approx([first, last], rel=0.1)
    import pandas as pd

    folder = tmp_path / "runs" / "gossip" / "a"
    error = pd.read_parquet(folder / "metrics.parquet").query("name == 'error'").groupby("round").value.mean()
    assert [first, last] == [pytest.approx(error.iloc[end], rel=5e-3) for end in (0, -1)]
    assert (folder / "plots" / "metrics.png").exists()
    table = netsim("analysis", str(folder), cwd=tmp_path)
    assert re.search(rf"error\s+{error.iloc[0]:.4g}\s+{error.iloc[-1]:.4g}\s", table)
    scarce = ("--set", "devices.battery.capacity_j=5e-4", "--no-plots", "--run-id", "b")
    assert 0 < netsim("netsim", "run", "gossip.yaml", *scarce, cwd=tmp_path).count("died ") < 12


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_guides_learner_runs_as_it_stands(tmp_path):
    """FedAvg on squared errors comes to its fixed point where all take part; what the guide says to try, runs."""
    saved("docs/guides/write_a_learner.md", "federated_mean", tmp_path)
    keeps_its_promises(tmp_path, "federated_mean", "FederatedMean", size=20)
    import pandas as pd

    def errors(run_id, *settings):
        words = [word for setting in settings for word in ("--set", setting)]
        printed = netsim(
            *("netsim", "run", "federated_mean.yaml", "--no-plots", "--run-id", run_id, *words), cwd=tmp_path
        )
        metrics = pd.read_parquet(tmp_path / "runs" / "federated_mean" / run_id / "metrics.parquet")
        error = metrics.query("name == 'error'").sort_values("round").value.to_numpy()
        assert first_and_last(printed) == [pytest.approx(error[end], rel=5e-3) for end in (0, -1)]
        return error

    all_ = errors("all")
    assert all_[-1] < 1e-3 * all_[0] and len(all_) == 30
    first = errors("first", "protocol.participants=6", "protocol.first=3")
    assert 1e-2 * all_[0] < first[-1]
    nobody = errors("nobody", "protocol.deadline_s=0.05")
    assert nobody[0] == nobody[-1]
    assert len(errors("asynchronous", "protocol.name=asynchronous_server")) == 30
