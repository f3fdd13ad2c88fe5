"""Local updates of devices with the same network as one batch: those of each device alone, up to rounding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from odd_networks import odd_run

from learners.networks.state import State
from learners.training.batched import Together
from netsim.app.build import build
from netsim.core.errors import ScenarioError
from netsim.scenario.loading import load_plan
from netsim.scenario.yaml_file import write_yaml

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
RESNET = {"name": "small_resnet", "widths": [4], "stem_kernel": 3, "stem_stride": 2}
MLP = {"name": "mlp", "hidden": [6]}
CNN = {"name": "cnn", "channels": [2], "hidden": 5}
DEVICES = 5
LEARNERS: dict[str, dict[str, Any]] = {
    "mhd": {"auxiliary_heads": 2, "embedding_size": 4, "local_steps": 4},
    "fedmd": {
        "public_epochs": 1,
        "private_epochs": 2,
        "revisit_epochs": 1,
        "alignment_samples": 14,
        "digest_batch_size": 6,
        "public_batch_size": 16,
    },
    "fedzkt": {
        "local_epochs": 2,
        "distillation_iterations": 2,
        "server_batch_size": 6,
        "noise_size": 3,
        "generator_channels": [4, 2],
        "global_network": CNN,
        "learning_rate": 0.05,
    },
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "MHD, no momentum, the last batch dropped": ("mhd", {"momentum": 0.0, "last_batch": "drop"}),
    "MHD, targets are drawn": ("mhd", {"confidence": "random", "targets": 2}),
    "MHD, embeddings as they are": ("mhd", {"embedding_size": None, "networks": {"features": MLP}}),
    "MHD, heads alone": ("mhd", {"nu_emb": 0.0, "schedule": "constant"}),
    "MHD, nothing is distilled": ("mhd", {"nu_emb": 0.0, "nu_aux": 0.0}),
    "MHD, predictions, different numbers of teachers": (
        "mhd",
        {"transport": "predictions", "targets": 2, "local_steps": 7},
    ),
    "FedMD, a head for public labels": (
        "fedmd",
        {"label_space": "private", "public": {"name": "generated", "samples": 30, "shape": [1, 6, 6], "classes": 2}},
    ),
    "FedMD, one head for both": (
        "fedmd",
        {"label_space": "union", "public": {"name": "generated", "samples": 30, "shape": [1, 6, 6], "classes": 2}},
    ),
    "FedMD, the last batch dropped": ("fedmd", {"last_batch": "drop"}),
    "FedZKT, momentum and decay": ("fedzkt", {"momentum": 0.9, "weight_decay": 0.1}),
    "FedZKT, a distance and all of them": ("fedzkt", {"l2": 0.5, "momentum": 0.5, "weight_decay": 0.1}),
    "FedZKT, statistics move": ("fedzkt", {"student_statistics": "update", "transfer": "all"}),
    "FedZKT, statistics of evaluation": ("fedzkt", {"student_statistics": "eval", "server_momentum": 0.5}),
}  # fmt: skip


def learnt(
    folder: Path, name: str, precision: str, stacking: str, rounds: int = 2, **options: Any
) -> tuple[dict[str, State], Any]:
    """The models after some rounds of devices with 8 to 40 samples, three with BatchNorm; and what was recorded."""
    server = name != "mhd"
    topology: dict[str, Any] = {"placement": {"name": "disc", "diameter_m": 80}}
    tree: dict[str, Any] = {
        "seed": 3,
        "rounds": rounds,
        "devices": {
            "count": DEVICES,
            "classes": {"small": {"devices": [1, 3], "networks": {"features": MLP}}},
        },
        "topology": topology if server else {**topology, "links": {"name": "range", "range_m": 60}},
        **({"protocol": {"name": "server_rounds"}} if server else {}),
        "data": {"name": "generated", "samples": 150, "test_samples": 20, "shape": [1, 6, 6], "classes": 4},
        "partition": {
            "name": "dirichlet",
            "concentration": 1.0,
            "min_samples": 8,
            **({"public_share": 0.2} if name != "fedzkt" and "public" not in options else {}),
        },
        "learner": {
            "name": name,
            "batch_size": 8,
            "networks": {"features": RESNET},
            **LEARNERS[name],
            **options,
        },
        "jobs": {
            "device": "cpu", "threads": 1, "executor": "inline", "stacking": stacking, "precision": precision,
        },
    }  # fmt: skip
    path = folder / "run.yaml"
    path.write_text(write_yaml(tree))
    simulation: Any = build(load_plan(path), folder, lambda text: None)
    simulation.run()
    return models(name, simulation.states), simulation


def models(name: str, states: Any) -> dict[str, State]:
    """All models at the end of a run."""
    if name != "fedzkt":
        return {str(k): states[k]["model"] for k in range(DEVICES)}
    last = states[DEVICES]
    return {**{str(k): own for k, own in last["devices"].items()}, "own": last["own"], "G": last["generator"]}


def distance(found: Mapping[str, State], expected: Mapping[str, State]) -> float:
    """Over models, ‖one − other‖ relative to ‖other‖."""
    assert found.keys() == expected.keys()
    worst = 0.0
    for key, state in expected.items():
        assert found[key].keys() == state.keys()
        gaps = [found[key][part].row.tensor - own.row.tensor for part, own in state.items()]
        own = torch.cat([one.row.tensor for one in state.values()])
        worst = max(worst, float(torch.cat(gaps).norm() / own.norm()))
    return worst


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many devices were done at once, each time."""
    found: list[int] = []
    begin = Together.__init__

    def counted(self: Together, net: Any, states: Any, *others: Any, **named: Any) -> None:
        found.append(len(states))
        begin(self, net, states, *others, **named)

    monkeypatch.setattr(Together, "__init__", counted)
    return found


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", LEARNERS)
def test_two_rounds_stacked_are_two_rounds_alone(
    name: str, precision: str, tmp_path: Path, sizes: list[int]
) -> None:
    alone, _ = learnt(tmp_path, name, precision, "off")
    assert sizes == []
    together, simulation = learnt(tmp_path, name, precision, "on")
    assert distance(together, alone) < TOLERANCE[precision]
    trainings = 2 * (2 if name == "fedzkt" else 1)  # rounds, and the transfer back
    assert sorted(sizes) == trainings * [2] + trainings * [3]
    assert simulation.execution["stacking"]["obstacles"] == []


