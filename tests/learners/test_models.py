"""Models that are kept and read, weights that training starts from, and parts that stay as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torchvision
from retiming import netsim
from safetensors.torch import load_file, save_file

import netsim as simulator
from netsim.events import MetricRow
from netsim.learner import Kept
from netsim.scenario.yaml_file import write_yaml
from netsim.work.models import Keeper

PEERS: dict[str, Any] = {
    "rounds": 4,
    "devices": {"count": 3},
    "topology": {"placement": {"name": "disc", "diameter_m": 20}},
    "data": {"name": "generated", "samples": 120, "test_samples": 40, "shape": [6], "classes": 3},
    "partition": {"name": "iid"},
    "learner": {"name": "dmml", "batch_size": 16, "networks": {"features": {"name": "mlp", "hidden": [8]}}},
    "jobs": {"executor": "inline", "stacking": "off", "threads": 1},
}
SERVER = {"protocol": "server_rounds", "learner": PEERS["learner"] | {"name": "fedavg"}}
IMAGES = {"data": {"name": "digits", "size": 8, "train_samples": 100, "test_samples": 40}}
KINDS = {
    **IMAGES,
    "partition": {"name": "dirichlet", "concentration": 1.0, "min_samples": 10, "public_share": 0.2},
    "learner": {"name": "mhd", "local_steps": 2, "batch_size": 16, "networks": {"image": {"name": "mlp"}}},
}


def run(folder: Path, run_id: str = "a", **blocks: Any) -> Path:
    """The folder of a run of the small scenario with other blocks."""
    file = folder / "small.yaml"
    file.write_text(write_yaml({**PEERS, **blocks}))
    words = ("--runs", folder, "--run-id", run_id, "--cache", folder, "--no-plots", "-q")
    done = netsim("run", file, *words)
    assert done.exit_code == 0, done.output
    return folder / "small" / run_id


def refused(folder: Path, **learner: Any) -> str:
    """The one line with which a learner's options are refused."""
    file = folder / "small.yaml"
    file.write_text(write_yaml({**PEERS, "learner": PEERS["learner"] | learner}))
    done = netsim("run", file, "--runs", folder, "--no-plots", "-q")
    assert done.exit_code == 2 and done.output.count("\n") == 1, done.output
    return str(done.output)


def weights(run: Path, node: int = 0) -> dict[str, torch.Tensor]:
    """The tensors of a node's last model."""
    return load_file(max((run / "models").glob("round-*")) / f"{node}.safetensors")


@pytest.mark.parametrize(
    ("blocks", "nodes"),
    [
        ({}, (0, 1, 2)),
        ({"jobs": {"executor": "forked", "stacking": "off"}}, (0, 1, 2)),
        (SERVER, (3,)),
        (KINDS, (0, 1, 2)),
        ({"learner": PEERS["learner"] | {"name": "isolated", "of": "dmml"}}, (0, 1, 2)),
    ],
    ids=["peers", "forked", "server", "own networks", "isolated"],
)
def test_a_model_has_the_accuracy_of_the_records(
    tmp_path: Path, blocks: dict[str, Any], nodes: tuple[int, ...]
) -> None:
    folder = run(tmp_path, **blocks, models={"keep": "all", "every": 2})
    inputs, labels = simulator.load_test(folder, tmp_path)
    rows = simulator.load(folder).metrics
    found = rows[(rows.name == "accuracy") & (rows.modality == "")].set_index(["round", "device"]).value
    for round in (2, 4):
        for node in nodes:
            model = simulator.load_model(folder, device=node, round=round)
            accuracy = (model.logits(inputs).argmax(1) == labels).double().mean().item()
            assert not model.training
            assert accuracy == pytest.approx(found[round, node], abs=1e-6)
    about = json.loads((folder / "models" / "round-000004" / f"{nodes[0]}.json").read_text())
    assert (about["node"], about["round"]) == (nodes[0], 4)
    tensors = weights(folder, nodes[0])
    assert about["tensors"] == {
        key: {"shape": list(one.shape), "dtype": "float32"} for key, one in tensors.items()
    }


