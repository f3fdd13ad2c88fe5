"""Multi-headed distillation: what Section 4 of its paper implies, and what the simulator asks of a learner."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from at_once import Play
from mhd_play import (
    CLASSES,
    MLP,
    PUBLIC,
    RESNET,
    isolated,
    make,
    perturb,
    perturbed,
    play,
    weights,
)
from tiny_task import UNLIMITED
from torch.nn import functional as F

from learners.algorithms.mhd import MHD, head_metrics
from learners.checks import fingerprint
from learners.networks.choice import NetworkChoice
from learners.networks.state import take
from learners.training.batches import mini_batches, random_numbers
from learners.training.distillation.batches import Batch
from learners.training.distillation.classifier import Classifier, ClassifierNet
from learners.training.distillation.evaluation import Evaluated, evaluate
from learners.training.distillation.mhd_update import (
    Lesson,
    MHDPlan,
    Pool,
    Predictions,
    Told,
    Wanted,
    _answer,
    _heads,
    _terms,
    taught_by,
    update,
)
from learners.training.optimizers import Rule
from learners.training.schedules import ScheduleChoice
from netsim.app.build import build
from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed
from netsim.events import Observer
from netsim.scenario.loading import load_plan
from netsim.scenario.model import Evaluation

PAIR, PATH = nx.path_graph(2), nx.path_graph(3)
ALL = nx.complete_graph(4)
NEVER = Evaluation(every=1000)
TRANSPORTS = ["checkpoint", "predictions"]


def plan(**changes: Any) -> MHDPlan:
    options: dict[str, Any] = {
        "batch_size": 4,
        "nu_emb": 1.0,
        "nu_aux": 3.0,
        "random_target": False,
        "rule": Rule("sgd", 0.1),
        "schedule": ScheduleChoice(name="constant"),
        "rounds": 1,
        "local_steps": 1,
        "top_k": 5,
    }
    return MHDPlan(**{**options, **changes})


def classifier(heads: int = 3, hidden: int = 6, embedding_size: int | None = None) -> Classifier:
    choice = NetworkChoice(name="mlp", hidden=[hidden])
    return Classifier(choice, (8,), (CLASSES,) * heads, embedding_size)


def net_of(heads: int = 3) -> ClassifierNet:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return classifier(heads).build()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=random_numbers(seed))


def lesson(heads: int, count: int, confidence: float, label: int) -> Lesson:
    """A teacher that is as sure of one class for every sample and head."""
    probabilities = torch.full((heads, count, CLASSES), (1 - confidence) / (CLASSES - 1))
    probabilities[..., label] = confidence
    return Lesson(probabilities, None)


def gradient(loss: torch.Tensor, module: torch.nn.Module) -> torch.Tensor | None:
    found = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    used = [one for one in found if one is not None]
    return torch.cat([one.flatten() for one in used]) if used else None


# What the losses imply.


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_without_distillation_everybody_trains_alone(transport: str) -> None:
    """Trunk and main head are those of PyTorch's SGD on the private batches, whatever the others do."""
    alone = {"nu_emb": 0.0, "nu_aux": 0.0, "transport": transport, "evaluation": NEVER}
    together, disturbed, deaf = (Play(make(links, **alone)) for links in (ALL, ALL, isolated(4)))
    perturb(disturbed, 1)
    devices = together.learner._devices
    net, state, store = net_of(heads=1), together[0]["model"], devices.store
    net.trunk.load_state_dict(dict(state["trunk"]))
    net.heads[0].load_state_dict(dict(state["heads.0"]))
    used = [*net.trunk.parameters(), *net.heads[0].parameters()]
    optimizer = torch.optim.SGD(used, lr=0.1, momentum=0.9)
    for game in (together, disturbed, deaf):
        game.rounds(3)
    for step in range(6):
        round = 1 + step // 2
        seed = derive_seed(derive_seed(0, "training", 0, round), "batches")
        rows = torch.from_numpy(devices.samples[0])
        batch = rows[mini_batches(len(rows), 4, 2, seed, "keep")[step % 2]]
        optimizer.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * step / 6))
        optimizer.zero_grad()
        F.cross_entropy(net(store.inputs["features"][batch]).logits[0], store.labels[batch]).backward()
        optimizer.step()
    expected = {"trunk." + n: t for n, t in net.trunk.state_dict().items()}
    expected |= {"heads." + n: t for n, t in net.heads.state_dict().items() if n.startswith("0")}
    last = together[0]["model"]
    found = weights(last, head=0)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)
    for other in (disturbed, deaf):
        assert fingerprint(other[0]["model"]) == fingerprint(last)
    assert weights(last).keys() == expected.keys(), "heads that nobody trains are not there"


