"""FedMD: scores of public samples, their mean, and what parties with different networks make of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from at_once import Play
from distilling import (
    IMAGES,
    MLP,
    RESNET,
    VECTORS,
    charged_and_computed,
    make,
    prepare,
    reachable,
    rounded,
    simulate,
)
from tiny_task import UNLIMITED
from torch.nn import functional as F

from learners.algorithms.fedmd import Upload, mean_scores
from learners.checks import fingerprint
from learners.data.dataset import MultimodalDataset, Share
from learners.data.split import Partition
from learners.networks.state import Part
from learners.training.batches import mini_batches
from learners.training.distillation.fedmd_update import Consensus, Steps, update
from learners.training.task import Store
from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions
from netsim.core.streams import derive_seed
from netsim.work.future import Shared, opened

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
    devices, public = learner._devices, learner._public_set.value
    devices._initial = {text: rounded(state) for text, state in devices._initial.items()}
    devices.store = in_quarters(devices.store)
    learner._public_set = Shared(dataclasses.replace(public, store=in_quarters(public.store)))
    return learner


def in_quarters(store: Store) -> Store:
    return dataclasses.replace(store, inputs={m: (x * 4).round() / 4 for m, x in store.inputs.items()})


def job_inputs(learner: Any, device: int = 0, **changes: Any) -> dict[str, Any]:
    """What the first local update of ``device`` is given, with other things in some places."""
    play = Play(learner)
    play.rounds(1, participants={1: [device]})
    (inputs,) = play.work.inputs_of(update)
    return {**inputs, **changes}


def fingerprints(play: Play) -> dict[int, str]:
    """Digests of the parties' models."""
    return {k: fingerprint(play[k]["model"]) for k in range(play.learner.setup.device_count)}


# Checks of the method itself.


def test_identical_parties_agree_with_themselves_and_do_not_move() -> None:
    learner = exact(make("fedmd", networks=[MLP, MLP], precision="float64", digest_epochs=3, **NO_START))
    inputs = job_inputs(learner, steps=Steps(0, 0, 0))
    own = update(**inputs).scores
    consensus = Consensus(inputs["asked"], mean_scores([own, own]))
    assert torch.equal(consensus.scores, own)
    digested = update(**{**inputs, "steps": Steps(0, 6, 0), "consensus": consensus})
    assert digested.losses == {"loss_digest": 0.0}
    assert fingerprint(digested.state) == fingerprint(inputs["state"])


def test_one_party_that_does_not_revisit_stays_where_it_is() -> None:
    learner = exact(
        make("fedmd", networks=[MLP], precision="float64", digest_epochs=2, revisit_epochs=0, **NO_START)
    )
    play = Play(learner)
    before = fingerprints(play)
    turns = play.rounds(3)
    assert fingerprints(play) == before
    assert [turn.metrics.get((0, "loss_digest")) for turn in turns] == [None, 0.0, 0.0]


def test_the_consensus_is_the_mean() -> None:
    scores = list(torch.randn(3, 5, 4, dtype=torch.float64))
    mean = mean_scores(scores)
    torch.testing.assert_close(mean, mean_scores(scores[::-1]))
    moved = mean_scores([scores[0], scores[1] + 1.5, scores[2]])
    torch.testing.assert_close(moved, mean + 0.5)


def test_the_server_s_consensus_is_the_mean_of_what_arrived_and_stays_where_nothing_did() -> None:
    play = Play(make("fedmd"))
    (first,) = play.rounds(1, lost={1: [1]})
    sent = [opened(first.outboxes[k]).scores for k in (0, 2)]
    found = play[3]["consensus"]
    torch.testing.assert_close(found.scores, (sent[0] + sent[1]) / 2)
    assert torch.equal(found.places, play.learner._places(1))
    play.rounds(1, lost={2: [0, 1, 2]})
    assert fingerprint(play[3]["consensus"]) == fingerprint(found)


