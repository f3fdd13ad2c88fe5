"""FedZKT: the server's game without data, the transfer back, and what devices do with it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from at_once import Play
from distilling import (
    CNN,
    DIFFERENT,
    IMAGES,
    MLP,
    RESNET,
    VECTORS,
    assert_states_close,
    charged_and_computed,
    make,
    reachable,
    simulate,
    storages,
)
from tiny_task import UNLIMITED
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD

from learners.checks import fingerprint
from learners.data.dataset import MultimodalDataset
from learners.networks.state import State, lend
from learners.training.batched import Alone
from learners.training.batches import mini_batches
from learners.training.distillation.fedzkt_update import (
    GENERATOR,
    Played,
    ServerPlan,
    ensemble,
    generator_step,
    local_update,
    play,
    student_step,
    teaching,
    transfer,
    transfer_step,
)
from learners.training.distillation.losses import disagreement
from learners.training.optimizers import Rule, Single
from learners.training.task import Store
from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed

LOSSES = ("sl", "kl", "l1")


@pytest.fixture
def learner() -> Any:
    """In float64, with two networks that have BatchNorm among four; the global one is another."""
    return make("fedzkt", precision="float64", networks=[*DIFFERENT["fedzkt"], RESNET])


def server_inputs(learner: Any, **plan: Any) -> dict[str, Any]:
    """What the server's work takes, from first weights, with other settings in its plan."""
    first, architectures = learner._first, learner._devices.architectures
    settings = ServerPlan("sl", 2, 1, 6, 0.05, 0.0, Rule("adam", 1e-3), "keep")
    return {
        "architecture": learner._global,
        "state": first["own"],
        "shape": learner._shape,
        "generator": first["generator"],
        "memories": {},
        "devices": {k: (architectures[k], state) for k, state in first["devices"].items()},
        "students": sorted(first["devices"]),
        "plan": dataclasses.replace(settings, **plan),
        "seed": 7,
        "torch_device": "cpu",
    }


class Distilled(NamedTuple):
    """What the server's work leaves."""

    played: Played
    transferred: dict[int, State]
    losses: dict[str, float]


def server_update(**inputs: Any) -> Distilled:
    """Game and transfer back, as the server orders them."""
    played = play(**inputs)
    own = {name: inputs[name] for name in ("students", "plan", "seed", "torch_device")}
    taught = {
        k: transfer(one, state, k, images=played.images, targets=played.targets, **own)
        for k, (one, state) in inputs["devices"].items()
    }
    there = {k: one for k, one in taught.items() if one is not None}
    total = sum(loss for one in there.values() for loss in one.losses)
    mean = total / max(len(there), 1) / inputs["plan"].iterations
    losses = {**played.losses, "loss_transfer": mean}
    return Distilled(played, {k: one.state for k, one in there.items()}, losses)


class Game:
    """The server's networks at work, for single steps."""

    def __init__(self, learner: Any, rate: float = 1e-3, student: Any = None) -> None:
        inputs = server_inputs(learner)
        architecture, state = student or (inputs["architecture"], inputs["state"])
        self.devices = inputs["devices"]
        self.teachers = teaching(self.devices, "cpu")
        self.generator = learner._shape.net("cpu")
        self.student = architecture.net("cpu")
        self._generator = lend({GENERATOR: self.generator}, inputs["generator"])
        self._student = lend(self.student.parts(), state)
        layouts = {part: own.layout for part, own in {**inputs["generator"], **state}.items()}
        self.rises = Single(Rule("adam", rate), {GENERATOR: self.generator}, layouts, {})
        self.falls = Single(Rule("sgd", rate), self.student.parts(), layouts, {})
        self.z = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        self.generator.train()

    def gap(self, loss: Any, training: bool = False) -> float:
        """The disagreement about what the generator makes of ``z``."""
        with torch.no_grad():
            x = self.generator(self.z)
            self.student.train(training)
            return disagreement(loss, self.student(x).logits[0], ensemble(self.teachers, x)).item()

    def known(self) -> tuple[str, str, str]:
        """Digests of generator, global model and devices' models, buffers and counters included."""
        parts = [[lent.part() for lent in own.values()] for own in (self._generator, self._student)]
        return (
            fingerprint(parts[0]),
            fingerprint(parts[1]),
            fingerprint([net.state_dict() for net in self.teachers]),
        )


# The server's steps.


