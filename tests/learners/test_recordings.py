"""Networks for recordings [9, 128] under three methods: what is charged for, in closed form and by PyTorch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import networkx as nx
import pandas as pd
import pytest
from every_key import Tree, check, run
from recordings import NETWORKS, SHAPE, Costs
from tiny_task import UNLIMITED, make_setup, play_of, run_job
from torch.utils.flop_counter import FlopCounterMode

from learners.data.partitions.partition import IID, OwnerOptions
from learners.data.sets.generated import Generated, GeneratedOptions
from netsim.core.registry import load
from netsim.events import Observer
from netsim.scenario.model import Costs as CostsBlock
from netsim.work.executors.inline import Inline
from netsim.work.graph import TaskGraph

CLASSES, BATCH, HIDDEN, AUXILIARY = 6, 8, 16, 2


def learner_of(name: str, kind: str, devices: int = 2, **options: Any) -> Any:
    """A learner on generated recordings whose network stands."""
    networks = {"features": {"name": "recordings:OfRecordings", "kind": kind}}
    settings = {
        "head_hidden": HIDDEN,
        "auxiliary_heads": AUXILIARY,
        "local_steps": 2,
        "public_batch_size": BATCH,
    }
    known = load("learners", name).Options.model_fields
    own = {key: value for key, value in settings.items() if key in known}
    setup = make_setup(name, devices=devices, **{"networks": networks, "batch_size": BATCH, **own, **options})
    data = {"samples": 64, "test_samples": 6, "shape": SHAPE, "classes": CLASSES}
    setup = dataclasses.replace(
        setup,
        data=Generated(GeneratedOptions.model_validate(data)),
        partition=IID(OwnerOptions(public_share=0.25 if name in ("mhd", "fedmd") else 0.0)),
    )
    learner = load("learners", name)(setup)
    learner.prepare(nx.star_graph(devices) if setup.has_server else nx.complete_graph(devices))
    return learner


def closed_form(kind: str) -> tuple[Costs, int]:
    """The trunk's, and how many features it has."""
    trunk, costs = NETWORKS[kind]()
    return costs, trunk.feature_count


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_dmml(kind: str) -> None:
    """One modality has one linear classifier, which passes gradients on to the trunk."""
    trunk, features = closed_form(kind)
    classifier = features * CLASSES
    learner = learner_of("dmml", kind)
    facts = learner.facts()
    assert facts["forward_flops_per_sample"]["features"] == 2 * (trunk.forward + classifier)
    assert facts["backward_flops_per_sample"]["features"] == 2 * (trunk.backward + 2 * classifier)
    samples = 4 * BATCH  # of 64 samples on two devices
    assert learner.cost(0, 1, (1,), UNLIMITED, None).flops == {
        "features": samples * 2 * (trunk.forward + trunk.backward + 3 * classifier),
        "common": 0.0,
    }


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_fedavg(kind: str) -> None:
    """The trunk, and the one head that it has."""
    trunk, features = closed_form(kind)
    head = features * HIDDEN + HIDDEN * CLASSES
    learner = learner_of("fedavg", kind)
    facts = learner.facts()
    assert facts["forward_flops_per_sample"] == {"features": 2 * trunk.forward, "fusion": 2 * head}
    assert facts["backward_flops_per_sample"] == {"features": 2 * trunk.backward, "fusion": 2 * 2 * head}


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_mhd(kind: str) -> None:
    """All heads are computed; private samples have gradients of the main one only, public ones of the others."""
    trunk, features = closed_form(kind)
    head = features * CLASSES
    learner = learner_of("mhd", kind)
    forward = trunk.forward + (1 + AUXILIARY) * head
    facts = learner.facts()
    assert facts["forward_flops_per_sample"][0] == 2 * forward
    assert facts["backward_flops_per_sample"][0] == 2 * (trunk.backward + 2 * (1 + AUXILIARY) * head)
    samples = 2 * BATCH
    assert learner.cost(0, 1, [1], UNLIMITED, None).flops == {
        "private": samples * 2 * (forward + trunk.backward + 2 * head),
        "public": samples * 2 * (forward + trunk.backward + 2 * AUXILIARY * head),
        "teachers": samples * 2 * forward,
    }


