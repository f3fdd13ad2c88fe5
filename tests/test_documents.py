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


def test_the_readmes_learner_runs_as_it_stands(tmp_path):
    """Twenty lines, saved and run as the README says; gossip must bring the error down, and batteries must end."""
    (code,) = blocks("README.md", "python")
    (scenario,) = blocks("README.md", "yaml")
    (tmp_path / "gossip.py").write_text(code)
    (tmp_path / "gossip.yaml").write_text(scenario)
    words = [sys.executable, "-m", "netsim", "run", "gossip.yaml", "--quiet", "--run-id", "a"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    import pandas as pd

    folder = tmp_path / "runs" / "gossip" / "a"
    error = pd.read_parquet(folder / "metrics.parquet").query("name == 'error'").groupby("round").value.mean()
    assert error.iloc[-1] < 0.2 * error.iloc[0]
    assert (folder / "plots").is_dir()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_guides_learner_runs_as_it_stands(tmp_path):
    """FedAvg on squared errors comes to its fixed point where all take part; what the guide says to try, runs."""
    (code,) = blocks("docs/guides/write_a_learner.md", "python")
    (scenario,) = blocks("docs/guides/write_a_learner.md", "yaml")
    (tmp_path / "federated_mean.py").write_text(code)
    (tmp_path / "federated_mean.yaml").write_text(scenario)
    import pandas as pd

    def errors(run_id, *settings):
        words = [sys.executable, "-m", "netsim", "run", "federated_mean.yaml", "--quiet", "--no-plots"]
        words += ["--run-id", run_id, *(word for setting in settings for word in ("--set", setting))]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        metrics = pd.read_parquet(tmp_path / "runs" / "federated_mean" / run_id / "metrics.parquet")
        return metrics.query("name == 'error'").sort_values("round").value.to_numpy()

    all_ = errors("all")
    assert all_[-1] < 1e-3 * all_[0] and len(all_) == 30
    first = errors("first", "protocol.participants=6", "protocol.first=3")
    assert 1e-2 * all_[0] < first[-1]
    nobody = errors("nobody", "protocol.deadline_s=0.05")
    assert nobody[0] == nobody[-1]
    assert len(errors("asynchronous", "protocol.name=asynchronous_server")) == 30


def test_the_guides_protocol_runs_as_it_stands_and_gives_the_same_bytes_everywhere(tmp_path):
    """Gossip without waiting: devices are in different rounds, learn all the same, and energy is accounted for."""
    (code,) = blocks("docs/guides/write_a_protocol.md", "python")
    (scenario,) = blocks("docs/guides/write_a_protocol.md", "yaml")
    (tmp_path / "push_gossip.py").write_text(code)
    (tmp_path / "push_gossip.yaml").write_text(scenario)
    import pandas as pd

    def tables(run_id, *settings):
        words = [sys.executable, "-m", "netsim", "run", "push_gossip.yaml", "--quiet", "--no-plots"]
        words += ["--run-id", run_id, *(word for setting in settings for word in ("--set", setting))]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        names = ("metrics", "rounds", "transfers")
        return [
            pd.read_parquet(tmp_path / "runs" / "push_gossip" / run_id / f"{name}.parquet") for name in names
        ]

    metrics, rounds, transfers = tables("inline", "jobs.executor=inline", "jobs.stacking=off")
    loss = metrics.query("name == 'loss_test' and modality == ''").groupby("round").value.mean()
    assert loss.iloc[-1] < 0.98 * loss.iloc[0]
    assert rounds.groupby("device").end_s.max().nunique() == 6  # nobody waits for anybody
    assert (
        0 < rounds.received.sum() <= (transfers.outcome == "delivered").sum() == rounds.sent.sum() == 6 * 12
    )
    for executor in ("auto", "beside"):
        for table, same in zip(
            (metrics, rounds, transfers),
            tables(executor, f"jobs.executor={executor}", "jobs.stacking=off"),
            strict=True,
        ):
            pd.testing.assert_frame_equal(table, same, check_exact=True)
    columns = ["compute_j", "sending_j", "receiving_j", "idle_j"]
    capacity_j = 0.5 * rounds.groupby("device")[columns].sum().sum(axis=1).min()
    _, dying, _ = tables("dying", f"devices.battery={{capacity_j: {capacity_j}}}", "protocol.pause_s=0.01")
    assert "died" in set(dying.outcome)
    spent = dying.groupby("device")[columns].sum().sum(axis=1)
    left = dying.groupby("device").battery_j.last()
    assert (spent + left).tolist() == pytest.approx([capacity_j] * 6, rel=1e-9)
