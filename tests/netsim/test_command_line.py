"""The commands as a person types them, on the stub learner: seconds, no PyTorch."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis import load_run
from analysis.tables import latency_quantiles
from netsim.app.commands.cli import app
from netsim.app.said import typed_python
from netsim.app.summary import _first_to_last
from netsim.core.errors import ScenarioError
from netsim.protocols import Protocol


class Silent(Protocol):
    """Ends after a second, without a round."""

    def start(self):
        return self.network.env.timeout(1.0)


def netsim(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def run(write_scenario, tmp_path):
    def go(*words, run_id="a", name="small", **blocks):
        path = write_scenario(name, **blocks)
        result = netsim("run", path, "--runs", tmp_path / "runs", "--run-id", run_id, "--no-plots", *words)
        return result, tmp_path / "runs" / name / run_id

    return go


def test_a_run_leaves_a_folder_that_explains_itself(run):
    result, folder = run()
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in folder.iterdir()) == [
        "checksums.sha256",
        "devices.parquet",
        "links.parquet",
        "metadata.json",
        "metrics.parquet",
        "outside.parquet",
        "rounds.parquet",
        "scenario.yaml",
        "summary.json",
        "transfers.parquet",
    ]
    metadata = json.loads((folder / "metadata.json").read_text())
    assert (metadata["status"], metadata["rounds_finished"], metadata["seed"]) == ("finished", 2, 0)
    assert metadata["versions"]["simpy"] and metadata["hardware"]["cores"]
    assert len(pd.read_parquet(folder / "rounds.parquet")) == 6
    assert len(pd.read_parquet(folder / "transfers.parquet")) == 12


def test_a_link_in_outage_ends_no_run(run):
    """Unlimited power and a threshold that some transfers reach and others do not: both kinds are in the summary."""
    radio = {"outage_snr_db": 30.0, "noise_dbm_per_hz": -140.0}
    placement = {"name": "disc", "diameter_m": 200}
    result, folder = run(rounds=5, devices={"count": 6}, radio=radio, topology={"placement": placement})
    assert result.exit_code == 0, result.output
    summary = json.loads((folder / "summary.json").read_text())
    transfers = pd.read_parquet(folder / "transfers.parquet")
    assert summary["transfers"] == transfers.outcome.value_counts().to_dict()
    assert {*summary["transfers"]} == {"delivered", "outage"}
    assert summary["sent_bits"] == transfers.sent_bits.sum() == 1e6 * summary["transfers"]["delivered"]


def test_what_the_screen_says_is_what_the_records_say(run):
    result, folder = run()
    summary = json.loads((folder / "summary.json").read_text())
    rounds = pd.read_parquet(folder / "rounds.parquet")
    energy = (
        rounds[["compute_j", "sending_j", "receiving_j", "idle_j"]].sum(axis=1).groupby(rounds.device).sum()
    )
    assert summary["energy_per_device_j"]["mean"] == pytest.approx(energy.mean(), rel=1e-12)
    assert summary["simulated_s"] == rounds.end_s.max()
    assert "2 of 2 (finished)" in result.output
    assert "of it outside training" in result.output


def test_the_summary_and_the_tables_mean_the_same_by_a_median(run):
    """Three of six devices a round, cut off after two uploads: who was not chosen is not unfinished."""
    result, folder = run(
        rounds=4,
        devices={"count": 6},
        topology=None,
        protocol={"name": "server_rounds", "participants": 3, "first": 2},
        learner={"name": "stub", "flops": 4e9, "bits": 1e6, "download_bits": 1e6},
    )
    assert result.exit_code == 0, result.output
    summary, read = json.loads((folder / "summary.json").read_text()), load_run(folder)
    assert summary["round_outcomes"]["idle"] == 12 and summary["round_outcomes"]["cut_off"] == 4
    table = latency_quantiles(read).set_index("what")
    assert tuple(table.loc["round", ["finished", "unfinished"]]) == (8, 4)
    assert summary["round_s"]["median"] == table.loc["round", "median_s"] < float("inf")
    assert summary["round_s"]["q90"] is None and table.loc["round", "p90_s"] == float("inf")
    assert summary["metrics"]["arrived"]["fused"]["last"] == 2.0
    transfers = read.transfers.query("outcome == 'delivered'")
    assert len(transfers) == len(read.transfers) - 4
    times = sorted(transfers.airtime_s)
    assert summary["airtime_s"]["median"] == times[math.ceil(len(read.transfers) / 2) - 1]
    assert summary["airtime_s"]["max"] == times[-1]


def test_the_last_lines_say_in_short_what_was_measured_beside_the_accuracy(tmp_path, write_scenario):
    """A line of 80 columns for each, no explanation, and no word of fusing where there is one head."""
    learner = {"name": "dmml", "batch_size": 8, "networks": {"features": {"name": "mlp", "hidden": [4]}}}
    path = write_scenario(
        "small",
        data={"name": "generated", "samples": 60, "test_samples": 20, "shape": [4]},
        partition={"name": "iid"},
        learner=learner,
        jobs={"executor": "inline", "stacking": "off", "threads": 1},
    )
    result = netsim("run", path, "--runs", tmp_path / "runs", "--no-plots", "--cache", tmp_path / "cache")
    assert result.exit_code == 0, result.output
    assert re.search(r"^also measured +loss_task \S+ → \S+", result.output, re.MULTILINE)
    lines = [line for line in result.output.splitlines() if "→" in line]
    assert len(lines) <= 5 and all("eq." not in line and len(line.rstrip()) <= 80 for line in lines)
    assert "fused" not in result.output and "python -m analysis says what each is" in result.output


def test_of_a_metric_with_very_many_numbers_the_first_are_shown():
    """As of a confusion, which has one for each pair of classes: a hundred for ten."""
    ends = {f"{a}>{b}": {"first": 0.5, "last": 0.25} for a in range(4) for b in range(4)}
    said = _first_to_last(ends)
    assert said.startswith("0>0 0.5 → 0.25, 0>1 0.5 → 0.25, ") and said.endswith("2>3 0.5 → 0.25 and 4 more")
    assert _first_to_last({"fused": ends["0>0"]}) == "0.5 → 0.25"


def test_an_infinite_time_is_explained(run):
    result, _ = run(protocol={"deadline_s": 1e-6})
    assert re.search(r"^round +median ∞, 99 % ∞ \(∞: never finished\)", result.output, re.MULTILINE)


def test_json_lines_have_every_metric(run):
    result, _ = run("--json", rounds=1)
    line = json.loads(result.stdout.splitlines()[0])
    assert line["metrics"] == {} and "accuracy" in line


def test_same_scenario_and_seed_same_records_byte_for_byte(run):
    """Three times: twice alike, once with another seed."""
    (_, a), (_, b), (_, c) = run(run_id="a"), run(run_id="b"), run("--seed", 1, run_id="c")
    for name in ("devices", "links", "rounds", "transfers", "metrics"):
        assert (a / f"{name}.parquet").read_bytes() == (b / f"{name}.parquet").read_bytes()
    assert (a / "summary.json").read_bytes() == (b / "summary.json").read_bytes()
    assert (a / "transfers.parquet").read_bytes() != (c / "transfers.parquet").read_bytes()


def test_a_run_can_be_repeated_from_its_folder(run, tmp_path):
    _, a = run()
    result = netsim("run", a / "scenario.yaml", "--runs", tmp_path / "again", "--run-id", "a", "--no-plots")
    assert result.exit_code == 0
    assert (a / "rounds.parquet").read_bytes() == (
        tmp_path / "again" / "small" / "a" / "rounds.parquet"
    ).read_bytes()


def test_json_mode_prints_one_object_a_line(run):
    result, folder = run("--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["round", "round", "end"]
    assert [line["round"] for line in lines[:2]] == [1, 2]
    assert lines[-1]["folder"] == str(folder) and lines[-1]["status"] == "finished"


def test_a_learner_warns_at_the_end(run, monkeypatch):
    from learners.algorithms.stub import Stub

    monkeypatch.setattr(Stub, "notes", lambda self, means: [f"learner: {len(means)} metrics are few"])
    result, folder = run("--quiet")
    assert result.stderr == "note: learner: 0 metrics are few\n"
    assert json.loads((folder / "summary.json").read_text())["notes"] == ["learner: 0 metrics are few"]


def test_quiet_mode_prints_the_folder_alone(run):
    result, folder = run("--quiet")
    assert result.stdout == f"{folder}\n"


def test_rounds_and_seed_have_options_of_their_own(run):
    _, folder = run("--rounds", 5, "--seed", 9)
    metadata = json.loads((folder / "metadata.json").read_text())
    assert (metadata["rounds_finished"], metadata["seed"]) == (5, 9)


def test_check_says_ok_and_writes_nothing(write_scenario, tmp_path):
    path = write_scenario()
    result = netsim("check", path)
    assert result.exit_code == 0 and "ok. 2 rounds of stub on 3 devices" in result.stdout
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "kind", ["learners", "channels", "path_losses", "accesses", "placements", "stragglers"]
)
def test_everything_that_can_be_named_has_a_line_of_explanation(kind):
    result = netsim("list", kind)
    assert result.exit_code == 0
    assert all(
        len(line.split(maxsplit=1)) == 2 for line in result.stdout.splitlines() if not line.startswith(" ")
    )
    assert "cannot be loaded" not in result.stdout


@pytest.mark.parametrize("kind", ["learners", "executors"])
def test_explanations_are_plain_text(kind):
    """No roles of reStructuredText; and what stands in brackets is no style."""
    said = " ".join(netsim("list", kind).stdout.split())
    assert not re.search(r":\w+:`|``", said)
    assert kind == "learners" or "pip install 'netsim[ray]'" in said


def test_a_protocol_that_closes_no_round_is_told(run):
    result, _ = run(protocol="test_command_line:Silent")
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert "'test_command_line:Silent' closed no round" in line and "self.work.close(" in line
    assert "closed no round" not in run(run_id="b")[0].output


def test_list_alone_names_every_kind():
    result = netsim("list")
    assert result.exit_code == 0 and "rayleigh" in result.stdout and "dmml_kd_balance" in result.stdout


@pytest.mark.parametrize(
    "world",
    [{}, {"radio": {"access": "shared"}}, {"protocol": "server_rounds"}],
    ids=["arrays", "events", "server"],
)
def test_of_the_transfers_as_many_are_recorded_as_the_scenario_asks_for(run, world):
    """All, those of rounds 2 and 4 of 5, none: every other table is the same, and so is what they come to."""
    found = {}
    for transfers in ("all", 2, "summary"):
        result, folder = run(run_id=f"r{transfers}", rounds=5, records={"transfers": transfers}, **world)
        assert result.exit_code == 0, result.output
        found[transfers] = folder
    tables = {key: pd.read_parquet(folder / "transfers.parquet") for key, folder in found.items()}
    every = tables["all"]
    assert set(every["round"]) == {1, 2, 3, 4, 5}
    pd.testing.assert_frame_equal(tables[2], every[every["round"].isin([2, 4])].reset_index(drop=True))
    assert not len(tables["summary"]) and tables["summary"].dtypes.equals(every.dtypes)
    for table in ("rounds", "outside", "metrics", "links"):
        assert len({(folder / f"{table}.parquet").read_bytes() for folder in found.values()}) == 1
    assert len({(folder / "summary.json").read_bytes() for folder in found.values()}) == 1
    assert load_run(found["summary"]).transfers.empty


@pytest.mark.parametrize("value", [0, "many", True, 1.5, None, [], {"every": 2}])
def test_other_words_for_transfers_are_refused_in_a_line(run, value):
    result, _ = run(records={"transfers": value})
    (line,) = result.output.strip().splitlines()
    assert result.exit_code == 2
    assert line.endswith(
        f"records.transfers: must be all, summary, or a whole number of rounds, at least 1 (got {value!r})"
    )


@pytest.mark.parametrize("words", [[], ["run"], ["check"], ["list"]])
def test_help_reads(words):
    result = netsim(*words, "--help")
    assert result.exit_code == 0 and "Usage" in result.output


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("Unable to allocate 9 GiB"), "memory ran out (Unable to allocate 9 GiB); use fewer"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory ran out (DefaultCPUAllocator"),
        (OverflowError(34, "Numerical result out of range"), "a number is too large or too small to compute"),
        (ImportError("libx.so: failed to map segment from shared object"), "memory ran out (libx.so: failed"),
        (ScenarioError("jobs.executor: the worker process died"), "jobs.executor: the worker process died"),
    ],
)
def test_what_the_machine_denies_is_one_line_and_the_records_say_failed(run, monkeypatch, error, said):
    def denied(self):
        raise error

    monkeypatch.setattr("netsim.app.simulation.Simulation.run", denied)
    result, folder = run()
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {said}")
    assert json.loads((folder / "metadata.json").read_text())["status"] == "failed"


def test_ctrl_c_leaves_readable_records_and_says_how_far_it_got(write_scenario, tmp_path):
    """A real interrupt of a real process in the middle of a long run."""
    path = write_scenario(rounds=1_000_000)
    words = ["run", path, "--runs", tmp_path / "runs", "--run-id", "a", "--no-plots", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "netsim", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores interrupts, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    folder = tmp_path / "runs" / "small" / "a"
    for _ in range(600):
        if len(list(folder.glob("rounds.parquet/part-*.parquet"))) > 1:
            break
        time.sleep(0.05)
    under_way = pd.read_parquet(folder / "rounds.parquet")
    assert set(under_way.groupby("round").size()) == {3}  # only whole rounds are on disk
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["status"] == "interrupted"
    assert f"interrupted after round {metadata['rounds_finished']} of 1000000" in errors
    assert "Traceback" not in errors
    rounds = pd.read_parquet(folder / "rounds.parquet")
    assert metadata["rounds_finished"] <= rounds["round"].max() <= metadata["rounds_finished"] + 1


def test_a_killed_run_is_readable_up_to_its_last_closed_round(write_scenario, tmp_path):
    path = write_scenario(rounds=1_000_000)
    words = ["run", path, "--runs", tmp_path / "runs", "--run-id", "a", "--no-plots", "--quiet"]
    process = subprocess.Popen([sys.executable, "-m", "netsim", *map(str, words)])
    folder = tmp_path / "runs" / "small" / "a"
    for _ in range(600):
        if len(list(folder.glob("rounds.parquet/part-*.parquet"))) > 1:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    rounds = pd.read_parquet(folder / "rounds.parquet")
    assert set(rounds.groupby("round").size()) == {3}
    assert json.loads((folder / "metadata.json").read_text())["status"] == "running"


def test_the_physics_needs_no_pytorch():
    """Devices, radio and topology, and a whole run of the stub learner, in a fresh interpreter."""
    code = (
        "import sys; import netsim.world.devices, netsim.world.radio, netsim.world.topology, netsim.protocols; "
        "import netsim.app.build, netsim.app.commands.cli; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_what_to_type_next_has_the_python_that_ran(tmp_path, monkeypatch):
    """After ``make run`` in a new terminal, ``python`` is another one, which has no netsim."""
    monkeypatch.chdir(tmp_path)
    own = tmp_path / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.touch(mode=0o755)
    monkeypatch.setattr("sys.executable", str(own))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert typed_python() == ".venv/bin/python"
    monkeypatch.setenv("PATH", str(own.parent))
    assert typed_python() == "python"