def as_pytorch_counts(job: Any) -> float:
    """FLOPs of a job that is really done, by PyTorch's own counter."""
    with FlopCounterMode(display=False) as counter:
        run_job(job)
    return float(counter.get_total_flops())


@pytest.mark.parametrize("kind", ["mlp", "cnn", "gru"])
def test_a_local_update_of_fedavg_computes_what_it_is_charged_for(kind: str) -> None:
    learner = learner_of("fedavg", kind)
    charged = learner.cost(0, 1, (1,), UNLIMITED, None).total_flops
    assert as_pytorch_counts(play_of(learner).job(0)) == pytest.approx(charged, rel=1e-9)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "gru"])
def test_a_local_update_of_dmml_computes_what_it_is_charged_for(kind: str) -> None:
    learner = learner_of("dmml", kind)
    charged = learner.cost(0, 1, (1,), UNLIMITED, None).total_flops
    assert as_pytorch_counts(play_of(learner).job(0)) == pytest.approx(charged, rel=1e-9)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "gru"])
@pytest.mark.parametrize("embedding", [None, 12])
def test_a_local_update_of_mhd_computes_what_it_is_charged_for(kind: str, embedding: int | None) -> None:
    learner = learner_of("mhd", kind, embedding_size=embedding, nu_emb=1.0 if embedding else 0.0)
    graph = TaskGraph(Inline(), Observer(), 0)
    cost = learner.cost(0, 1, [1], UNLIMITED, None)
    step = learner.train(graph, 0, 1, learner.first(graph, 0).state, cost)
    with FlopCounterMode(display=False) as counter:
        graph.value(step.state)
    assert counter.get_total_flops() == pytest.approx(cost.total_flops, rel=1e-9)


def test_a_ratio_still_says_what_a_backward_pass_costs() -> None:
    """As the paper has it: as much as the forward pass, heads and first layer alike."""
    trunk, features = closed_form("gru")
    learner = learner_of("dmml", "gru", costs=CostsBlock(backward_to_forward=1, flops_per_mac=1))
    facts = learner.facts()
    forward = trunk.forward + features * CLASSES
    assert facts["forward_flops_per_sample"] == facts["backward_flops_per_sample"] == {"features": forward}


@pytest.mark.parametrize("name", ["dmml", "fedavg", "mhd"])
@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_they_run_with_the_jobs_that_a_newcomer_has(name: str, kind: str, tmp_path: Path) -> None:
    """From the command line, ``jobs`` at its default: the books balance, and compute joules are those of the FLOPs."""
    learner: Tree = {
        "name": name,
        "networks": {"features": {"name": "recordings:OfRecordings", "kind": kind}},
    }
    tree: Tree = {
        "rounds": 2,
        "devices": {"count": 3},
        "topology": {"placement": {"name": "disc", "diameter_m": 30}},
        "data": {
            "name": "generated",
            "samples": 64,
            "test_samples": 12,
            "shape": list(SHAPE),
            "classes": CLASSES,
        },
        "partition": {"name": "iid", "public_share": 0.25 if name == "mhd" else 0.0},
        "protocol": {"name": "server_rounds" if name == "fedavg" else "decentralized_rounds"},
        "learner": {**learner, "batch_size": BATCH},
        "jobs": {"device": "cpu"},
    }
    if name == "mhd":
        tree["learner"] |= {"local_steps": 2, "public_batch_size": BATCH}
    folder = run(tree, tmp_path)
    check(folder)
    rows = pd.read_parquet(folder / "rounds.parquet")
    facts = json.loads((folder / "metadata.json").read_text())
    trunk, _ = closed_form(kind)
    forward = facts["forward_flops_per_sample"]
    assert all(flops >= 2 * trunk.forward for key, flops in forward.items() if key != "fusion")
    device = pd.read_parquet(folder / "devices.parquet").iloc[0]
    joules_per_flop = device.effective_capacitance_f * device.frequency_hz**2 / device.flops_per_cycle
    assert rows.compute_j.to_numpy() == pytest.approx(joules_per_flop * rows.flops.to_numpy(), rel=1e-9)
