"""Documents run, and say what is so."""

import json
import re
from pathlib import Path

import pytest
from documented import save
from warm_python import python

from netsim.scenario import load_plan
from netsim.scenario.reference import reference
from netsim.scenario.sweep import load_sweep

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


def netsim(*words, cwd):
    """What the program prints, started in a folder as a reader would start it."""
    done = python("-m", *words, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def keeps_its_contract(folder, scenario):
    """Run ``check_learner`` as the guide shows it, on the learner of a scenario."""
    code = next(
        block for block in blocks("docs/guides/write_a_learner.md", "python") if "check_learner(" in block
    )
    assert '"topk.yaml"' in code
    code = code.replace("topk.yaml", scenario)
    done = python("-c", code, cwd=folder)
    assert done.returncode == 0, done.stderr


def first_and_last(printed):
    """Where the error began and ended, as the screen says: ``error  2.07 → 0.105, distance ...``."""
    (line,) = (line for line in printed.splitlines() if line.startswith("error"))
    return [float(number) for number in re.match(r"error\s+(\S+) → ([^\s,]+), distance", line).groups()]


def test_the_readmes_learner_shows_that_it_learns(tmp_path):
    """Saved and run as the README says: the error falls, on screen, in the records, in a table and in a figure."""
    save("README.md", tmp_path)
    keeps_its_contract(tmp_path, "gossip.yaml")
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


def test_the_readmes_lines_of_python_run_as_they_stand(tmp_path):
    """Two devices share no band, so each has an airtime of its own on the screen."""
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    code = next(block for block in blocks("README.md", "python") if "netsim.run(" in block)
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "J per device" in done.stdout and len(re.findall(r"^[01] +\d\.\d+$", done.stdout, re.M)) == 2


def test_the_guides_sweep_is_valid(tmp_path):
    """Saved beside the scenarios, as the guide says: 2 learners, 2 bandwidths, 2 seeds."""
    (tmp_path / "two_devices.yaml").write_text((ROOT / "scenarios" / "two_devices.yaml").read_text())
    save("docs/guides/sweep.md", tmp_path)
    assert len({case.name for case in load_sweep(tmp_path / "bandwidth.yaml").cases}) == 8


def test_the_readmes_learner_stacks_as_the_guide_to_speed_says(tmp_path):
    """All devices as one batch; the error is that of the loop, up to rounding."""
    save("README.md", tmp_path)
    (stacked,) = blocks("docs/guides/faster.md", "python")[-1:]
    module = tmp_path / "gossip.py"
    module.write_text(module.read_text() + "\n\n" + stacked)
    scenario = tmp_path / "gossip.yaml"
    one_by_one = run(scenario, "loop", "jobs.executor=inline", "rounds=5")
    named = ("learner.name=gossip:StackedGossip", "jobs.stacking=on", "jobs.executor=inline", "rounds=5")
    together = run(scenario, "stacked", *named)
    assert together.value.to_numpy() == pytest.approx(one_by_one.value.to_numpy(), rel=1e-9)
    execution = json.loads((tmp_path / "runs" / "gossip" / "stacked" / "metadata.json").read_text())[
        "execution"
    ]
    assert execution["stacking"]["obstacles"] == []
    scenario.write_text(scenario.read_text().replace("gossip:Gossip", "gossip:StackedGossip"))
    keeps_its_contract(tmp_path, "gossip.yaml")


def test_path_loss_and_scheduler_of_the_physics_page_run_as_they_stand(tmp_path):
    scheduler, code = blocks("docs/physics.md", "python")
    (scenario,) = blocks("docs/physics.md", "yaml")
    (tmp_path / "shadowing.py").write_text(code)
    (tmp_path / "oldest.py").write_text(scheduler)
    own = "radio.access={name: ofdma, scheduler: 'oldest:Oldest'}"
    (tmp_path / "shadowed.yaml").write_text(scenario)
    words = ("shadowed.yaml", "--set", own, "--quiet", "--no-plots", "--run-id", "a")
    netsim("netsim", "run", *words, cwd=tmp_path)
    import pandas as pd

    links = pd.read_parquet(tmp_path / "runs" / "shadowed" / "a" / "links.parquet")
    assert links.path_loss_db.std() > 2 and links.path_loss_db.between(30, 160).all()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def run(path, run_id, *settings, cwd=None):
    """The metrics of a run of the scenario, from its own folder or another."""
    import pandas as pd

    words = [
        "run",
        str(path),
        "--quiet",
        "--no-plots",
        "--run-id",
        run_id,
        "--runs",
        str(path.parent / "runs"),
    ]
    netsim("netsim", *words, *(word for one in settings for word in ("--set", one)), cwd=cwd or path.parent)
    return pd.read_parquet(path.parent / "runs" / path.stem / run_id / "metrics.parquet")


def test_the_guides_learner_of_the_scenarios_data_learns(tmp_path):
    """Top-k D-PSGD: devices with four digits each come to read ten; a quarter is sent; the same bytes in workers."""
    import pandas as pd

    save("docs/guides/write_a_learner.md", tmp_path)
    path = tmp_path / "topk.yaml"
    here = run(path, "here", "jobs.executor=inline")
    means = here.query("name == 'accuracy'").groupby("round").value.mean()
    assert means.iloc[-1] > 0.8 > means.iloc[0]
    for run_id, executor in (("there", "{name: processes, workers: 1}"), ("auto", "auto")):
        assert here.equals(run(path, run_id, f"jobs.executor={executor}"))
    full = run(path, "full", "jobs.executor=inline", "learner.share=1.0", "rounds=15")
    assert full.query("name == 'accuracy'").groupby("round").value.mean().iloc[-1] > 0.8

    def bits(run_id):
        transfers = pd.read_parquet(tmp_path / "runs" / "topk" / run_id / "transfers.parquet")
        return transfers.size_bits.unique().tolist()

    # 64 pixels and 10 classes: 640 weights of 32 bits; places need 10 bits more.
    assert bits("here") == [160 * 42.0] and bits("full") == [640 * 42.0]
    keeps_its_contract(tmp_path, "topk.yaml")


def test_data_and_network_of_ones_own_run_as_the_guide_says(tmp_path):
    """Everything that the page says to save and to type, from another folder; six classes, so chance is 17 %."""
    folder, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    blocks_left = save("docs/guides/bring_your_own.md", folder)
    scenario = folder / "motion.yaml"

    def typed(*words):
        return python("-m", "netsim", *words, cwd=elsewhere)

    missing = typed("check", str(scenario))
    assert missing.returncode == 2 and "recordings.npz; make_recordings.py makes one" in missing.stderr
    assert python(folder / "make_recordings.py", cwd=elsewhere).returncode == 0
    assert typed("check", str(scenario)).returncode == 0
    dealt = typed("partition", str(scenario))
    assert dealt.returncode == 0 and "450 of 450 training samples" in dealt.stdout

    def accuracy(run_id, *settings):
        metrics = run(scenario, run_id, *settings, cwd=elsewhere).query("name == 'accuracy'")
        return metrics[metrics["round"] == metrics["round"].max()].value.mean()

    assert accuracy("dmml") > 0.6
    assert accuracy("fedavg", "protocol.name=server_rounds", "learner.name=fedavg", "rounds=2") > 0
    of_mhd = ("learner.name=mhd", "partition.public_share=0.1")
    assert accuracy("mhd", *of_mhd, "rounds=2", "learner.local_steps=5") > 0
    # The second network: the same module with what the page adds to it.
    (lstm,) = [block for language, block in blocks_left if language == "python"]
    module = folder / "motion_networks.py"
    last = "return ConvolutionTrunk(input_shape[0], self.options.widths)"
    assert last in module.read_text()
    module.write_text(
        module.read_text().replace(last, "return LSTMTrunk(input_shape[0], self.options.widths[-1])") + lstm
    )
    assert accuracy("lstm", "rounds=1") > 0
    wrong = typed("check", str(scenario), "--set", "learner.networks.motion.name=motion_network:Convolution")
    (line,) = wrong.stderr.splitlines()
    assert f"no module 'motion_network' in {folder} or among installed" in line


def test_the_guides_learner_runs_as_it_stands(tmp_path):
    """FedAvg on squared errors comes to its fixed point where all take part; what the guide says to try, runs."""
    save("docs/guides/write_a_learner.md", tmp_path)
    keeps_its_contract(tmp_path, "federated_mean.yaml")
    import pandas as pd

    def errors(run_id, *settings):
        words = ["--no-plots", "--run-id", run_id, *(word for one in settings for word in ("--set", one))]
        printed = netsim("netsim", "run", "federated_mean.yaml", *words, cwd=tmp_path)
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


def test_the_guides_protocol_runs_as_it_stands_and_gives_the_same_bytes_everywhere(tmp_path):
    """Gossip without waiting: devices are in different rounds, learn all the same, and energy is accounted for."""
    (code,) = blocks("docs/guides/write_a_protocol.md", "python")
    (scenario,) = blocks("docs/guides/write_a_protocol.md", "yaml")
    (tmp_path / "push_gossip.py").write_text(code)
    (tmp_path / "push_gossip.yaml").write_text(scenario)
    import pandas as pd

    def tables(run_id, *settings):
        words = ["--run-id", run_id, *(word for setting in settings for word in ("--set", setting))]
        netsim("netsim", "run", "push_gossip.yaml", "--quiet", "--no-plots", *words, cwd=tmp_path)
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
    for executor in ("auto", "forked"):
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