def test_the_main_head_learns_nothing_from_the_auxiliary_loss() -> None:
    """Without neighbours and with one auxiliary head its target is the own main head's prediction, fixed."""
    net = net_of(heads=2)
    logits = net(noise(5, 8)).logits
    loss, others = _heads(logits, [], plan(), [random_numbers(0)])
    expected = -(logits[0].softmax(-1) * logits[1].log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(loss, expected)
    assert others.tolist() == [0.0]
    assert gradient(loss, net.heads[0]) is None
    for module in (net.heads[1], net.trunk):
        assert gradient(loss, module).abs().sum() > 0  # type: ignore[union-attr]


@pytest.mark.parametrize("teachers", [0, 2])
def test_an_auxiliary_head_learns_as_a_student_only(teachers: int) -> None:
    """Of three heads, the second's gradient is that of its own loss; nothing comes from its being a target."""
    net = net_of(heads=3)
    logits = net(noise(5, 8)).logits
    lessons = [Lesson(noise(2, 5, CLASSES, seed=n).softmax(-1), None) for n in range(1, 1 + teachers)]
    both, _ = _heads(logits, lessons, plan(), [random_numbers(0)])
    first, _ = _heads(logits[:2], lessons, plan(), [random_numbers(0)])
    assert gradient(both, net.heads[0]) is None
    assert torch.equal(gradient(both, net.heads[1]), gradient(first, net.heads[1]))  # type: ignore[arg-type]


def test_a_device_that_hears_nobody_learns_from_itself() -> None:
    for transport in TRANSPORTS:
        learner = make(isolated(2), auxiliary_heads=1, transport=transport)
        assert not learner.messages(0, 1, [])
        _, metrics = play(learner, 2)
        for found in metrics.values():
            assert found["remote_aux1"] == 0 and found["loss_emb"] == 0
            assert found["loss_aux"] > 0
            assert found["loss_total"] == pytest.approx(found["loss_task"] + 3 * found["loss_aux"])


def test_the_surest_neighbour_is_the_target() -> None:
    net = net_of()
    logits = net(noise(5, 8)).logits
    sure = lesson(2, 5, 0.98, label=2)
    others = [Lesson(noise(2, 5, CLASSES, seed=n).mul(0.1).softmax(-1), None) for n in (1, 2)]
    assert max(own.softmax(-1).max() for own in logits) < 0.98
    found, remote = _heads(logits, [*others, sure], plan(), [random_numbers(0)])
    target = sure.probabilities[0]
    expected = sum(-(target * own.log_softmax(-1)).sum(-1).mean() for own in logits[1:])
    torch.testing.assert_close(found, expected)
    assert remote.tolist() == [1.0, 1.0]
    for order in ([2, 0, 1], [0, 2, 1], [1, 0, 2]):
        given = [[*others, sure][n] for n in order]
        again, same = _heads(logits, given, plan(), [random_numbers(0)])
        assert torch.equal(again, found) and torch.equal(same, remote)
        assert torch.equal(gradient(again, net), gradient(found, net))  # type: ignore[arg-type]


def test_each_sample_and_head_has_one_target() -> None:
    """Sample 0 from the first teacher, 1 from the second, 2 from oneself; a teacher's head k − 1 teaches head k."""
    logits = [torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [9.0, 0.0, 0.0]])] * 3
    first, second = lesson(2, 3, 0.5, label=1), lesson(2, 3, 0.6, label=2)
    first.probabilities[:, 0] = torch.tensor([0.05, 0.9, 0.05])
    first.probabilities[1, 1] = torch.tensor([0.8, 0.1, 0.1])
    found, remote = _heads(logits, [first, second], plan(), [random_numbers(0)])
    own = logits[0].softmax(-1)
    by_head = [
        torch.stack([first.probabilities[0, 0], second.probabilities[0, 1], own[2]]),
        torch.stack([first.probabilities[1, 0], first.probabilities[1, 1], own[2]]),
    ]
    expected = sum(-(target * logits[0].log_softmax(-1)).sum(-1).mean() for target in by_head)
    torch.testing.assert_close(found, expected)
    assert remote.tolist() == pytest.approx([2 / 3, 2 / 3])


def test_targets_at_random_are_one_candidate_each_and_all_candidates() -> None:
    logits = [noise(300, CLASSES)] * 2
    teachers = [lesson(1, 300, 0.9, label) for label in (0, 1)]
    found = [_heads(logits, teachers, plan(random_target=True), [random_numbers(7)]) for _ in range(2)]
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1].item() == pytest.approx(2 / 3, abs=0.1)
    assert not torch.equal(found[0][0], _heads(logits, teachers, plan(), [random_numbers(7)])[0])


