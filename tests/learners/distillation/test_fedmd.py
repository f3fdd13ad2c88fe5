"""FedMD: scores of public samples, their mean, and what parties with different networks make of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distilling import (
    IMAGES,
    MLP,
    RESNET,
    VECTORS,
    charged_and_computed,
    make,
    make_setup,
    play,
    prepare,
    reachable,
    rounded,
    simulate,
    storages,
)
from tiny_task import UNLIMITED
from torch.nn import functional as F

from learners.checks import check_learner, fingerprint
from learners.data.dataset import MultimodalDataset, Partition, Share
from learners.distillation.fedmd import FedMD, mean_scores
from learners.distillation.fedmd_update import Consensus, Epochs, update
from learners.dmml.batches import mini_batches
from learners.training.state import Part
from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions
from netsim.core.streams import derive_seed

NO_START = {"public_epochs": 0, "private_epochs": 0}


class Unequal(Partition):
    """Device k gets the next so many training samples."""

    def __init__(self, *counts: int) -> None:
        super().__init__(NoOptions())
        self.counts = counts

    def deal(self, data: MultimodalDataset, device_count: int, seed: int) -> list[Share]:
        ends = np.cumsum((0, *self.counts))
        return [Share(data.train[a:b], data.modalities) for a, b in pairwise(ends)]


def exact(learner: Any) -> Any:
    """The learner with models and samples in binary fractions, in which float64 adds up without rounding."""
    learner._states = {k: rounded(state) for k, state in learner._states.items()}
    fleet = learner._fleet
    fleet.store = dataclasses.replace(
        fleet.store, inputs={m: (x * 4).round() / 4 for m, x in fleet.store.inputs.items()}
    )
    store = learner._shared.store
    inputs = {m: (x * 4).round() / 4 for m, x in store.inputs.items()}
    learner._shared = dataclasses.replace(learner._shared, store=dataclasses.replace(store, inputs=inputs))
    return learner


def job_inputs(learner: Any, device: int = 0, **changes: Any) -> dict[str, Any]:
    """What the first local update of ``device`` is given, with other things in some places."""
    (message,) = learner.download(1, range(learner.setup.device_count))
    learner.receive(device, 1, message.payload)
    job = learner.training_job(device, 1, learner.workload(device, 1, UNLIMITED))
    return {**job.inputs, **changes}


# Checks of the method itself.


def test_identical_parties_agree_with_themselves_and_do_not_move() -> None:
    learner = exact(make("fedmd", networks=[MLP, MLP], precision="float64", digest_epochs=3, **NO_START))
    learner._states[1] = learner._states[0]
    inputs = job_inputs(learner, epochs=Epochs(0, 0, 0))
    own = update(**inputs).scores
    consensus = Consensus(inputs["asked"], mean_scores([own, own]))
    assert torch.equal(consensus.scores, own)
    digested = update(**{**inputs, "epochs": Epochs(0, 3, 0), "consensus": consensus})
    assert digested.losses == {"loss_digest": 0.0}
    assert fingerprint(digested.state) == fingerprint(inputs["state"])


def test_one_party_that_does_not_revisit_stays_where_it_is() -> None:
    learner = exact(
        make("fedmd", networks=[MLP], precision="float64", digest_epochs=2, revisit_epochs=0, **NO_START)
    )
    before = fingerprint(learner._states)
    turns = play(learner, 3)
    assert fingerprint(learner._states) == before
    assert [turn.metrics.get((0, "loss_digest")) for turn in turns] == [None, 0.0, 0.0]


def test_the_consensus_is_the_mean() -> None:
    scores = list(torch.randn(3, 5, 4, dtype=torch.float64))
    mean = mean_scores(scores)
    torch.testing.assert_close(mean, mean_scores(scores[::-1]))
    moved = mean_scores([scores[0], scores[1] + 1.5, scores[2]])
    torch.testing.assert_close(moved, mean + 0.5)


def test_the_server_s_consensus_is_the_mean_of_what_arrived_and_stays_where_nothing_did() -> None:
    learner = make("fedmd")
    learner.download(1, range(3))
    sent = [torch.randn(12, 5) for _ in range(3)]
    payloads = {}
    for k in (0, 2):
        payloads[k] = learner._scores(k, 1)
        payloads[k].scores = sent[k]
    learner.combine(learner.server, 1, payloads)
    found = learner._agreement(1).consensus
    torch.testing.assert_close(found.scores, (sent[0] + sent[2]) / 2)
    learner.combine(learner.server, 2, {})
    assert learner._agreement(2).consensus is found


def test_without_digest_a_run_is_everybody_s_own() -> None:
    """Alone, or with others whose consensus nobody digests; and as Adam of PyTorch would have it, memory kept."""
    learner = make("fedmd", digest_epochs=0, public_epochs=0, precision="float64")
    first = learner._states[1]
    play(learner, 3)
    alone = make("fedmd", digest_epochs=0, public_epochs=0, precision="float64")
    play(alone, 3, {1: [1], 2: [1], 3: [1]})
    assert fingerprint(learner._states[1]) == fingerprint(alone._states[1])

    net = learner._fleet.architectures[1].build().double()
    net.load_state_dict({f"{part}.{name}": x for part in first for name, x in first[part].items()})
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    store = learner._fleet.store
    rows = store.rows(1)
    for t in (1, 2, 3):
        seed = derive_seed(derive_seed(0, "training", 1, t), "own")
        for places in mini_batches(20, 8, 3, seed, "keep"):
            x = store.inputs["features"][rows[places]].double()
            optimizer.zero_grad()
            F.cross_entropy(net(x).logits[0], store.labels[rows[places]]).backward()
            optimizer.step()
    for part, module in net.parts().items():
        for name, tensor in module.state_dict().items():
            torch.testing.assert_close(learner._states[1][part][name], tensor, rtol=1e-9, atol=1e-12)


def test_a_digest_brings_parties_nearer_to_the_consensus() -> None:
    learner = make("fedmd", digest_epochs=30, revisit_epochs=0, learning_rate=0.01)
    turns = play(learner, 2)
    inputs = job_inputs(learner, 0, state=learner._states[0], epochs=Epochs(0, 0, 0))
    digested = learner._agreement(2)
    assert digested.consensus is not None and turns[1].metrics[0, "loss_digest"] > 0
    again = Epochs(0, 1, 0)
    received = turns[1].downloads[0].payload.consensus
    nearer = update(**{**inputs, "epochs": again, "consensus": received}).losses["loss_digest"]
    assert nearer < 0.7 * turns[1].metrics[0, "loss_digest"]


def test_scores_do_not_depend_on_how_samples_are_batched() -> None:
    learner = make(
        "fedmd",
        data=IMAGES,
        networks=[RESNET],
        precision="float64",
        public={**IMAGES, "samples": 24},
        private_epochs=2,
    )
    play(learner, 1)
    inputs = job_inputs(learner, state=learner._states[0], epochs=Epochs(0, 0, 0))
    whole, *parts = (
        update(**{**inputs, "plan": dataclasses.replace(inputs["plan"], digest_batch_size=size)}).scores
        for size in (100, 1, 5)
    )
    assert whole.shape == (12, 6) and whole.std() > 0
    for one in parts:
        torch.testing.assert_close(one, whole, rtol=1e-12, atol=1e-12)


# Messages.


@pytest.mark.parametrize(("samples", "classes"), [(12, 2), (24, 2), (12, 5)])
def test_bits_are_samples_times_classes_whatever_the_network(samples: int, classes: int) -> None:
    wide = {"name": "mlp", "hidden": [50]}
    public = {**VECTORS, "samples": 24, "classes": classes}
    learner = make("fedmd", networks=[MLP, wide], public=public, alignment_samples=samples)
    assert learner._fleet.costs(1).bits > 5 * learner._fleet.costs(0).bits
    first, second = play(learner, 2)
    bits = samples * (3 + classes) * 32
    assert {m.size_bits for turn in (first, second) for m in turn.uploads.values()} == {bits}
    assert [m.size_bits for m in first.downloads] == [0.0] and [m.size_bits for m in second.downloads] == [
        bits
    ]
    assert second.downloads[0].receivers == (0, 1), "one message for all: it can be broadcast"


def test_no_weight_is_ever_in_a_message() -> None:
    learner = make("fedmd")
    turns = play(learner, 3)
    messages = [m for turn in turns for m in (*turn.downloads, *turn.uploads.values())]
    inside = list(reachable([m.payload for m in messages]))
    assert not any(isinstance(one, Part) for one in inside)
    tensors = [one for one in inside if isinstance(one, torch.Tensor)]
    assert {tuple(one.shape) for one in tensors} == {(12, 5), (12,)} and len(tensors) > 9
    assert not {(12, 5), (12,)} & {
        tuple(x.shape) for state in learner._states.values() for part in state.values() for x in part.values()
    }
    assert not storages(iter(inside)) & storages(reachable([learner._states, learner._memories]))


def test_more_public_samples_are_not_asked_for_than_there_are() -> None:
    learner = make("fedmd", alignment_samples=1000)
    assert sorted(learner._places(1).tolist()) == list(range(24))
    learner = make("fedmd")
    first, second = learner._places(1), learner._places(2)
    assert len(set(first.tolist())) == 12 and set(first.tolist()) != set(second.tolist())
    assert torch.equal(first, make("fedmd")._places(1)), "all know them from the seed"


# Label spaces.


def test_a_union_has_a_place_for_every_class_and_all_of_them_count() -> None:
    learner = make("fedmd", public_epochs=60, private_epochs=0, learning_rate=0.02)
    assert learner._fleet.architectures[0].class_counts == (5,) and learner.facts()["label_space"] == "union"
    (turn,) = play(learner, 1)
    state, store = learner._states[0], learner._shared.store
    x = store.inputs["features"][:24]
    found = learner._fleet.architectures[0].predict(state, x).logits[0].argmax(-1)
    assert (found == store.labels[:24] + 3).float().mean() > 0.7, "public labels come after the private ones"
    assert turn.metrics[0, "accuracy_local"] < 0.1, "a prediction of a public class is wrong"


def test_a_head_for_public_classes_is_used_once() -> None:
    learner = make("fedmd", label_space="private")
    assert learner._fleet.architectures[0].class_counts == (3, 2)
    before = learner._states[0]["heads"]["heads.1.weight"].clone()
    (first,) = play(learner, 1)
    then = learner._states[0]["heads"]["heads.1.weight"].clone()
    assert not torch.equal(before, then)
    assert first.uploads[0].size_bits == 12 * 3 * 32
    learner = make("fedmd", label_space="private")
    play(learner, 3)
    assert torch.equal(learner._states[0]["heads"]["heads.1.weight"], then)


def test_shared_classes_are_the_same_classes() -> None:
    learner = make("fedmd", label_space="shared", public={**VECTORS, "samples": 24})
    assert learner._fleet.architectures[0].class_counts == (3,)
    play(learner, 2)
    with pytest.raises(ScenarioError, match=r"label_space: shared needs .* has 2 classes .* have 3 classes"):
        make("fedmd", label_space="shared")


def test_samples_set_aside_have_the_private_classes_and_are_nobody_s() -> None:
    learner = make("fedmd", public=None, public_share=0.4)
    assert learner._fleet.architectures[0].class_counts == (3,) and len(learner._shared) == 24
    own = {int(row) for rows in learner._fleet.samples.values() for row in rows}
    assert not own & set(learner._shared.rows.tolist())
    assert learner._shared.store is learner._fleet.store
    play(learner, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"public": None}, r"learner\.public: this learner distils with samples .* partition\.public_share"),
        ({"public_share": 0.2}, r"learner\.public: a data set is named, and partition\.public_share"),
        ({"public": {**VECTORS, "shape": [9]}}, r"learner\.public: .* shape \[9\], but .* \[8\]"),
        ({"public": {**VECTORS, "classes": 99}}, r"learner\.public: data\.classes: must be at most"),
    ],
)
def test_public_samples_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        make("fedmd", **changes)


# Rounds.


def test_a_party_begins_with_public_labels_whenever_that_is() -> None:
    """Device 2 sits out in round 1; device 1 receives the first message and is cut off before it is done."""
    learner = make("fedmd")
    (message,) = learner.download(1, [0, 1])
    learner.receive(1, 1, message.payload)
    assert learner.workload(1, 1, UNLIMITED).flops["public"] > 0  # and nothing more of device 1 in this round
    turns = play(learner, 3, {1: [0]})
    for k, first in ((0, 1), (1, 2), (2, 2)):
        for turn in turns:
            names = set(turn.of(k)) - {"accuracy_local"}
            if turn.round < first:
                assert names == set()
            elif turn.round == first:
                assert names == {"loss_public", "loss_task"}
            else:
                assert names == {"loss_digest", "loss_task"}


def test_who_is_cut_off_by_others_begins_when_it_can(write_scenario: Callable[..., Path]) -> None:
    _, log = simulate(
        write_scenario,
        "fedmd",
        rounds=6,
        protocol={"name": "server_rounds", "first": 2},
        devices={
            "processor": {"frequency_hz": 1e4},
            "stragglers": {"name": "lognormal", "sigma": 2.0},
        },
    )
    begun = {}
    for row in log.metrics:
        if row.name in ("loss_public", "loss_digest"):
            begun.setdefault(row.device, []).append((row.round, row.name))
    assert set(begun) == {0, 1, 2}
    assert any(own[0][0] > 1 for own in begun.values()), "somebody was cut off in round 1"
    for own in begun.values():
        assert [name for _, name in own] == ["loss_public"] + ["loss_digest"] * (len(own) - 1)


def test_work_by_hand() -> None:
    """MLP 8 → 6 → 5 classes: 48 + 30 multiply-accumulates; 20 samples of its own, 24 public ones, 12 to agree on.

    Backward the first layer takes 48 and the second twice 30.
    """
    learner = make("fedmd", public_epochs=2, private_epochs=3, digest_epochs=2, revisit_epochs=4)
    first, second = play(learner, 2)
    step, forward = 2 * (78 + 48 + 60), 2 * 78
    assert first.workloads[0].flops == {
        "public": 2 * 3 * 8 * step,
        "digest": 0,
        "own": 3 * 20 * step,
        "scores": 12 * forward,
    }
    assert first.workloads[0].iterations == {"features": 2 * 3 + 3 * 3}
    assert second.workloads[0].flops == {
        "public": 0,
        "digest": 2 * 2 * 6 * step,
        "own": 4 * 20 * step,
        "scores": 12 * forward,
    }
    assert first.workloads[learner.server].flops == {"consensus": 3 * 12 * 5}
    assert learner.training_memory_bytes(0) == 4 * 4 * 89 + 8 * learner._fleet.costs(0).activation_bytes
    (dropping,) = play(make("fedmd", public_epochs=2, private_epochs=3, last_batch="drop"), 1)
    assert dropping.workloads[0].flops["own"] == 3 * 2 * 8 * step


@pytest.mark.parametrize("label_space", ["union", "private"])
def test_a_party_computes_what_it_is_charged_for(label_space: str) -> None:
    """As PyTorch's own counter has it, in the round with public labels and in the one with a digest."""
    found = list(charged_and_computed(make("fedmd", label_space=label_space), rounds=2))
    assert len(found) == 6 and all(charged == computed for charged, computed in found)