def test_the_last_and_the_best_are_kept_alone(tmp_path: Path) -> None:
    last = run(tmp_path, "last", models={"keep": "last", "every": 3})
    assert [one.name for one in (last / "models").iterdir()] == ["round-000004"]
    best = run(tmp_path, "best", models={"keep": "best"})
    rows = simulator.load(best).metrics
    means = rows[(rows.name == "accuracy") & (rows.modality == "")].groupby("round").value.mean()
    assert [one.name for one in (best / "models").iterdir()] == [f"round-{means.idxmax():06d}"]
    with pytest.raises(Exception, match="has no models after round 9; it has 4"):
        simulator.load_model(last, device=0, round=9)
    with pytest.raises(Exception, match=r"nodes 0, 1, 2; device: choose one \(got None\)"):
        simulator.load_model(last)


def test_the_best_are_those_of_rounds_whose_models_are_kept(tmp_path: Path) -> None:
    """Not of one between, nor of one whose models gave way to those of a round that is learnt anew, otherwise."""

    def keeper() -> Keeper:
        return Keeper(tmp_path, "best", 2, {})

    def close(keeper: Keeper, round: int, accuracy: float, kept: bool = True) -> list[tuple[str, float]]:
        model = {0: Kept("", {"net": {"w": torch.tensor([accuracy])}})}
        row = MetricRow(round, 0, float(round), "accuracy", "", accuracy)
        keeper.close(round, [row], model if kept else {})
        files = [one / "0.safetensors" for one in tmp_path.glob("round-*")]
        return [(one.parent.name, load_file(one)["net.w"].item()) for one in files]

    first = keeper()
    close(first, 2, 0.5)
    assert close(first, 3, 0.875, kept=False) == [("round-000002", 0.5)]
    assert close(first, 4, 0.75) == [("round-000004", 0.75)]
    anew = keeper()  # from a snapshot after round 3
    close(anew, 2, 0.5, kept=False)
    close(anew, 3, 0.875, kept=False)
    assert close(anew, 4, 0.25) == [("round-000004", 0.25)]


@pytest.mark.parametrize("stacking", ["off", "on"])
@pytest.mark.parametrize("name", ["dmml", "fedavg"])
def test_frozen_parts_stay_and_cost_nothing(tmp_path: Path, name: str, stacking: str) -> None:
    """Of an MLP 6 → 8 with a head 8 → 3, the head alone travels: 8 · 3 weights and 3 biases of 32 bits.

    Its training is a forward pass of both, 2 (6 · 8 + 8 · 3) FLOPs, and a gradient of its weights alone, 2 · 8 · 3.
    """
    learner = PEERS["learner"] | {"name": name, "frozen": ["trunks.features"]}
    jobs = {"executor": "inline", "stacking": stacking, "threads": 1}
    whole = run(tmp_path, "whole", learner=learner | {"frozen": []}, models={"keep": "last"}, jobs=jobs)
    folder = run(tmp_path, learner=learner, models={"keep": "last"}, jobs=jobs)
    records, before = simulator.load(folder), simulator.load(whole)
    head = 8 * 3 + 3
    assert set(records.transfers.size_bits) == {32 * head}
    assert set(before.transfers.size_bits) == {32 * (head + 6 * 8 + 8)}
    facts = records.metadata
    (forward, back) = (facts[f"{key}_flops_per_sample"] for key in ("forward", "backward"))
    assert sum(forward.values()) == 2 * (6 * 8 + 8 * 3) and sum(back.values()) == 2 * 8 * 3
    first, last = (
        weights(run(tmp_path, "first", learner=learner | {"learning_rate": 1e-30}, models={"keep": "last"})),
        weights(folder),
    )
    for key in last:
        assert torch.equal(last[key], first[key]) == key.startswith("trunks."), key