def test_embeddings_of_all_teachers_count_and_nothing_else_of_them() -> None:
    net, x, z, y = net_of(), noise(4, 8), noise(5, 8, seed=1), torch.tensor([0, 1, 2, 0])
    ours = net(z).embedding
    given = [noise(5, 6, seed=n) for n in (2, 3)]
    lessons = [Lesson(noise(2, 5, CLASSES).softmax(-1), one) for one in given]
    terms, remote = _terms(
        net, net, Batch(x, y, slice(0, 1), 0, None), z, lessons, plan(nu_aux=0.0), [random_numbers(0)]
    )
    unit = [one / one.norm(dim=1, keepdim=True) for one in (ours, *given)]
    expected = sum(((unit[0] - one) ** 2).sum(1).mean() for one in unit[1:])
    torch.testing.assert_close(terms["loss_emb"], expected)
    assert terms["loss_aux"] == 0 and not remote.any()
    torch.testing.assert_close(terms["loss_task"], F.cross_entropy(net(x).logits[0], y))
    assert gradient(terms["loss_emb"], net.heads) is None


def test_labels_of_public_samples_are_never_seen() -> None:
    learner, other = make(PATH), make(PATH)
    public = learner._public_set.value
    other._devices.store.labels[public.rows] = 0
    assert not torch.equal(other._devices.store.labels, learner._devices.store.labels)
    (one, _), (two, _) = play(learner, 2), play(other, 2)
    for k in PATH:
        assert fingerprint(one[k]["model"]) == fingerprint(two[k]["model"])
    assert not np.isin(public.rows, np.concatenate(list(learner._devices.samples.values()))).any()


# How knowledge travels: C (2) learns from B (1) only, and B from A (0) only.


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("heads", "network", "reaches"), [(1, "identity", 0), (2, "identity", 1), (1, MLP, 1)]
)
def test_knowledge_travels_one_device_with_each_auxiliary_head(
    heads: int, network: Any, reaches: int, transport: str
) -> None:
    """Where the heads have no common trunk C's first auxiliary head sees B's main head, which A cannot reach.

    The second sees B's first one, once B has trained and been sent again. Through a trunk that auxiliary losses
    train A reaches B's main head too. Predictions are there from round 2 on, checkpoints from the beginning.
    """
    options = {
        "graph": [[0, 1], [1, 2]],
        "auxiliary_heads": heads,
        "network": network,
        "transport": transport,
    }
    one, other = (
        Play(make(PATH, **options, rounds=5, nu_emb=0.0, confidence="random", evaluation=NEVER))
        for _ in range(2)
    )
    perturb(other, 0)
    differ = {k: [] for k in (1, 2)}
    for _ in range(5):
        for game in (one, other):
            game.rounds(1)
        for k, seen in differ.items():
            seen.append(fingerprint(one[k]["model"]) != fingerprint(other[k]["model"]))
    late = transport == "predictions"
    assert differ[1] == [not late] + [True] * 4, "B learns from A"
    assert differ[2][: 1 + late] == [False] * (1 + late), "B has not been sent again"
    assert any(differ[2]) == bool(reaches)


# Pools.


@pytest.mark.parametrize("slots", [None, 1, 3])
def test_a_round_changes_one_entry_of_a_pool(slots: int | None) -> None:
    learner = make(ALL, pool_size=slots, rounds=4, evaluation=NEVER)
    size, game = slots or 4, Play(learner)
    for k in ALL:
        assert len(game[k]["pool"]) == size
        assert all(t != k and state is learner._devices.initial(t) for t, state in game[k]["pool"])
    for round in range(1, 5):
        before = {k: game[k]["pool"] for k in ALL}
        game.rounds(1)
        for k in ALL:
            pool = game[k]["pool"]
            changed = [slot for slot in range(size) if pool[slot][1] is not before[k][slot][1]]
            assert len(pool) == size and len(changed) == (1 if round < 4 else 0)
            if round == 4:  # nobody learns after the last round, so nothing is sent
                continue
            teacher, state = pool[changed[0]]
            assert teacher == learner._teacher_chosen(k, round) != k
            assert fingerprint(state) == fingerprint(game[teacher]["model"])


def test_a_checkpoint_that_does_not_arrive_changes_nothing() -> None:
    game = Play(make(PATH, evaluation=NEVER))
    before = {k: fingerprint(game[k]["pool"]) for k in PATH}
    game.rounds(1, lost=lambda sender, receiver, round: receiver == 0)
    assert [fingerprint(game[k]["pool"]) == before[k] for k in PATH] == [True, False, False]


def test_a_pool_that_began_empty_fills_up() -> None:
    """Device 0 hears of device 1 from round 2 on."""
    options = {"graph": {1: [[0, 1]], 2: [[0, 1], [1, 0]]}, "pool_size": 2, "rounds": 5}
    game = Play(make(PAIR, **options, evaluation=NEVER))
    sizes = []
    for round in range(1, 6):
        (turn,) = game.rounds(1)
        sizes.append(len(game[0]["pool"]))
        assert (turn.metrics[0, "loss_emb"] > 0) == (round > 2)
    assert sizes == [0, 1, 2, 2, 2]