@pytest.mark.parametrize("loss", LOSSES)
def test_a_generator_s_step_raises_the_loss_and_changes_nothing_else(learner: Any, loss: Any) -> None:
    game = Game(learner, rate=1e-5)
    own, *others = game.known()
    before, norm = generator_step(game.generator(game.z), game.student, game.teachers, loss, game.rises)
    own_then, *others_then = game.known()
    assert others_then == others and own_then != own
    assert all(weight.grad is None and weight.requires_grad for weight in game.student.parameters())
    assert game.gap(loss) > before > 0 and norm > 0


@pytest.mark.parametrize("loss", LOSSES)
def test_the_global_model_s_step_lowers_the_loss_and_changes_nothing_else(learner: Any, loss: Any) -> None:
    game = Game(learner, rate=1e-3)
    with torch.no_grad():
        x = game.generator(game.z)
    generator, own, devices = game.known()
    before = student_step(x, game.student, game.teachers, loss, game.falls)
    generator_then, own_then, devices_then = game.known()
    assert (generator_then, devices_then) == (generator, devices) and own_then != own
    assert 0 < game.gap(loss, training=True) < before


def test_samples_for_the_global_model_and_for_devices_leave_the_generator_alone(learner: Any) -> None:
    """Its running statistics too: in one iteration it comes out the same however often samples are made after it."""
    once, often = (
        server_update(**{**server_inputs(learner, iterations=1, student_steps=n), "students": [0, 1]})
        for n in (1, 4)
    )
    assert fingerprint(once.played.generator) == fingerprint(often.played.generator)
    assert fingerprint(once.played.global_state) != fingerprint(often.played.global_state)
    assert set(once.transferred) == {0, 1}


def test_where_there_are_no_students_nothing_is_done(learner: Any) -> None:
    inputs = {**server_inputs(learner), "students": []}
    found = server_update(**inputs)
    assert found.transferred == {} and found.played.losses == {} and not found.played.images
    assert found.played.global_state is inputs["state"] and found.played.generator is inputs["generator"]


def test_server_work_changes_none_of_its_inputs(learner: Any) -> None:
    inputs = server_inputs(learner)
    before = fingerprint(inputs)
    found = server_update(**inputs)
    assert fingerprint(inputs) == before and all(map(math.isfinite, found.losses.values()))
    for k, state in found.transferred.items():
        assert fingerprint(state) != fingerprint(inputs["devices"][k][1])


