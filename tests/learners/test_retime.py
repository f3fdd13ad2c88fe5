"""``netsim retime``: the clock of a run under other physics is that of a fresh run, byte for byte, or it stops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_task import NETWORKS
from typer.testing import CliRunner, Result

from analysis.verify import verify
from netsim.app.cli import app

Tree = dict[str, Any]
GRID = {
    "placement": {"name": "grid", "spacing_m": 20.0},
    "links": {"name": "range", "range_m": 30.0},
}
MULTIMODAL: Tree = {
    "topology": GRID,
    "devices": {"count": 4},
    "data": {"name": "tiny_task:TinyData"},
    "partition": {"name": "iid", "gamma": 0.5},
    "learner": {"networks": NETWORKS, "batch_size": 16},
}
DISTILLED = {"generator_hidden": 8, "noise_size": 4, "generator_iterations": 2}
VECTORS = {"name": "generated", "samples": 48, "test_samples": 12, "shape": [1, 6, 6], "classes": 3}
MLP = {"features": {"name": "mlp", "hidden": [6]}}
PLAIN: Tree = {
    "topology": GRID,
    "devices": {"count": 4},
    "data": VECTORS,
    "partition": {"name": "iid"},
    "learner": {"networks": MLP, "batch_size": 8},
}
SERVER = {**PLAIN, "protocol": "server_rounds"}
HEAD = {"head_hidden": 4}
MHD = {"local_steps": 2, "public_batch_size": 8}
FEDMD = {
    "digest_batch_size": 6,
    "public_batch_size": 8,
    "alignment_samples": 8,
    "public_epochs": 1,
    "private_epochs": 1,
}
FEDZKT = {
    "distillation_iterations": 2,
    "server_batch_size": 4,
    "noise_size": 3,
    "generator_channels": [4, 2],
    "local_epochs": 1,
    "global_network": MLP["features"],
}
PUBLIC = {"partition": {"name": "iid", "public_share": 0.2}}
RUNS: dict[str, tuple[Tree, Tree]] = {
    "dmml": (MULTIMODAL, {}),
    "dmml_kd": (MULTIMODAL, DISTILLED),
    "dmml_kd_balance": (MULTIMODAL, DISTILLED),
    "dmml server": ({**MULTIMODAL, "protocol": "server_rounds"}, {}),
    "isolated": (MULTIMODAL, {}),
    "centralized": (MULTIMODAL, {}),
    "fedavg": ({**SERVER, "protocol": {"name": "server_rounds", "participants": 3}}, HEAD),
    "fedavg neighbours": (PLAIN, HEAD),
    "fedhgb": (SERVER, HEAD),
    "fednova": (SERVER, HEAD),
    "fedatt": (SERVER, HEAD),
    "fedbuff": ({**PLAIN, "protocol": {"name": "asynchronous_server", "buffer": 2}}, HEAD),
    "mhd": ({**PLAIN, **PUBLIC}, MHD),
    "fedmd": ({**SERVER, **PUBLIC}, FEDMD),
    "fedzkt": (SERVER, FEDZKT),
}


def netsim(*words: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def run(write_scenario: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Runs a scenario as a person does; returns the run's folder."""

    def go(run_id: str, name: str, *settings: str, **blocks: Any) -> Path:
        tree, options = RUNS[name]
        learner = {**tree["learner"], "name": name.split()[0], **options}
        jobs = {"device": "cpu", "threads": 1, "executor": "inline", "stacking": "off"}
        file = write_scenario(**{"rounds": 3, **tree, "learner": learner, "jobs": jobs, **blocks})
        words = [word for text in settings for word in ("--set", text)]
        done = netsim(
            "run", file, *words, "--runs", tmp_path / "runs", "--run-id", run_id, "--no-plots", "-q"
        )
        assert done.exit_code == 0, done.output
        return Path(done.output.strip().splitlines()[-1])

    return go


def retime(folder: Path, *settings: str, run_id: str = "retimed") -> Result:
    words = [word for text in settings for word in ("--set", text)]
    return netsim(
        "retime", folder, *words, "--runs", folder.parents[1], "--run-id", run_id, "--no-plots", "-q"
    )


@pytest.mark.parametrize("name", RUNS)
def test_it_is_a_fresh_run_with_the_same_change(name: str, run: Callable[..., Path]) -> None:
    settings = [
        "radio.bandwidth_hz=1e6",
        "devices.processor.frequency_hz=5e8",
        "server.uplink.bandwidth_hz=3e7",
    ]
    first, fresh = run("first", name), run("fresh", name, *settings)
    done = retime(first, *settings)
    assert done.exit_code == 0, done.output
    retimed = first.with_name("retimed")
    tables = sorted(file.name for file in fresh.glob("*.parquet"))
    assert tables == sorted(file.name for file in retimed.glob("*.parquet"))
    for table in [*tables, "summary.json", "scenario.yaml"]:
        assert (retimed / table).read_bytes() == (fresh / table).read_bytes(), table
    assert (first / "rounds.parquet").read_bytes() != (fresh / "rounds.parquet").read_bytes()
    assert verify(retimed) == []