@pytest.mark.parametrize("graph", ["neighbours", {1: "cycle", 3: "complete", 5: [[0, 1], [2, 3]]}])
def test_the_pool_that_is_planned_is_the_one_that_comes_to_be(graph: Any) -> None:
    learner = make(ALL, graph=graph, rounds=6, pool_size=3, evaluation=NEVER)
    ahead = make(ALL, graph=graph, rounds=6, pool_size=3)
    planned = {(k, t): ahead._planned_pool(k, t) for k in ALL for t in (5, 6, 3, 1, 2, 4)}
    game = Play(learner)
    for round in range(1, 7):
        for k in ALL:
            held = tuple(t for t, _ in game[k]["pool"])
            assert held == planned[k, round] == learner._planned_pool(k, round)
        game.rounds(1)


def test_teachers_of_a_step_are_different_entries_and_all_take_turns() -> None:
    learner = make(ALL, targets=2, local_steps=40)
    picks = learner._picks(0, 1, 4)
    assert picks.shape == (40, 2)
    assert all(len(set(row)) == 2 for row in picks.tolist())
    assert set(picks.flatten().tolist()) == {0, 1, 2, 3}
    assert learner._picks(0, 1, 1).shape == (40, 1), "no more than there are"


# Teachers do not change, and BatchNorm.

IMAGES = {"network": RESNET, "shape": (1, 8, 8)}


def test_teachers_stay_as_they_are() -> None:
    game, _ = play(make(PAIR, **IMAGES), 2)
    inputs = game.work.inputs_of(update)[2]
    pool = inputs["teachers"]
    assert isinstance(pool, Pool)
    before = [fingerprint(dict(state)) for _, state in pool.slots]
    result = update(**inputs)
    assert [fingerprint(dict(state)) for _, state in pool.slots] == before
    assert result.losses["loss_emb"] > 0, "they were asked"


def test_teachers_are_asked_in_evaluation_mode() -> None:
    """A sample's lesson does not depend on the other samples of the batch."""
    learner = make(PAIR, **IMAGES)
    game, _ = play(learner, 1)
    architecture, state = learner._devices.architectures[0], game[0]["model"]
    x = noise(4, 1, 8, 8)
    before = fingerprint(dict(state))
    all_of_them = taught_by(architecture, state, x, 2, True)
    for n in range(4):
        alone = taught_by(architecture, state, x[n : n + 1], 2, True)
        torch.testing.assert_close(alone.probabilities[:, 0], all_of_them.probabilities[:, n])
        torch.testing.assert_close(alone.embedding[0], all_of_them.embedding[n])  # type: ignore[index]
    assert fingerprint(dict(state)) == before
    assert not all_of_them.probabilities.requires_grad
    torch.testing.assert_close(all_of_them.probabilities.sum(-1), torch.ones(2, 4))


def test_running_statistics_follow_the_private_samples() -> None:
    """After one step they are those of the private batch; after two, the public one's have not been counted."""
    learner = make(PAIR, **IMAGES, local_steps=1)
    net = learner._devices.architectures[0].build()
    net.trunk.load_state_dict(dict(learner._devices.initial(0)["trunk"]))
    game, _ = play(learner, 1)
    rows, seed = torch.from_numpy(learner._devices.samples[0]), game.work.inputs_of(update)[0]["seed"]
    batch = rows[mini_batches(len(rows), 4, 1, derive_seed(seed, "batches"), "keep")[0]]
    net.train()
    with torch.no_grad():
        net.trunk(learner._devices.store.inputs["features"][batch])
    buffers = dict(net.trunk.named_buffers())
    assert buffers
    for name, expected in buffers.items():
        torch.testing.assert_close(game[0]["model"]["trunk"][name], expected, msg=name)
    again, _ = play(make(PAIR, **IMAGES, local_steps=5), 1)
    counts = [float(t) for n, t in again[0]["model"]["trunk"].items() if "num_batches" in n]
    assert counts and set(counts) == {5.0}


def test_public_samples_go_by_their_batchs_statistics_as_the_student_sees_them() -> None:
    learner = make(PAIR, **IMAGES)
    net = learner._devices.architectures[0].build()
    x, y, z = noise(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]), 3 + noise(4, 1, 8, 8, seed=1)
    taught = [Lesson(noise(2, 4, CLASSES).softmax(-1), noise(4, 4))]
    terms, _ = _terms(net, net, Batch(x, y, slice(0, 1), 0, None), z, taught, plan(), [random_numbers(0)])
    net.train()
    torch.testing.assert_close(
        terms["loss_aux"], _heads(net(z).logits, taught, plan(), [random_numbers(0)])[0]
    )
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.track_running_stats


