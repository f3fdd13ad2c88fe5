"""The yardsticks: clients that learn alone, and a server that has all their data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from server_play import AUDIO, SMALL, Turn, begin, combine, make, model, note, play, upload
from tiny_task import UNLIMITED, Deal, run_job

from learners.checks import fingerprint
from learners.federated.evaluation import evaluate
from learners.federated.local_update import local_update
from learners.federated.samples import Client, Samples
from learners.networks.late_fusion import FUSION
from learners.training.state import State
from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed
from netsim.former.learning import Workload
from netsim.scenario.model import Costs, Evaluation

MIXED = Deal({0: ("audio",), 1: ("audio", "visual"), 2: ("visual",)})
DIVERGING = {**AUDIO, "learning_rate": 1e12, "local_epochs": 4}


def serve(learner: Any, rounds: int = 2) -> list[Turn]:
    """Rounds in which everybody is chosen and the server does the training."""
    turns = [Turn(round) for round in range(1, rounds + 1)]
    server = learner.server
    for turn in turns:
        begin(learner, turn, range(server))
        assert not any(learner.training_job(k, turn.round, turn.workloads[k]) for k in range(server))
        upload(learner, turn)
        arrived = {k: message.payload for k, message in turn.uploads.items()}
        note(learner, turn, server, learner.combine(server, turn.round, arrived))
        turn.workloads[server] = learner.workload(server, turn.round, UNLIMITED)
        turn.results[server] = run_job(learner.training_job(server, turn.round, turn.workloads[server]))
        note(learner, turn, server, learner.apply(server, turn.round, turn.results[server]))
        job = learner.evaluation_job(server, turn.round)
        if job is not None:
            note(learner, turn, server, learner.judge(server, turn.round, run_job(job)))
    return turns


def chained(learner: Any, device: int, client: Client, rounds: Sequence[int]) -> State:
    """What the first weights become by the local updates of these rounds, one after the other."""
    architecture = learner._architecture.restricted_to(client.modalities)
    state: State = {part: learner._initial[part] for part in architecture.parts(client.modalities)}
    heads = (*client.modalities, FUSION)
    for round in rounds:
        state = local_update(
            architecture,
            state,
            Samples(learner._samples.store, {device: client}),
            device,
            steps=-(-len(client.train) // SMALL["batch_size"]),
            head_weights=dict.fromkeys(heads, 1 / len(heads)),
            plan=learner._plan(),
            seed=derive_seed(learner.setup.seed, "training", device, round),
            torch_device="cpu",
        ).state
    return state


def judged(learner: Any, modalities: tuple[str, ...], state: State) -> dict[str, float]:
    architecture = learner._architecture.restricted_to(modalities)
    return evaluate(architecture, state, learner._samples.store, learner._test_rows, 256, "cpu")


# Both.


@pytest.mark.parametrize(("name", "rounds_of"), [("isolated_clients", play), ("centralized_server", serve)])
def test_nothing_is_sent(name: str, rounds_of: Any) -> None:
    learner = make(name, partition=MIXED)
    (turn,) = rounds_of(learner, rounds=1)
    (together,) = learner.download(2, [0, 1, 2], together=True)
    assert together.receivers == (0, 1, 2) and len(turn.downloads) == len(turn.uploads) == 3
    assert {m.size_bits for m in (together, *turn.downloads, *turn.uploads.values())} == {0.0}


def test_one_class_each_is_not_enough_and_all_of_them_together_are() -> None:
    """Three devices have a class each, and say so whatever they are asked: a third is right."""
    names = ("isolated_clients", "centralized_server")
    alone, pooled = (
        make(name, head_hidden=16, local_epochs=2, evaluation=Evaluation(every=4)) for name in names
    )
    lower, upper = play(alone, rounds=4)[-1], serve(pooled, rounds=4)[-1]
    assert lower.metrics[alone.server, "accuracy", ""] == pytest.approx(1 / 3)
    assert upper.metrics[pooled.server, "accuracy", ""] > 0.6


# Clients on their own.


def test_a_client_goes_on_from_where_it_was_whenever_it_is_chosen() -> None:
    """Client 0 in rounds 1 and 2, client 1 in 1 and 3, client 2 never."""
    learner = make("isolated_clients", partition=MIXED)
    play(learner, rounds=3, participants={1: [0, 1], 2: [0], 3: [1]})
    for k, rounds in ((0, [1, 2]), (1, [1, 3]), (2, [])):
        assert fingerprint(learner._own[k]) == fingerprint(chained(learner, k, learner._clients[k], rounds))


def test_models_differ_and_the_servers_stays_what_it_was() -> None:
    learner = make("isolated_clients")
    turns = play(learner)
    assert len({fingerprint(own["fusion"]) for own in learner._own.values()}) == 3
    assert fingerprint(model(learner, 2)) == fingerprint(learner._initial)
    assert [turn.workloads[learner.server] for turn in turns] == [Workload()] * 2


def test_clients_compute_what_they_would_with_a_server() -> None:
    ours, theirs = (play(make(name, partition=MIXED)) for name in ("isolated_clients", "fedavg"))
    for our, their in zip(ours, theirs, strict=True):
        assert [our.workloads[k] for k in range(3)] == [their.workloads[k] for k in range(3)]


def test_one_client_with_all_the_data_is_fedavg_with_one_client() -> None:
    one, other = (make(name, devices=1) for name in ("isolated_clients", "fedavg"))
    assert [turn.metrics for turn in play(one)] == [turn.metrics for turn in play(other)]
    for part, averaged in model(other, 2).items():
        sent = averaged.layout.sent  # behind it are counters, which are the server's own
        assert one._own[0][part].row.tensor[:sent].equal(averaged.row.tensor[:sent])


def test_accuracy_is_the_mean_over_the_clients_and_of_a_modality_over_its_owners() -> None:
    """Client 2 was not chosen, and is judged all the same."""
    learner = make("isolated_clients", partition=MIXED)
    (turn,) = play(learner, rounds=1, participants={1: [0, 1]})
    found = [judged(learner, learner._clients[k].modalities, learner._own[k]) for k in range(3)]
    assert len({each["loss"] for each in found}) == 3
    expected = {
        ("loss_test", ""): fmean(each["loss"] for each in found),
        ("accuracy", ""): fmean(each["accuracy"] for each in found),
        ("accuracy", "audio"): fmean(found[k]["accuracy/audio"] for k in (0, 1)),
        ("accuracy", "visual"): fmean(found[k]["accuracy/visual"] for k in (1, 2)),
    }
    told = {(name, m): value for (k, name, m), value in turn.metrics.items() if k == learner.server}
    assert told == pytest.approx(expected, rel=1e-12)


def test_a_client_that_diverges_keeps_its_model_or_stops_the_run() -> None:
    learner = make("isolated_clients", on_nan="drop")
    play(learner, rounds=1)
    before = dict(learner._own)
    second = Turn(2)
    begin(learner, second, [0, 1])
    for k in (0, 1):
        result = run_job(learner.training_job(k, 2, second.workloads[k]))
        learner.apply(k, 2, replace(result, finite=k == 0))
    upload(learner, second)
    combine(learner, second)
    assert second.metrics[learner.server, "dropped", ""] == 1
    changed = [k for k in range(3) if fingerprint(learner._own[k]) != fingerprint(before[k])]
    assert changed == [0]
    with pytest.raises(ScenarioError, match="training of device 0 diverged in round 1"):
        play(make("isolated_clients", **DIVERGING))


# A server with all the data.


def test_the_server_trains_on_what_all_clients_train_on_with_all_modalities() -> None:
    """Each client owns one modality; what they hold out, nobody trains on."""
    learner = make("centralized_server", partition=Deal({0: ("audio",), 1: ("visual",), 2: ("audio",)}))
    clients = learner._clients.values()
    rows = np.sort(np.concatenate([client.train for client in clients]))
    assert not np.isin(np.concatenate([client.validation for client in clients]), rows).any()
    turns = serve(learner)
    everything = Client(("audio", "visual"), rows, rows[:0], {})
    expected = chained(learner, learner.server, everything, [1, 2])
    assert fingerprint(model(learner, 2)) == fingerprint(expected)
    for part, trained in expected.items():
        assert not trained.weights.equal(learner._initial[part].weights)
    right = judged(learner, ("audio", "visual"), expected)
    for modality, name in (("", "accuracy"), ("audio", "accuracy/audio"), ("visual", "accuracy/visual")):
        assert turns[1].metrics[learner.server, "accuracy", modality] == right[name]
    assert turns[1].metrics[learner.server, "loss_test", ""] == right["loss"]


def test_all_the_work_is_the_servers() -> None:
    """26 training samples of each of 3 devices are 9 batches of 8 and one of 6, in 2 epochs 156 samples.

    A sample's FLOPs are 4 times 156 multiplications in the trunk and 66 in the head, as in test_methods.py.
    """
    learner = make("centralized_server", **AUDIO, local_epochs=2, costs=Costs(backward_to_forward=1))
    (turn,) = serve(learner, rounds=1)
    assert turn.workloads[learner.server].iterations == {"audio": 20}
    assert turn.workloads[learner.server].flops == {"audio": 156 * 4 * 156, "fusion": 156 * 4 * 66}
    assert turn.results[learner.server].steps == 20
    assert [turn.workloads[k] for k in range(3)] == [Workload()] * 3
    assert {device for device, _, _ in turn.metrics} == {learner.server}


def test_a_server_that_diverges_stops_the_run_or_keeps_its_model() -> None:
    with pytest.raises(ScenarioError, match="training of the server diverged in round 1"):
        serve(make("centralized_server", **DIVERGING))
    learner = make("centralized_server", **DIVERGING, on_nan="drop")
    serve(learner)
    assert fingerprint(model(learner, 2)) == fingerprint(learner._initial)