def test_frozen_running_statistics_stay(tmp_path: Path) -> None:
    networks = {"image": {"name": "small_resnet", "widths": [4], "blocks": 1}}
    learner = {
        "name": "dmml",
        "batch_size": 16,
        "networks": networks,
        "frozen": ["trunks.image.stem", "trunks.image.norm"],
    }
    folder = run(tmp_path, **IMAGES, learner=learner, models={"keep": "last"})
    tensors = weights(folder)
    assert torch.equal(tensors["trunks.image.norm.running_mean"], torch.zeros(4))
    assert not torch.equal(tensors["trunks.image.blocks.0.norm1.running_mean"], torch.zeros(4))


def test_training_goes_on_from_a_model_that_was_kept(tmp_path: Path) -> None:
    """With a step size of next to nothing the weights stay what the file has."""
    before = run(tmp_path, "before", models={"keep": "last"})
    file = before / "models" / "round-000004" / "1.safetensors"
    tiny = PEERS["learner"] | {"learning_rate": 1e-30, "initial": str(file)}
    after = run(tmp_path, "after", learner=tiny, models={"keep": "last"})
    for key, tensor in weights(before, 1).items():
        torch.testing.assert_close(weights(after, 0)[key], tensor, atol=1e-6, rtol=1e-6)
    save_file({"weight": torch.zeros(8, 6), "bias": torch.ones(8)}, tmp_path / "part.safetensors")
    layer = "trunks.features.layers.0"
    part = {"file": "part.safetensors", "into": layer, "only": [layer]}
    after = run(tmp_path, "part", learner=tiny | {"initial": part}, models={"keep": "last"})
    torch.testing.assert_close(weights(after)[f"{layer}.bias"], torch.ones(8))


def test_weights_of_torchvision(tmp_path: Path) -> None:
    """Its file has a last layer, which the trunk has not; what is taken is said by ``only``."""
    net = torchvision.models.resnet18()
    torch.save(net.state_dict(), tmp_path / "resnet18.pth")
    part = "trunks.features.net"
    learner = {
        "name": "dmml",
        "networks": {"features": "resnet18"},
        "frozen": [part],
        "initial": {"file": "resnet18.pth", "into": part, "only": [part]},
    }
    data = {"name": "generated", "samples": 8, "test_samples": 4, "shape": [3, 16, 16], "classes": 2}
    folder = run(
        tmp_path, rounds=1, devices={"count": 2}, data=data, learner=learner, models={"keep": "last"}
    )
    tensors = weights(folder)
    assert torch.equal(tensors[f"{part}.layer4.1.conv2.weight"], net.layer4[1].conv2.weight)


def test_weights_that_do_not_fit_are_a_line(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(5, 6)}, tmp_path / "other.safetensors")
    assert "has no trunks.features" in refused(tmp_path, initial="other.safetensors")
    assert refused(tmp_path, initial="nothing.safetensors").endswith(
        "nothing.safetensors: No such file or directory\n"
    )
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no weights")
        said = refused(tmp_path, initial=name)
        assert f"{name}: is no file of weights (" in said and "PyTorch 2" not in said
    layer = "trunks.features.layers.0"
    wrong = {"file": "other.safetensors", "into": layer, "only": [f"{layer}.weight"]}
    assert "has shape [5, 6], and the network's has [8, 6]" in refused(tmp_path, initial=wrong)
    assert "the network has no part 'trunks.sound'" in refused(tmp_path, frozen=["trunks.sound"])
    assert "nothing is left to train" in refused(tmp_path, frozen=["trunks", "specific", "head"])


def test_a_device_that_was_never_chosen_has_no_model_of_its_own(tmp_path: Path) -> None:
    """With layers that stay, a device's model is what it was sent and trained; one of three is chosen in one round."""
    server = {"name": "server_rounds", "participants": 1}
    folder = run(
        tmp_path,
        rounds=1,
        protocol=server,
        learner=PEERS["learner"] | {"name": "fedavg", "local": ["head"]},
        models={"keep": "last"},
    )
    trained = pd.read_parquet(folder / "rounds.parquet").query("outcome == 'finished'").device.tolist()
    assert len(trained) == 1
    assert [one.stem for one in (folder / "models" / "round-000001").glob("*.safetensors")] == [
        str(trained[0])
    ]