@pytest.mark.parametrize("student", [0, 2])
def test_a_device_that_is_the_global_model_learns_nothing_from_it(learner: Any, student: int) -> None:
    game = Game(learner)
    architecture, state = game.devices[student]
    way = Alone(architecture.net("cpu", place=1), state, Rule("sgd", 1.0))
    x = torch.randn(5, 1, 8, 8, dtype=torch.float64)
    target = architecture.predict(state, x).logits[0]
    assert transfer_step(x, target, way, "keep") == pytest.approx(0, abs=1e-12)
    assert_states_close(way.states()[0], state, 1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_one_device_that_is_the_global_model_leaves_nothing_to_play_for(learner: Any, loss: Any) -> None:
    inputs = server_inputs(learner, loss=loss)
    inputs["devices"] = {0: (inputs["architecture"], inputs["state"])}
    found = server_update(**{**inputs, "students": [0]})
    for name in ("loss_generator", "loss_global", "loss_transfer"):
        assert found.losses[name] == pytest.approx(0, abs=1e-10)
    assert_states_close(found.played.global_state, inputs["state"], 1e-10)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_order_of_devices_does_not_matter(learner: Any, loss: Any) -> None:
    inputs = server_inputs(learner, loss=loss)
    one = server_update(**inputs)
    backwards = dict(reversed(inputs["devices"].items()))
    other = server_update(**{**inputs, "devices": backwards, "students": inputs["students"][::-1]})
    assert_states_close(one.played.global_state, other.played.global_state, 1e-9)
    assert one.losses == pytest.approx(other.losses, rel=1e-9)
    for k, state in one.transferred.items():
        assert_states_close(state, other.transferred[k], 1e-9)


def running(learner: Any, state: State) -> dict[str, Tensor]:
    """What BatchNorm keeps."""
    trained = state["trunk"].layout.trained
    return {name: tensor for name, tensor in state["trunk"].items() if name not in trained}


def test_batchnorm_of_device_models_in_the_transfer_back(learner: Any) -> None:
    before = learner._first["devices"][1]
    found = {
        how: server_update(**server_inputs(learner, statistics=how)).transferred[1]
        for how in ("keep", "update", "eval")
    }
    own = {how: running(learner, state) for how, state in found.items()}
    assert len(own["keep"]) > 3
    assert fingerprint(own["keep"]) == fingerprint(own["eval"]) == fingerprint(running(learner, before))
    assert not any(torch.equal(x, own["keep"][name]) for name, x in own["update"].items())
    weights = {how: state["trunk"].weights for how, state in found.items()}
    assert torch.equal(weights["keep"], weights["update"]), "both use the batch's statistics"
    assert not torch.equal(weights["keep"], weights["eval"])


def test_what_the_server_s_optimizers_remember_goes_on(learner: Any) -> None:
    """Of the generator's Adam, and of the global model where its SGD has momentum."""
    first = server_update(**server_inputs(learner))
    again = server_update(**{**server_inputs(learner), "memories": first.played.memories})
    assert (
        int(first.played.memories[GENERATOR]["step"]) == 2
        and int(again.played.memories[GENERATOR]["step"]) == 4
    )
    assert set(first.played.memories) == {GENERATOR}
    inputs = server_inputs(learner)
    inputs["plan"] = dataclasses.replace(inputs["plan"], momentum=0.5)
    first = server_update(**inputs)
    again = server_update(**{**inputs, "memories": first.played.memories})
    afresh = server_update(**{**inputs, "memories": {GENERATOR: first.played.memories[GENERATOR]}})
    assert first.played.memories["trunk"]["momentum_buffer"].abs().sum() > 0
    assert fingerprint(again.played.global_state) != fingerprint(afresh.played.global_state)
    assert fingerprint(first.played.generator) != fingerprint(again.played.generator)


# A device's training.


def local_inputs(learner: Any, device: int = 0, steps: int = 2, **rule: Any) -> dict[str, Any]:
    rounds = Play(learner)
    rounds.rounds(1, participants={1: [device]})
    (inputs,) = rounds.work.inputs_of(local_update)
    if "l2" in rule:
        rule["proximal"] = 2 * rule.pop("l2")
    plan = dataclasses.replace(inputs["plan"], rule=dataclasses.replace(inputs["plan"].rule, **rule))
    return {**inputs, "steps": steps, "plan": plan}


@pytest.mark.parametrize("device", [0, 1])
@pytest.mark.parametrize("l2", [0.0, 0.7])
def test_a_local_update_is_sgd_on_the_loss_with_the_distance(learner: Any, device: int, l2: float) -> None:
    """Written out; with λ = 0 it is plain SGD. The distance is of weights, not of running statistics."""
    inputs = local_inputs(learner, device, steps=5, l2=l2, learning_rate=0.1, momentum=0.5, weight_decay=0.01)
    found = local_update(**inputs)
    state, store = inputs["state"], inputs["store"]
    net = learner._devices.architectures[device].build().double()
    net.load_state_dict({f"{part}.{name}": x for part in state for name, x in state[part].items()})
    received = [weight.detach().clone() for weight in net.parameters()]
    optimizer = SGD(net.parameters(), 0.1, 0.5, weight_decay=0.01)
    rows = store.rows(device)
    for places in mini_batches(len(rows), 8, 5, derive_seed(inputs["seed"], "batches"), "keep"):
        x = store.inputs["features"][rows[places]].double()
        loss = F.cross_entropy(net(x).logits[0], store.labels[rows[places]])
        for weight, anchor in zip(net.parameters(), received, strict=True):
            loss = loss + l2 * (weight - anchor).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for part, module in net.parts().items():
        for name, tensor in module.state_dict().items():
            torch.testing.assert_close(
                found.state[part][name], tensor, rtol=1e-9, atol=1e-12, check_dtype=False
            )


def test_the_distance_is_not_felt_in_the_first_step(learner: Any) -> None:
    for steps, same in ((1, True), (2, False)):
        free, held = (
            local_update(**local_inputs(learner, 1, steps=steps, l2=l2, learning_rate=0.1)) for l2 in (0, 10)
        )
        assert (fingerprint(free.state) == fingerprint(held.state)) == same


def test_a_pull_keeps_a_device_near_what_it_received(learner: Any) -> None:
    first = learner._first["devices"][0]["trunk"].weights
    moved = [
        (
            local_update(**local_inputs(learner, 0, 20, l2=l2, learning_rate=0.1)).state["trunk"].weights
            - first
        ).norm()
        for l2 in (0.0, 0.5, 4.0)
    ]
    assert moved[0] > 1.2 * moved[1] > 1.44 * moved[2]


# Rounds.


def test_the_server_touches_no_data(learner: Any) -> None:
    rounds = Play(learner)
    rounds.rounds(2)
    jobs = [*rounds.work.inputs_of(play), *rounds.work.inputs_of(transfer)]
    assert len(jobs) == 2 * (1 + 4)
    inside = list(reachable(jobs))
    assert not any(isinstance(one, Store | MultimodalDataset) for one in inside)
    data = storages(reachable([learner._devices.store, learner._devices.test_rows]))
    assert len(data) > 4 and not storages(iter(inside)) & data
    local = local_inputs(make("fedzkt"))
    assert any(isinstance(one, Store) for one in reachable(local)), "the search finds one where there is one"


def plans(
    learner: Any, rounds: int, participants: Mapping[int, list[int]] | None = None
) -> list[dict[str, Any]]:
    """The inputs of the server's game, round by round."""
    played = Play(learner)
    played.rounds(rounds, participants=participants)
    return played.work.inputs_of(play)


def test_step_sizes_drop_at_a_half_and_at_three_quarters() -> None:
    learner = make("fedzkt", networks=[MLP], rounds=8, server_learning_rate=0.1, generator_learning_rate=0.01)
    found = [one["plan"] for one in plans(learner, 8)]
    factors = [1, 1, 1, 1, 0.3, 0.3, 0.09, 0.09]
    assert [one.learning_rate for one in found] == pytest.approx([0.1 * f for f in factors])
    assert [one.generator.learning_rate for one in found] == pytest.approx([0.01 * f for f in factors])
    assert make("fedzkt", rate_drop=1.0)._rate(4) == 1.0


@pytest.mark.parametrize("transfer", ["active", "all"])
def test_whose_models_learn_from_the_global_one(transfer: str) -> None:
    rounds = Play(make("fedzkt", transfer=transfer))
    rounds.rounds(2, participants={1: [0, 1, 2], 2: [1]})
    first, second = rounds.work.inputs_of(play)
    assert first["students"] == [0, 1, 2] and list(first["devices"]) == [0, 1, 2]
    assert second["students"] == ([1] if transfer == "active" else [0, 1, 2])
    assert list(second["devices"]) == [0, 1, 2], "the ensemble is of all devices' last known models"
    before = {k: fingerprint(state) for k, (_, state) in second["devices"].items()}
    after = {k: fingerprint(state) for k, state in rounds[3]["devices"].items()}
    changed = [k for k in after if after[k] != before[k]]
    assert changed == second["students"]


def test_an_inactive_device_s_model_stays_as_it_was(write_scenario: Callable[..., Path]) -> None:
    simulation, log = simulate(
        write_scenario, "fedzkt", rounds=1, protocol={"name": "server_rounds", "participants": 1}
    )
    (active,) = [row.device for row in log.rounds if row.outcome == "finished"]
    for k, state in simulation.states[3]["devices"].items():
        same = fingerprint(state) == fingerprint(simulation.learner._devices.initial(k))
        assert same == (k != active)


def test_an_upload_that_is_lost_leaves_what_the_server_knew() -> None:
    learner = make("fedzkt")
    rounds = Play(learner)
    turns = rounds.rounds(2, lost={1: [1], 2: [0, 1, 2]})
    known = rounds[3]["devices"]
    assert fingerprint(known[1]) == fingerprint(learner._devices.initial(1))
    assert fingerprint(known[0]) != fingerprint(learner._devices.initial(0))
    of_server = {t.round: {n: v for n, v in t.of(3).items() if n.startswith("acc")} for t in turns}
    assert of_server[1] == of_server[2], "where nothing arrives everything stays"
    assert "loss_global" in turns[0].of(3) and "loss_global" not in turns[1].of(3)


# Divergence.


def test_divergence_of_a_device_stops_the_run_or_its_upload_is_dropped() -> None:
    with pytest.raises(
        ScenarioError, match=r"learner\.learning_rate: the training of device 0 diverged .*on_nan"
    ):
        Play(make("fedzkt", learning_rate=1e30)).rounds(1)
    rounds = Play(make("fedzkt", learning_rate=1e30, on_nan="drop"))
    first = rounds[3]
    (turn,) = rounds.rounds(1)
    assert turn.of(3).keys() == {"dropped", "accuracy", "loss_test", "accuracy_devices"}
    assert turn.metrics[3, "dropped"] == 3 and "accuracy_local" not in turn.of(0)
    assert all(fingerprint(rounds[3][name]) == fingerprint(first[name]) for name in first)


def test_one_upload_that_is_not_finite_is_dropped_alone() -> None:
    """Device 1's samples are too large; the others are taught and device 1's model stays as it was."""
    learner = make("fedzkt", networks=[MLP] * 3, on_nan="drop")
    rows = learner._devices.samples[1]
    learner._devices.store.inputs["features"][rows] = math.inf
    rounds = Play(learner)
    (turn,) = rounds.rounds(1)
    assert turn.metrics[3, "dropped"] == 0, "what the server says last: its own work was finite"
    (inputs,) = rounds.work.inputs_of(play)
    assert inputs["students"] == [0, 2]
    same = [
        fingerprint(rounds[3]["devices"][k]) == fingerprint(learner._devices.initial(k)) for k in range(3)
    ]
    assert same == [False, True, False]


def test_divergence_of_the_server_stops_the_run_or_its_work_is_dropped() -> None:
    hopeless = {"server_learning_rate": 1e30, "distillation_iterations": 4}
    with pytest.raises(
        ScenarioError, match=r"learner\.server_learning_rate: the server's distillation diverged"
    ):
        Play(make("fedzkt", **hopeless)).rounds(1)
    rounds = Play(make("fedzkt", on_nan="drop", **hopeless))
    first = rounds[3]
    (turn,) = rounds.rounds(1)
    after = rounds[3]
    assert turn.metrics[3, "dropped"] == 1
    assert fingerprint([after["own"], after["generator"]]) == fingerprint([first["own"], first["generator"]])
    assert fingerprint(after["devices"]) != fingerprint(first["devices"]), "what was uploaded is known"
    assert Play(make("fedzkt", on_nan="drop")).rounds(1)[0].metrics[3, "dropped"] == 0


# Costs.


def test_work_by_hand() -> None:
    """Networks 64 → 6 → 3 (402 multiply-accumulates) and 64 → 5 → 3 (335), F 64 → 4 → 3 (268).

    The generator makes 2×2 cells of 4 channels of 3 numbers, then 9·4·4 for 4×4 pixels, 9·4·2 and 9·2·1 for 8×8.
    Backward everything takes twice what it takes forward, but first layers, whose inputs need no gradient, once;
    through frozen networks to their inputs, once.
    """
    networks = [MLP, {"name": "mlp", "hidden": [5]}]
    learner = make(
        "fedzkt",
        networks=networks,
        global_network={"name": "mlp", "hidden": [4]},
        local_epochs=3,
        student_steps=2,
        server_batch_size=5,
    )
    (turn,) = Play(learner).rounds(1)
    assert turn.costs[0].flops == {"features": 3 * 30 * 2 * (3 * 402 - 64 * 6)}
    assert turn.costs[1].iterations == {"features": 3 * 4}, "30 samples: three batches of 8 and one of 6"
    generator = 2 * (3 * 4 * 4 + 9 * 4 * 4 * 16 + 9 * 4 * 2 * 64 + 9 * 2 * 64)
    samples, own, everybody = 2 * 5, 2 * 268, 2 * (402 + 335)
    first = 2 * 64
    assert turn.costs[2].flops == {
        "generator": samples * (3 * generator - 2 * 3 * 4 * 4 + 2 * (own + everybody)),
        "global": samples * 2 * (generator + 3 * own - first * 4 + everybody),
        "transfer": samples * (generator + own + 3 * everybody - first * (6 + 5)),
    }
    active = learner.cost(2, 2, [1], UNLIMITED, None).flops["transfer"]
    assert active == samples * (generator + own + 3 * 2 * 335 - first * 5)
    numbers = 64 * 6 + 6 + 6 * 3 + 3
    assert (
        learner.training_memory_bytes(0) == 4 * 3 * numbers + 8 * learner._devices.costs(0).activation_bytes
    )


def test_devices_and_server_compute_what_they_are_charged_for() -> None:
    """As PyTorch's own counter has it: an MLP, a residual network and a CNN with BatchNorm."""
    found = charged_and_computed(make("fedzkt"), rounds=1)
    assert len(found) == 4 and all(charged == computed for charged, computed in found)


def test_the_server_s_work_takes_its_time(write_scenario: Callable[..., Path]) -> None:
    processor = {"frequency_hz": 1e6, "flops_per_cycle": 2.0}
    simulation, log = simulate(write_scenario, "fedzkt", rounds=2, server={"processor": processor})
    expected = simulation.learner.cost(3, 1, [0, 1, 2], UNLIMITED, None).total_flops
    for row in log.server:
        assert row.flops == expected and row.compute_s == pytest.approx(expected / 2e6)
    metrics = {row.name: row.time_s for row in log.metrics if row.round == 1 and row.device == 3}
    assert metrics["accuracy"] == metrics["loss_global"] == pytest.approx(log.server[0].end_s)
    uploads = [row.end_s for row in log.transfers if row.kind == "upload" and row.round == 1]
    assert log.server[0].end_s == pytest.approx(max(uploads) + expected / 2e6)


@pytest.mark.parametrize("mode", ["unicast", "broadcast"])
def test_every_device_s_bits_are_those_of_its_own_network(
    write_scenario: Callable[..., Path], mode: str
) -> None:
    band = {"bandwidth_hz": 1e6}
    simulation, log = simulate(
        write_scenario, "fedzkt", rounds=1, server={"downlink": {**band, "mode": mode}, "uplink": band}
    )
    bits = simulation.learner.facts()["bits"]
    assert len(set(bits.values())) == 3 and bits[0] == 32 * (64 * 6 + 6 + 6 * 3 + 3)
    assert {row.sender: row.size_bits for row in log.transfers if row.kind == "upload"} == bits
    down = {row.receiver: row.size_bits for row in log.transfers if row.kind == "download"}
    assert down == (bits if mode == "unicast" else dict.fromkeys(bits, sum(bits.values())))


# With the simulator.


def test_an_asynchronous_server_is_refused(write_scenario: Callable[..., Path]) -> None:
    with pytest.raises(
        ScenarioError, match=r"'fedzkt' cannot be run under .*use protocol: server_rounds, or"
    ):
        simulate(write_scenario, "fedzkt", protocol={"name": "asynchronous_server"})


def test_without_a_server_there_is_nobody_to_distil(write_scenario: Callable[..., Path]) -> None:
    with pytest.raises(
        ScenarioError, match=r"'fedzkt' cannot be run under .*use protocol: server_rounds, or"
    ):
        simulate(write_scenario, "fedzkt", protocol={"name": "decentralized_rounds"}, links=True)


@pytest.mark.parametrize("blocks", [{}, {"radio": {"outage_snr_db": 20.0, "channel": "rayleigh"}}])
def test_workers_give_the_same_records(write_scenario: Callable[..., Path], blocks: dict[str, Any]) -> None:
    jobs = {"device": "cpu", "threads": 1, "stacking": "off"}
    inline, threads = (
        simulate(write_scenario, "fedzkt", rounds=4, jobs={**jobs, "executor": executor}, **blocks)
        for executor in ("inline", {"name": "threads", "workers": 2})
    )
    assert inline[1].everything == threads[1].everything
    assert inline[1].metrics
    assert fingerprint(inline[0].states) == fingerprint(threads[0].states)
    if blocks:
        assert "lost" in {row.outcome for row in inline[1].rounds}


def test_data_that_is_no_image_and_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ScenarioError, match=r"learner\.name: the generator of fedzkt makes images.*\[8\]"):
        make("fedzkt", data=VECTORS, networks=[MLP])
    with pytest.raises(ScenarioError, match=r"learner\.global_network: cnn: .* at least 16"):
        make("fedzkt", global_network={**CNN, "channels": [2] * 4})


def test_real_images_of_several_kinds_of_device() -> None:
    data = {"name": "digits", "size": 8, "train_samples": 60, "test_samples": 20}
    learner = make("fedzkt", data=data, generator_channels=(4, 4))
    turns = Play(learner).rounds(2)
    assert 0 <= turns[1].metrics[3, "accuracy_devices"] <= 1
    assert learner.facts()["networks"][2] == {"name": "cnn", "channels": [2], "hidden": 5}


def test_devices_learn_and_the_global_model_learns_from_them() -> None:
    learner = make(
        "fedzkt", data={**IMAGES, "separation": 8.0}, networks=[{"name": "mlp", "hidden": [16]}] * 2, local_epochs=5,
        learning_rate=0.1, l2=0.01, distillation_iterations=30, server_batch_size=16, server_learning_rate=0.1,
        global_network={"name": "mlp", "hidden": [16]},
    )  # fmt: skip
    last = Play(learner).rounds(2)[-1]
    assert last.metrics[2, "accuracy_devices"] > 0.6 and last.metrics[2, "accuracy"] > 0.5