def test_without_digest_a_run_is_everybody_s_own() -> None:
    """Alone, or with others whose consensus nobody digests; and as Adam of PyTorch would have it, memory kept."""
    together, alone = (
        Play(make("fedmd", digest_epochs=0, public_epochs=0, precision="float64")) for _ in range(2)
    )
    learner, first = together.learner, together[1]["model"]
    together.rounds(3)
    alone.rounds(3, participants={1: [1], 2: [1], 3: [1]})
    last = together[1]["model"]
    assert fingerprint(last) == fingerprint(alone[1]["model"])

    net = learner._devices.architectures[1].build().double()
    net.load_state_dict({f"{part}.{name}": x for part in first for name, x in first[part].items()})
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    store = learner._devices.store
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
            torch.testing.assert_close(last[part][name], tensor, rtol=1e-9, atol=1e-12)


def test_a_digest_brings_parties_nearer_to_the_consensus() -> None:
    learner = make("fedmd", digest_epochs=30, revisit_epochs=0, learning_rate=0.01)
    play = Play(learner)
    turns = play.rounds(2)
    inputs = play.work.inputs_of(update)[3]
    assert inputs["consensus"] is not None and turns[1].metrics[0, "loss_digest"] > 0
    again = {**inputs, "state": play[0]["model"], "steps": Steps(0, 2, 0)}
    nearer = update(**again).losses["loss_digest"]
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
    play = Play(learner)
    play.rounds(1)
    inputs = {**play.work.inputs_of(update)[0], "state": play[0]["model"], "steps": Steps(0, 0, 0)}
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
    assert learner._devices.costs(1).bits > 5 * learner._devices.costs(0).bits
    first, second = Play(learner).rounds(2)
    bits = samples * (3 + classes) * 32
    assert {m.size_bits for turn in (first, second) for own in turn.messages.values() for m in own} == {bits}
    assert [m.size_bits for m in first.downloads] == [0.0] and [m.size_bits for m in second.downloads] == [
        bits
    ]
    assert second.downloads[0].receivers == (0, 1), "one message for all: it can be broadcast"


@pytest.mark.parametrize("links", [None, nx.complete_graph(3)], ids=["server", "none"])
def test_no_weight_ever_travels(links: nx.Graph | None) -> None:
    """Scores and places are all that is taken from a message: with other models in the uploads all learn the same."""
    one, other = (Play(make("fedmd", links)) for _ in range(2))
    train = other.learner.train

    def falsified(*given: Any) -> Any:
        step = train(*given)
        if not isinstance(step.outbox, Upload):
            return step
        model = {name: None for name in opened(step.outbox.model)}
        return step._replace(outbox=step.outbox._replace(model=model))

    one.rounds(3)
    other.learner.train, other.learner.evaluate = falsified, lambda *_: None
    other.rounds(3)
    assert fingerprints(one) == fingerprints(other)
    if links is None:
        inside = list(reachable(opened(one.outbox)))
        assert not any(isinstance(value, Part) for value in inside)
        assert {tuple(x.shape) for x in inside if isinstance(x, torch.Tensor)} == {(12, 5), (12,)}


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
    assert (
        learner._devices.architectures[0].class_counts == (5,) and learner.facts()["label_space"] == "union"
    )
    play = Play(learner)
    (turn,) = play.rounds(1)
    state, store = play[0]["model"], learner._public_set.value.store
    x = store.inputs["features"][:24]
    found = learner._devices.architectures[0].predict(state, x).logits[0].argmax(-1)
    assert (found == store.labels[:24] + 3).float().mean() > 0.7, "public labels come after the private ones"
    assert turn.metrics[0, "accuracy_local"] < 0.1, "a prediction of a public class is wrong"


def test_a_head_for_public_classes_is_used_once() -> None:
    learner = make("fedmd", label_space="private")
    assert learner._devices.architectures[0].class_counts == (3, 2)
    play = Play(learner)
    before = play[0]["model"]["heads.1"]["weight"].clone()
    (first,) = play.rounds(1)
    then = play[0]["model"]["heads.1"]["weight"].clone()
    assert not torch.equal(before, then)
    assert first.messages[0][0].size_bits == 12 * 3 * 32
    play.rounds(2)
    assert torch.equal(play[0]["model"]["heads.1"]["weight"], then)


