"""Numbers of a run passed on to other programs."""

import importlib
import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from netsim.app.commands.cli import app
from netsim.app.trackers import by_key

SCENARIO = "rounds: 3\ndevices: {count: 2}\nlearner: {name: stub}\n"


def run(folder: Path, *words: str) -> tuple[int, str]:
    (folder / "a.yaml").write_text(SCENARIO)
    said = [
        "run",
        str(folder / "a.yaml"),
        "--runs",
        str(folder / "runs"),
        "--run-id",
        "x",
        "--no-plots",
        *words,
    ]
    result = CliRunner().invoke(app, said)
    return result.exit_code, " ".join(result.output.split())


def test_an_unknown_one_or_one_that_is_not_installed_is_said_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, "--track", "paper") == (
        2,
        "error: --track paper: unknown; there are tensorboard, mlflow, wandb",
    )
    monkeypatch.setattr("netsim.app.trackers.find_spec", lambda name: None)
    assert "pip install mlflow" in run(tmp_path, "--track", "mlflow")[1]
    assert not (tmp_path / "runs").exists()


def test_tensorboard_gets_the_runs_numbers(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert run(tmp_path, "--track", "tensorboard")[0] == 0
    log = events.EventAccumulator(str(tmp_path / "runs" / "a" / "x" / "tensorboard")).Reload()
    spent = log.Scalars("energy_per_device_j")
    assert [event.step for event in spent] == [1, 2, 3]
    assert spent[2].value > spent[0].value > 0


def test_mlflow_keeps_settings_rounds_and_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joules of the last round in the store are those of the summary; a run that was stopped has not finished there."""
    mlflow = pytest.importorskip("mlflow")
    store = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    code, said = run(tmp_path, "--track", "mlflow")
    assert code == 0 and "INFO" not in said
    client = mlflow.MlflowClient(store)
    (kept,) = client.search_runs([client.get_experiment_by_name("a").experiment_id])
    assert (kept.info.run_name, kept.info.status) == ("x", "FINISHED")
    assert (kept.data.params["learner.name"], kept.data.params["rounds"]) == ("stub", "3")
    spent = client.get_metric_history(kept.info.run_id, "energy_per_device_j")
    summary = json.loads((tmp_path / "runs" / "a" / "x" / "summary.json").read_text())
    assert [one.step for one in spent] == [1, 2, 3]
    assert spent[2].value == pytest.approx(summary["energy_per_device_j"]["mean"], rel=1e-12)
    assert importlib.import_module("mlflow.telemetry.utils").is_telemetry_disabled()


def test_settings_have_their_whole_keys() -> None:
    settings = {"rounds": 3, "learner": {"name": "stub", "more": {}}, "classes": {"a": {"b": [1]}}}
    assert by_key(settings) == {"rounds": 3, "learner.name": "stub", "learner.more": {}, "classes.a.b": [1]}


class Recorder:
    """Stands for mlflow: notes what it is told."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        self.metrics: list[tuple[int, float]] = []
        self.params: dict[str, str] = {}
        self.ended = False
        self.__spec__ = None

    def set_tracking_uri(self, uri: str) -> None:
        assert uri.startswith("sqlite:///") and uri.endswith("runs/mlflow.db")

    def set_experiment(self, name: str) -> None:
        assert name == "a"

    def start_run(self, run_name: str) -> None:
        assert run_name == "x"

    def log_params(self, params: dict[str, str]) -> None:
        self.params = params

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        if self.broken and step == 2:
            raise OSError("the store is full")
        self.metrics.append((step, values["simulated_s"]))

    def end_run(self, status: str) -> None:
        self.ended = status == "FINISHED"


@pytest.mark.parametrize("broken", [False, True])
def test_mlflow_gets_settings_and_rounds_and_may_fail_without_harm(
    broken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = Recorder(broken)
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    monkeypatch.setattr("netsim.app.trackers.find_spec", lambda name: stand_in)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code, said = run(tmp_path, "--track", "mlflow")
    assert code == 0 and stand_in.ended and stand_in.params["rounds"] == "3"
    assert [step for step, _ in stand_in.metrics] == ([1] if broken else [1, 2, 3])
    assert ("logged no more from round 2 on: the store is full" in said) == broken