def test_devices_without_samples_sit_out_and_few_samples_are_one_batch() -> None:
    learner = make("fedmd", partition=Unequal(9, 0, 1))
    assert learner.facts()["sit_out"] == [1] and learner.owners() == {"features": frozenset({0, 2})}
    turns = play(learner, 2, {1: [0, 2], 2: [0, 2]})
    assert turns[0].workloads[2].flops["own"] == 2 * (78 + 48 + 60) and turns[1].metrics[3, "accuracy"] >= 0
    assert learner.training_memory_bytes(1) == 0.0


def test_the_clock_may_be_rounds_ahead_of_the_learning() -> None:
    one, other = make("fedmd"), make("fedmd")
    now, later = play(one, 3), play(other, 3, ahead=True)
    assert [turn.metrics for turn in now] == [turn.metrics for turn in later]
    assert fingerprint(one._states) == fingerprint(other._states)
    assert set(one._agreements) == {3} and not one._sent, "what is over is forgotten"


def test_parties_are_judged_as_they_were_last_heard_of() -> None:
    """What a party learns in a round whose upload is lost may be done before or after the server's judgement."""
    learner = make("fedmd")
    turns = play(learner, 2, lost={2: [1]})
    heard, lost = learner._heard, learner._states
    assert fingerprint(heard[0]) == fingerprint(lost[0]) and fingerprint(heard[1]) != fingerprint(lost[1])
    local = [turns[1].metrics[0, "accuracy_local"], turns[0].metrics[1, "accuracy_local"]]
    local.append(turns[1].metrics[2, "accuracy_local"])
    assert turns[1].metrics[3, "accuracy"] == pytest.approx(sum(local) / 3)