@pytest.mark.parametrize("case", CASES)
def test_with_all_that_a_scenario_may_say(case: str, tmp_path: Path, sizes: list[int]) -> None:
    name, options = CASES[case]
    alone, _ = learnt(tmp_path, name, "float64", "off", 3, **options)
    together, _ = learnt(tmp_path, name, "float64", "on", 3, **options)
    assert distance(together, alone) < TOLERANCE["float64"]
    assert sizes


def test_samples_differ_in_number(tmp_path: Path) -> None:
    for name in LEARNERS:
        _, simulation = learnt(tmp_path, name, "float32", "off", rounds=1)
        counts = simulation.learner.sample_counts()
        assert len(set(counts.values())) == DEVICES and max(counts.values()) % 8


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize(("kind", "reason"), [("dropout", "random numbers"), ("item", r"\.item\(\)")])
def test_networks_that_cannot_be_vectorised_are_looped_and_the_run_says_why(
    name: str, kind: str, reason: str, tmp_path: Path, sizes: list[int]
) -> None:
    simulation: Any = odd_run(tmp_path, kind, name, stacking="auto")
    simulation.run()
    assert sizes == []
    found = simulation.execution["stacking"]["obstacles"]
    assert {one["label"] for one in found} >= {"training odd_networks:OddNet"}
    assert all("odd_networks:OddNet" in one["reason"] for one in found)
    with pytest.raises(ScenarioError, match=rf"jobs\.stacking: training odd.*{reason}"):
        odd_run(tmp_path, kind, name, stacking="on").run()


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("kind", ["lstm", "bn", "unused", "frozen"])
def test_networks_that_pytorch_vectorises_are_stacked(
    name: str, kind: str, tmp_path: Path, sizes: list[int]
) -> None:
    runs: list[Any] = [
        odd_run(tmp_path, kind, name, precision="float64", stacking=mode) for mode in ("off", "on")
    ]
    for run in runs:
        run.run()
    alone, together = (
        {
            str(k): run.states[4]["devices"][k] if name == "fedzkt" else run.states[k]["model"]
            for k in range(4)
        }
        for run in runs
    )
    assert distance(together, alone) < TOLERANCE["float64"]
    assert set(sizes) == {4}