def test_single_samples_can_be_learnt_from() -> None:
    learner = make(PAIR, **IMAGES, batch_size=1)
    first = {n: t.clone() for n, t in learner._devices.initial(0)["trunk"].items()}
    game, metrics = play(learner, 2)
    assert all(math.isfinite(value) for found in metrics.values() for value in found.values())
    for name, tensor in game[0]["model"]["trunk"].items():
        if "running" in name:
            assert torch.equal(tensor, first[name])


# What the simulator asks.


@pytest.mark.parametrize("precision", ["float64", "bf16"])
def test_precisions(precision: str) -> None:
    for _ in range(2):  # the second learner counts costs with networks that the first has worked with
        learner = make(PAIR, precision=precision)
        game, metrics = play(learner, 2)
        assert all(math.isfinite(value) for found in metrics.values() for value in found.values())
    dtype = torch.float64 if precision == "float64" else torch.float32
    assert game[0]["model"]["trunk"].row.bank.dtype == dtype
    assert make(PAIR)._devices.initial(0)["trunk"].row.bank.dtype == torch.float32


class Kept(Observer):
    """All rows of a run."""

    def __init__(self) -> None:
        self.metrics: list[Any] = []
        self.rounds: list[Any] = []
        self.transfers: list[Any] = []

    def on_metrics(self, rows: Any) -> None:
        self.metrics.extend(rows)

    def on_round_end(self, row: Any, iterations: Any) -> None:
        self.rounds.append((row, dict(iterations)))

    def on_transfers(self, batch: Any) -> None:
        self.transfers.extend(batch.rows())


@pytest.fixture
def simulate(write_scenario: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[Any, Kept]]:
    def run(executor: Any = "inline", **options: Any) -> tuple[Any, Kept]:
        path = write_scenario(
            rounds=3,
            devices={
                "count": 3,
                "classes": {
                    "small": {"devices": [0], "networks": {"features": {"name": "mlp", "hidden": [5]}}},
                    "large": {"processor": {"frequency_hz": 3e9}},
                },
            },
            data={"name": "generated", "samples": 48, "test_samples": 30, "shape": [8], "classes": CLASSES},
            partition={"name": "iid", "public_share": 0.25},
            learner={
                "name": "mhd",
                "networks": {"features": MLP},
                "auxiliary_heads": 2,
                "embedding_size": 4,
                "local_steps": 3,
                "batch_size": 4,
                **options,
            },
            jobs={"device": "cpu", "threads": 1, "executor": executor, "stacking": "off"},
        )
        simulation = build(load_plan(path), tmp_path, lambda text: None)
        kept = Kept()
        simulation.watch(kept)
        simulation.run()
        return simulation, kept

    return run


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_workers_give_the_same_bytes(transport: str, simulate: Any) -> None:
    alone, records = simulate(transport=transport)
    away, same = simulate({"name": "threads", "workers": 2}, transport=transport)
    assert records.metrics and records.transfers
    assert repr(same.metrics) == repr(records.metrics)
    assert same.rounds == records.rounds
    assert same.transfers == records.transfers
    assert fingerprint(away.states) == fingerprint(alone.states)


def test_a_server_is_refused(write_scenario: Callable[..., Path], tmp_path: Path) -> None:
    path = write_scenario(
        protocol={"name": "server_rounds"},
        data={"name": "generated", "samples": 48, "test_samples": 30, "shape": [8], "classes": CLASSES},
        partition={"name": "iid", "public_share": 0.25},
        learner={"name": "mhd"},
    )
    with pytest.raises(
        ScenarioError,
        match=r"'mhd' cannot be run under .*use protocol: asynchronous_gossip or decentralized_rounds, or",
    ):
        build(load_plan(path), tmp_path, lambda text: None)


# Bits, work, memory.

TRUNK_NUMBERS, HEAD_NUMBERS = 8 * 6 + 6, 6 * 3 + 3
"""An MLP of 6 units on vectors of 8, and each of its heads, of three classes."""


def test_a_checkpoint_weighs_all_parameters_and_running_statistics() -> None:
    learner = make(PAIR)
    (message,) = learner.messages(0, 1, [1])
    assert message.receivers == (1,)
    assert message.size_bits == 32 * (TRUNK_NUMBERS + 3 * HEAD_NUMBERS)
    (message,) = make(PAIR, embedding_size=5, auxiliary_heads=4).messages(0, 1, [1])
    assert message.size_bits == 32 * (TRUNK_NUMBERS + 5 * HEAD_NUMBERS + 6 * 5 + 5)
    images = make(PAIR, **IMAGES)
    (message,) = images.messages(0, 1, [1])
    floats = [
        t for part in images._devices.initial(0).values() for n, t in part.items() if "num_batches" not in n
    ]
    assert message.size_bits == 32 * sum(t.numel() for t in floats)