def test_shared_classes_are_the_same_classes() -> None:
    learner = make("fedmd", label_space="shared", public={**VECTORS, "samples": 24})
    assert learner._devices.architectures[0].class_counts == (3,)
    Play(learner).rounds(2)
    with pytest.raises(ScenarioError, match=r"label_space: shared needs .* has 2 classes .* have 3 classes"):
        make("fedmd", label_space="shared")


def test_samples_set_aside_have_the_private_classes_and_are_nobody_s() -> None:
    learner = make("fedmd", public=None, public_share=0.4)
    assert learner._devices.architectures[0].class_counts == (3,) and len(learner._public_set.value) == 24
    own = {int(row) for rows in learner._devices.samples.values() for row in rows}
    assert not own & set(learner._public_set.value.rows.tolist())
    assert learner._public_set.value.store is learner._devices.store
    Play(learner).rounds(2)


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
    """Device 2 sits out in round 1; device 1 is asked for its cost then, and is cut off before it is done."""
    learner = make("fedmd")
    assert learner.cost(1, 1, [3], UNLIMITED, None).flops["public"] > 0
    turns = Play(learner).rounds(3, participants={1: [0]})
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


def test_consensus_by_hand() -> None:
    """Two parties' logits of two samples, (1, 3), (0, −2) and (3, 5), (4, 2): the mean is (2, 4), (2, 0)."""
    first, second = torch.tensor([[1.0, 3], [0, -2]]), torch.tensor([[3.0, 5], [4, 2]])
    assert mean_scores([first, second]).tolist() == [[2, 4], [2, 0]]


def test_work_by_hand() -> None:
    """MLP 8 → 6 → 5 classes: 48 + 30 multiply-accumulates; 20 samples of its own, 24 public ones, 12 to agree on.

    Backward the first layer takes 48 and the second twice 30.
    """
    learner = make("fedmd", public_epochs=2, private_epochs=3, digest_epochs=2, revisit_epochs=4)
    first, second = Play(learner).rounds(2)
    step, forward = 2 * (78 + 48 + 60), 2 * 78
    assert first.costs[0].flops == {
        "public": 2 * 3 * 8 * step,
        "digest": 0,
        "own": 3 * 20 * step,
        "scores": 12 * forward,
    }
    assert first.costs[0].iterations == {"features": 2 * 3 + 3 * 3}
    assert second.costs[0].flops == {
        "public": 0,
        "digest": 2 * 2 * 6 * step,
        "own": 4 * 20 * step,
        "scores": 12 * forward,
    }
    assert first.costs[3].flops == {"consensus": 3 * 12 * 5}
    assert learner.training_memory_bytes(0) == 4 * 4 * 89 + 8 * learner._devices.costs(0).activation_bytes
    (dropping,) = Play(make("fedmd", public_epochs=2, private_epochs=3, last_batch="drop")).rounds(1)
    assert dropping.costs[0].flops["own"] == 3 * 2 * 8 * step


@pytest.mark.parametrize("label_space", ["union", "private"])
def test_a_party_computes_what_it_is_charged_for(label_space: str) -> None:
    """As PyTorch's own counter has it, in the round with public labels and in the one with a digest."""
    found = charged_and_computed(make("fedmd", label_space=label_space), rounds=2)
    assert len(found) == 6 and all(charged == computed for charged, computed in found)


def test_devices_without_samples_sit_out_and_few_samples_are_one_batch() -> None:
    learner = make("fedmd", partition=Unequal(9, 0, 1))
    assert learner.facts()["sit_out"] == [1] and learner.owners() == {"features": frozenset({0, 2})}
    turns = Play(learner).rounds(2, participants={1: [0, 2], 2: [0, 2]})
    assert turns[0].costs[2].flops["own"] == 2 * (78 + 48 + 60) and turns[1].metrics[3, "accuracy"] >= 0
    assert learner.training_memory_bytes(1) == 0.0