def test_divergence_is_told_with_the_step_size() -> None:
    learner = make("fedmd", learning_rate=1e38)
    with pytest.raises(ScenarioError, match=r"learner\.learning_rate: the training of device \d diverged"):
        play(learner, 4)


def test_parties_learn() -> None:
    learner = make("fedmd", data={**VECTORS, "separation": 6.0}, learning_rate=0.01, revisit_epochs=5)
    assert play(learner, 4)[-1].metrics[3, "accuracy"] > 0.6


# With the simulator.


def test_promises_are_kept() -> None:
    check_learner(lambda: FedMD(make_setup("fedmd")))
    check_learner(lambda: FedMD(make_setup("fedmd", label_space="private", partition=Unequal(9, 0, 5))))


def test_an_asynchronous_server_is_refused(write_scenario: Callable[..., Path]) -> None:
    with pytest.raises(ScenarioError, match=r"no rounds that devices share.*use server_rounds"):
        simulate(write_scenario, "fedmd", protocol={"name": "asynchronous_server"})


@pytest.mark.parametrize("blocks", [{}, {"radio": {"outage_snr_db": 12.0, "channel": "rayleigh"}}])
def test_workers_give_the_same_records(write_scenario: Callable[..., Path], blocks: dict[str, Any]) -> None:
    jobs = {"device": "cpu", "threads": 1, "stacking": "off"}
    inline, threads = (
        simulate(write_scenario, "fedmd", rounds=4, jobs={**jobs, "executor": executor}, **blocks)
        for executor in ("inline", {"name": "threads", "workers": 2})
    )
    assert inline[1].everything == threads[1].everything
    assert inline[1].metrics and fingerprint(inline[0].learner._states) == fingerprint(
        threads[0].learner._states
    )
    if blocks:
        assert "lost" in {row.outcome for row in inline[1].rounds}


def test_a_network_each(write_scenario: Callable[..., Path]) -> None:
    learner = prepare(write_scenario, "fedmd").learner
    assert learner.facts()["networks"][1] == {"name": "mlp", "hidden": [7, 4]}
    assert learner.facts()["numbers"] == {0: 8 * 6 + 6 + 6 * 5 + 5, 1: 63 + 32 + 25, 2: 89}
    assert learner.facts()["public"]["samples"] == 24 and learner.facts()["score_bits"] == 12 * 5 * 32