def test_each_student_gets_one_checkpoint_a_round() -> None:
    learner = make(ALL, rounds=21)
    senders = set()
    for round in range(1, 21):
        receivers = [k for n in ALL for m in learner.messages(n, round, sorted(ALL[n])) for k in m.receivers]
        assert sorted(receivers) == [0, 1, 2, 3]
        senders |= {learner._teacher_chosen(0, round)}
    assert senders == {1, 2, 3}


def test_predictions_weigh_values_class_numbers_and_embeddings() -> None:
    """Two steps of 4 samples; two heads, two of three classes each: 32 bits and 2 for its number; 6 features."""
    options = {"transport": "predictions", "top_k": 2, "rounds": 2}
    (message,) = make(PAIR, **options).messages(0, 1, [1])
    assert message.receivers == (1,)
    assert message.size_bits == 2 * 4 * (2 * 2 * (32 + 2) + 32 * 6)
    (message,) = make(PAIR, **options, nu_emb=0.0).messages(0, 1, [1])
    assert message.size_bits == 2 * 4 * 2 * 2 * (32 + 2)
    (message,) = make(PAIR, **options, embedding_size=3, public_batch_size=5).messages(0, 1, [1])
    assert message.size_bits == 2 * 5 * (2 * 2 * (32 + 2) + 32 * 3)
    (message,) = make(PAIR, **{**options, "top_k": 5}).messages(0, 1, [1])
    assert message.size_bits == 2 * 4 * (2 * 3 * (32 + 2) + 32 * 6), "no more classes than there are"
    learner = make(PAIR, **options)
    assert learner.messages(0, 2, [1]) == [], "after the last round nobody asks"


def test_what_is_asked_of_a_teacher_is_what_the_student_will_train_on() -> None:
    learner = make(ALL, transport="predictions", targets=2, rounds=3, evaluation=NEVER)
    game, _ = play(learner, 2)
    told = game.work.inputs_of(update)[4]["teachers"]
    assert isinstance(told, Told)
    steps = [len(of_step) for of_step in told.lessons(0, [torch.empty(0)] * 2)]
    assert steps == [2, 2]
    for teacher, sent in ((t, learner._wanted(t, 1).get(0)) for t in (1, 2, 3)):
        if sent is not None:
            places = learner._public_places(0, 2)[list(sent.steps)]
            assert torch.equal(sent.places, places), teacher


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_flops_are_counted_by_hand(transport: str) -> None:
    """A forward pass takes 2 (48 + 3 · 18) FLOPs; 2 steps of 4 and 5 samples.

    Backward: 48 of the trunk, and twice 18 of each head that is trained, the main one or the two others.
    """
    learner = make(PAIR, transport=transport, public_batch_size=5, targets=2, rounds=2)
    forward = 2 * (8 * 6 + 3 * 6 * 3)
    flops = learner.cost(0, 1, [1], UNLIMITED, None).flops
    private = 2 * 4 * (forward + 2 * (48 + 2 * 18))
    assert flops["private"] == private
    assert flops["public"] == 2 * 5 * (forward + 2 * (48 + 2 * 2 * 18))
    if transport == "checkpoint":
        assert flops["teachers"] == 2 * 2 * 5 * forward
    else:
        assert flops["predictions"] == 2 * 5 * forward
        assert learner.cost(0, 2, [1], UNLIMITED, None).flops["predictions"] == 0
    alone = make(PAIR, transport=transport, nu_aux=0.0, nu_emb=0.0).cost(0, 1, [1], UNLIMITED, None)
    trained = 3 * (8 * 6 + 6 * 3) - 8 * 6  # forward and backward, without the gradient of the inputs
    assert alone.flops == {"private": 2 * 4 * 2 * trained}, "one head: nobody trains the others"
    assert alone.iterations == {"features": 2}


def test_memory_of_training_grows_with_the_pool() -> None:
    numbers = TRUNK_NUMBERS + 3 * HEAD_NUMBERS
    told = make(PAIR, transport="predictions").training_memory_bytes(0)
    assert told > 4 * 3 * numbers
    assert make(PAIR).training_memory_bytes(0) == told + 4 * 2 * numbers
    assert make(PAIR, pool_size=5).training_memory_bytes(0) == told + 4 * 5 * numbers


# Predictions.


def test_what_is_left_is_spread_evenly() -> None:
    """Of five classes 0.6 and 0.1 were sent: the others have 0.1 each."""
    values = torch.tensor([[[[0.6, 0.1]]]])
    told = Predictions((3,), values, torch.tensor([[[[4, 1]]]]), None, 5)
    found = told.lesson(3)
    assert found is not None and found.embedding is None
    torch.testing.assert_close(found.probabilities, torch.tensor([[[0.1, 0.1, 0.1, 0.1, 0.6]]]))
    assert told.lesson(2) is None
    of_steps = Told((told, told)).lessons(2, [values, values])
    assert of_steps[0] == [] and len(of_steps[1]) == 2