def test_parties_are_evaluated_as_they_were_last_heard_of() -> None:
    play = Play(make("fedmd"))
    turns = play.rounds(2, lost={2: [1]})
    heard = play[3]["heard"]
    assert fingerprint(heard[0]) == fingerprint(play[0]["model"])
    assert fingerprint(heard[1]) != fingerprint(play[1]["model"])
    local = [turns[1].metrics[0, "accuracy_local"], turns[0].metrics[1, "accuracy_local"]]
    local.append(turns[1].metrics[2, "accuracy_local"])
    assert turns[1].metrics[3, "accuracy"] == pytest.approx(sum(local) / 3)


def test_divergence_is_told_with_the_step_size() -> None:
    learner = make("fedmd", learning_rate=1e38)
    with pytest.raises(ScenarioError, match=r"learner\.learning_rate: the training of device \d diverged"):
        Play(learner).rounds(4)


def test_parties_learn() -> None:
    learner = make("fedmd", data={**VECTORS, "separation": 6.0}, learning_rate=0.01, revisit_epochs=5)
    assert Play(learner).rounds(4)[-1].metrics[3, "accuracy"] > 0.6


# Without a server.

PATH = nx.path_graph(3)


def test_each_party_digests_the_mean_of_its_own_scores_and_its_neighbours() -> None:
    """On a path of three the ends know two parties' scores and the middle all; nobody waits for a server."""
    play = Play(make("fedmd", PATH))
    first, second = play.rounds(2)
    scores = {k: opened(first.outboxes[k]).scores for k in PATH}
    digested = play.work.inputs_of(update)[3:]
    for k, known in ((0, (0, 1)), (1, (0, 1, 2)), (2, (1, 2))):
        consensus = digested[k]["consensus"]
        torch.testing.assert_close(consensus.scores, sum(scores[n] for n in known) / len(known))
        assert torch.equal(consensus.places, play.learner._places(1))
    assert {name for _, name in first.metrics} == {"loss_public", "loss_task", "accuracy", "loss_test"}
    assert {name for _, name in second.metrics} == {"loss_digest", "loss_task", "accuracy", "loss_test"}


def test_where_all_hear_each_other_parties_learn_as_with_a_server() -> None:
    """The mean of everybody's scores is the server's consensus, in the same order: the same models, bit for bit."""
    alone, served = Play(make("fedmd", nx.complete_graph(3))), Play(make("fedmd"))
    alone.rounds(3), served.rounds(3)
    assert fingerprints(alone) == fingerprints(served)


def test_scores_that_do_not_arrive_are_not_in_the_mean() -> None:
    play = Play(make("fedmd", PATH))
    (first,) = play.rounds(1, lost=lambda sender, receiver, round: receiver == 0)
    assert torch.equal(play[0]["consensus"].scores, opened(first.outboxes[0]).scores), "its own are left"


def test_a_party_that_was_cut_off_takes_the_mean_of_what_arrived() -> None:
    """Its own scores are of other samples then, those of an earlier round; where nothing arrives the mean stays."""
    play = Play(make("fedmd", PATH))
    first, _ = play.rounds(2)
    learner, state = play.learner, play.states[0]
    heard = opened(first.outboxes[1])
    (found,) = [learner.aggregate(play.work, 0, 3, state, {1: heard}).state["consensus"]]
    torch.testing.assert_close(opened(found).scores, heard.scores)
    kept = learner.aggregate(play.work, 0, 3, state, {}).state["consensus"]
    assert kept is state["consensus"]