@pytest.mark.parametrize("top_k", [1, 2, 3, 9])
def test_an_answer_is_what_the_teacher_says(top_k: int) -> None:
    learner = make(PAIR)
    architecture, state, shared = (
        learner._devices.architectures[0],
        learner._devices.initial(0),
        learner._public_set.value,
    )
    places = torch.tensor([[0, 3, 5, 7], [1, 2, 4, 6]])
    told = _answer(architecture, state, shared, Wanted((1, 4), places), plan(top_k=top_k))
    for step, own in zip((1, 4), places, strict=True):
        exact = taught_by(architecture, state, shared.inputs(own, torch.float32), 2, True)
        found = told.lesson(step)
        assert found is not None
        assert torch.equal(found.embedding, exact.embedding)  # type: ignore[arg-type]
        torch.testing.assert_close(found.probabilities.sum(-1), torch.ones(2, 4))
        assert torch.equal(found.probabilities.amax(-1), exact.probabilities.amax(-1)), "as confident"
        assert torch.equal(found.probabilities.argmax(-1), exact.probabilities.argmax(-1))
        if top_k >= CLASSES - 1:
            torch.testing.assert_close(found.probabilities, exact.probabilities)
        if top_k >= CLASSES:
            assert torch.equal(found.probabilities, exact.probabilities)


def test_predictions_that_do_not_arrive_are_not_learnt_from() -> None:
    learner = make(PAIR, transport="predictions", evaluation=NEVER)
    _, metrics = play(learner, 3, lost=lambda sender, receiver, round: (receiver, round) == (0, 1))
    heard = {key: found["loss_emb"] > 0 for key, found in metrics.items()}
    assert heard == {(0, 1): False, (1, 1): False, (0, 2): False, (1, 2): True, (0, 3): True, (1, 3): True}


# Metrics.


def test_accuracies_by_the_mix_of_classes() -> None:
    """Of 4, 2 and 0 test samples the main head gets 3 and 1 right, the other 2 and 2."""
    evaluated = Evaluated(0.5, ((3, 1, 0), (2, 2, 0)), (4, 2, 0))
    assert evaluated.accuracy() == pytest.approx(4 / 6)
    assert evaluated.accuracy(1) == pytest.approx(4 / 6)
    assert evaluated.weighted_accuracy([1, 1, 1]) == pytest.approx((0.75 + 0.5) / 2)
    assert evaluated.weighted_accuracy([1, 1, 1], 1) == pytest.approx((0.5 + 1) / 2)
    assert evaluated.weighted_accuracy([0.2, 0.3, 0.5]) == pytest.approx((0.2 * 0.75 + 0.3 * 0.5) / 0.5)
    assert evaluated.weighted_accuracy([0, 0, 1]) == 0.0


def test_beta_goes_by_a_devices_own_classes_and_by_all_alike() -> None:
    found = Evaluated(0.5, ((3, 1, 0), (2, 2, 2)), (4, 2, 4))
    (metrics,) = head_metrics([{"evaluated": found, "label_shares": [0.9, 0.1, 0.0]}])
    metrics = {m.name: m.value for m in metrics}
    assert metrics == pytest.approx(
        {
            "accuracy": 6 / 10,
            "loss_test": 0.5,
            "beta_priv_main": 0.9 * 0.75 + 0.1 * 0.5,
            "beta_sh_main": (0.75 + 0.5 + 0) / 3,
            "beta_priv_aux1": 0.9 * 0.5 + 0.1 * 1,
            "beta_sh_aux1": (0.5 + 1 + 0.5) / 3,
        }
    )


def test_evaluation_counts_right_predictions_of_each_head_and_class() -> None:
    learner = make(PAIR, evaluation=Evaluation(batch_size=7))
    game, devices = Play(learner), learner._devices
    learner.evaluate(game.work, 0, 1, game.states[0])
    (inputs,) = game.work.inputs_of(evaluate)
    found, rows = evaluate(**inputs), devices.test_rows
    labels = devices.store.labels[rows]
    outputs = devices.architectures[0].predict(game[0]["model"], devices.store.inputs["features"][rows])
    assert found.samples == (10, 10, 10)
    assert found.loss == pytest.approx(F.cross_entropy(outputs.logits[0], labels).item(), rel=1e-5)
    for head, logits in enumerate(outputs.logits):
        right = logits.argmax(-1) == labels
        assert found.correct[head] == tuple(int(right[labels == c].sum()) for c in range(CLASSES))


def test_every_head_is_measured() -> None:
    _, metrics = play(make(PAIR, evaluation=Evaluation(every=2)), 2)
    heads = ("main", "aux1", "aux2")
    training = {"loss_task", "loss_emb", "loss_aux", "loss_total", "remote_aux1", "remote_aux2"}
    evaluation = {
        "accuracy",
        "loss_test",
        *(f"beta_{what}_{head}" for what in ("priv", "sh") for head in heads),
    }
    assert set(metrics[0, 1]) == training
    assert set(metrics[0, 2]) == training | evaluation
    total = metrics[0, 2]["loss_task"] + metrics[0, 2]["loss_emb"] + 3 * metrics[0, 2]["loss_aux"]
    assert metrics[0, 2]["loss_total"] == pytest.approx(total, rel=1e-5)