def test_work_and_bits_without_a_server() -> None:
    """As with one, and each party's own mean: its scores and its neighbours', 12 samples of 5 classes."""
    served, (turn,) = Play(make("fedmd")), Play(make("fedmd", PATH)).rounds(1)
    (other,) = served.rounds(1)
    for k, parties in ((0, 2), (1, 3), (2, 2)):
        assert turn.costs[k].flops == {**other.costs[k].flops, "consensus": parties * 12 * 5}
    assert [(m.receivers, m.size_bits) for m in turn.messages[1]] == [((0, 2), 12 * 5 * 32)]
    found = charged_and_computed(make("fedmd", PATH), rounds=2)
    assert len(found) == 6 and all(charged == computed for charged, computed in found)


def test_a_device_without_samples_is_nobody_s_neighbour() -> None:
    play = Play(make("fedmd", PATH, partition=Unequal(9, 0, 5)))
    turn, _ = play.rounds(2)
    assert not any(turn.messages.values()) and turn.costs[0].flops["consensus"] == 12 * 5
    assert turn.costs[1].flops == {} and turn.of(1) == {}


@pytest.mark.parametrize(
    ("outcome", "blocks"),
    [
        ("finished", {}),
        ("cut_off", {"protocol": {"name": "decentralized_rounds", "deadline_s": 2e-4}}),
        ("died", {"devices": {"battery": {"capacity_j": 2e-4}}}),
    ],
)
def test_workers_give_the_same_records_without_a_server(
    write_scenario: Callable[..., Path], outcome: str, blocks: dict[str, Any]
) -> None:
    jobs = {"device": "cpu", "threads": 1, "stacking": "off"}
    inline, threads = (
        simulate(
            write_scenario,
            "fedmd",
            rounds=4,
            jobs={**jobs, "executor": executor},
            **{"protocol": {"name": "decentralized_rounds"}, "server": None, "links": True, **blocks},
        )
        for executor in ("inline", {"name": "threads", "workers": 2})
    )
    assert inline[1].everything == threads[1].everything and inline[1].metrics
    assert fingerprint(inline[0].states) == fingerprint(threads[0].states)
    assert outcome in {row.outcome for row in inline[1].rounds}
    assert {"model"} == {row.kind for row in inline[1].transfers}


def test_scores_of_an_earlier_round_are_of_no_use(write_scenario: Callable[..., Path]) -> None:
    late = {"name": "decentralized_rounds", "deadline_s": 0.02, "late": "keep"}
    with pytest.raises(ScenarioError, match=r"protocol\.late: 'keep' cannot be used with this learner"):
        simulate(write_scenario, "fedmd", protocol=late, server=None, links=True)


# With the simulator.


def test_an_asynchronous_server_is_refused(write_scenario: Callable[..., Path]) -> None:
    with pytest.raises(ScenarioError, match=r"'fedmd' cannot be run under .*use protocol: .*server_rounds"):
        simulate(write_scenario, "fedmd", protocol={"name": "asynchronous_server"})


@pytest.mark.parametrize("blocks", [{}, {"radio": {"outage_snr_db": 20.0, "channel": "rayleigh"}}])
def test_workers_give_the_same_records(write_scenario: Callable[..., Path], blocks: dict[str, Any]) -> None:
    jobs = {"device": "cpu", "threads": 1, "stacking": "off"}
    inline, threads = (
        simulate(write_scenario, "fedmd", rounds=4, jobs={**jobs, "executor": executor}, **blocks)
        for executor in ("inline", {"name": "threads", "workers": 2})
    )
    assert inline[1].everything == threads[1].everything
    assert inline[1].metrics and fingerprint(inline[0].states) == fingerprint(threads[0].states)
    if blocks:
        assert "lost" in {row.outcome for row in inline[1].rounds}


def test_a_network_each(write_scenario: Callable[..., Path]) -> None:
    learner = prepare(write_scenario, "fedmd").learner
    assert learner.facts()["networks"][1] == {"name": "mlp", "hidden": [7, 4]}
    assert learner.facts()["numbers"] == {0: 8 * 6 + 6 + 6 * 5 + 5, 1: 63 + 32 + 25, 2: 89}
    assert learner.facts()["public"]["samples"] == 24 and learner.facts()["score_bits"] == 12 * 5 * 32