def test_what_others_know_comes_through_the_auxiliary_heads() -> None:
    """Two devices of two classes each, of four that are easy to tell apart."""
    learner = make(
        PAIR,
        generated={"samples": 400, "test_samples": 100, "classes": 4, "separation": 5.0},
        network={"name": "mlp", "hidden": [16]},
        **{"rounds": 6, "local_steps": 20, "batch_size": 16, "learning_rate": 0.05, "nu_emb": 0.0},
    )
    store = learner._devices.store
    dealt = np.concatenate(list(learner._devices.samples.values()))
    for k in PAIR:
        store.shares[k] = dealt[(store.labels[dealt] // 2 == k).numpy()]
    _, last = play(learner, 6)
    for k in PAIR:
        assert last[k, 6]["beta_sh_main"] <= 0.5, "the main head knows its own classes only"
        assert last[k, 6]["beta_sh_aux1"] > 0.8
        assert last[k, 6]["beta_sh_aux2"] > 0.8
        assert 0 < last[k, 6]["remote_aux1"] < 1


# What cannot be.


def test_embeddings_of_different_widths_need_a_map_or_no_weight() -> None:
    different = {"by_device": {1: {"name": "mlp", "hidden": [5]}}}
    with pytest.raises(
        ScenarioError, match=r"learner.nu_emb: embeddings of different widths .*mlp: 6, mlp: 5"
    ):
        make(PAIR, **different)
    for way_out in ({"nu_emb": 0.0}, {"embedding_size": 3}):
        play(make(PAIR, **different, **way_out), 1)


def test_public_samples_are_needed() -> None:
    with pytest.raises(ScenarioError, match=r"learner.public: .* there are none.*partition.public_share"):
        make(PAIR, public_share=0.0)


def test_public_samples_have_the_shape_of_private_ones() -> None:
    digits = {"public": {"name": "digits", "size": 8}, "public_share": 0.0}
    with pytest.raises(
        ScenarioError, match=r"learner.public: samples of digits have shape \[1, 8, 8\].*\[8\]"
    ):
        make(PAIR, **digits)
    learner = make(PAIR, **digits, shape=(1, 8, 8))
    assert learner.facts()["public"] == {"name": "digits", "samples": 1500, "surrogate": False}
    assert play(learner, 2)[1][0, 2]["loss_aux"] > 0
    with pytest.raises(
        ScenarioError, match=r"learner.public: a data set is named, and partition.public_share"
    ):
        make(PAIR, shape=(1, 8, 8), public={"name": "digits", "size": 8})


def test_public_samples_that_were_set_aside_are_told_of() -> None:
    facts = make(PAIR).facts()
    assert facts["public"]["samples"] == PUBLIC
    assert facts["pool_size"] == 2
    assert facts["networks"] == {k: {"name": "mlp", "hidden": [6]} for k in (0, 1)}


def test_a_teacher_must_be_heard() -> None:
    with pytest.raises(ScenarioError, match=r"device 2 is to learn from device 0, but they have no link"):
        make(PATH, graph=[[0, 2]])
    with pytest.raises(ScenarioError, match=r"they have no link"):
        make(PATH, graph={1: "neighbours", 3: "complete"})


def test_a_pool_holds_the_targets_of_a_step() -> None:
    with pytest.raises(ScenarioError, match=r"learner.targets: must be at most .* 2 \(got 3\)"):
        make(PAIR, targets=3)
    assert make(PAIR, targets=3, pool_size=3)._picks(0, 1, 3).shape == (2, 3)


def test_training_that_diverges_is_told() -> None:
    with pytest.raises(
        ScenarioError, match=r"learner.learning_rate: the training of device 0 diverged in round"
    ):
        play(make(PAIR, learning_rate=1e30, evaluation=NEVER), 3)


def test_several_modalities_need_a_choice() -> None:
    from tiny_task import make_setup

    with pytest.raises(ScenarioError, match=r"learner.modalities: .*modalities: \[audio\]"):
        MHD(make_setup("mhd"))


def test_first_weights_are_the_same_for_the_same_architecture() -> None:
    learner = make(PATH, by_device={2: {"name": "mlp", "hidden": [5]}}, embedding_size=4)
    first, second, third = (fingerprint(dict(learner._devices.initial(k))) for k in range(3))
    assert first == second != third
    other = perturbed(learner._devices.initial(0))
    assert fingerprint(dict(other)) != first
    assert {
        part: take(learner._devices.architectures[0].build().parts())[part].layout.size for part in other
    } == {part: own.layout.size for part, own in other.items()}
