"""What one client does in one round."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from server_play import AUDIO, EARS, Play, initial, job_of, make
from tiny_task import Deal, run_job, tiny_dataset
from torch import nn
from torch.nn import functional as F

from learners.checks import fingerprint
from learners.data.dataset import Share
from learners.training.late_fusion.local_update import Trained
from learners.training.late_fusion.samples import hold_out
from learners.training.optimizers import pull_back

PLAIN = {"momentum": 0.0, "weight_decay": 0.0}
WHOLE = {**PLAIN, "validation_share": 0.0, "batch_size": 1000}


class Given(Deal):
    """These shares."""

    def __init__(self, *shares: Share) -> None:
        super().__init__()
        self.shares = shares

    def deal(self, data: Any, device_count: int, seed: int) -> list[Share]:
        return list(self.shares)


def trained(name: str, device: int = 0, **changes: Any) -> Trained:
    result: Trained = run_job(job_of(make(name, **changes), device))
    return result


def distance(learner: Any, result: Trained) -> float:
    start = initial(learner)
    moved = [result.state[part].weights - start[part].weights for part in result.state]
    return float(torch.cat(moved).norm())


# Samples.


def test_a_fifth_is_held_out_and_nobody_else_decides_which() -> None:
    share = Share(np.arange(20), ("audio",))
    client = hold_out(share, 0.2, seed=3, device=1)
    assert client is not None
    assert len(client.validation) == 4 and sorted([*client.train, *client.validation]) == list(range(20))
    again = hold_out(share, 0.2, seed=3, device=1)
    assert again is not None and np.array_equal(client.train, again.train)
    other = hold_out(share, 0.2, seed=3, device=2)
    assert other is not None and not np.array_equal(client.train, other.train)


@pytest.mark.parametrize(("samples", "held_out"), [(1, 0), (2, 1), (3, 1), (100, 20)])
def test_small_clients_keep_at_least_one_sample_to_train_on(samples: int, held_out: int) -> None:
    client = hold_out(Share(np.arange(samples), ("audio",)), 0.2, 0, 0)
    assert client is not None and (len(client.train), len(client.validation)) == (
        samples - held_out,
        held_out,
    )


def test_who_has_nothing_to_train_on_is_no_client() -> None:
    assert hold_out(Share(np.arange(0), ("audio",)), 0.2, 0, 0) is None
    assert hold_out(Share(np.arange(5), ()), 0.2, 0, 0) is None
    assert hold_out(Share(np.arange(5), ("audio",), {"audio": np.arange(5)}), 0.2, 0, 0) is None


def test_a_modality_of_which_a_client_has_no_sample_is_not_its_own() -> None:
    client = hold_out(Share(np.arange(5), ("audio", "visual"), {"visual": np.arange(5)}), 0.0, 0, 0)
    assert client is not None and client.modalities == ("audio",) and not client.absent


# Steps.


def test_one_full_step_is_gradient_descent() -> None:
    """The step is −η ∇(mean of the head's and the fused head's loss), over all of the client's samples."""
    learner = make("fedavg", **(EARS | WHOLE))
    job = job_of(learner)
    net = learner._federation.restricted(("audio",)).value.build()
    for name, module in net.parts().items():
        module.load_state_dict(dict(initial(learner)[name]))
    data, rows = tiny_dataset(), learner._clients[0].train
    outputs = net({"audio": data.inputs["audio"][rows]}, len(rows))
    labels = data.labels[rows]
    loss = (F.cross_entropy(outputs.fused, labels) + F.cross_entropy(outputs.heads["audio"], labels)) / 2
    loss.backward()
    result = run_job(job)
    assert result.steps == 1 and result.loss == pytest.approx(loss.item(), rel=1e-5)
    for name, module in net.parts().items():
        for key, weight in module.named_parameters():
            assert weight.grad is not None
            torch.testing.assert_close(
                result.state[name][key], weight - 0.05 * weight.grad, rtol=1e-5, atol=1e-6
            )


def test_with_the_fused_loss_alone_there_are_no_other_heads() -> None:
    learner = make("fedavg", losses="fused", weight_decay=0.1)
    result = run_job(job_of(learner))
    assert set(result.state) == set(initial(learner)) == {"trunk/audio", "trunk/visual", "fusion"}
    assert set(result.losses) == {"fusion"}
    for part, held in result.state.items():
        assert not held.weights.equal(initial(learner)[part].weights)


@pytest.mark.parametrize("losses", ["mean", "fused"])
def test_with_one_modality_the_network_is_one_as_one_would_write_it(losses: str) -> None:
    """Five inputs, MLP of 12 and 8, three classes: a step of SGD is that of the network written down in PyTorch."""
    learner = make("fedavg", **WHOLE, losses=losses, modalities=("audio",), head_hidden=None)
    net = nn.Sequential(
        *(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)),
    )
    first = initial(learner)
    flat = torch.cat([first[part].row.tensor for part in ("trunk/audio", "fusion")])
    torch.nn.utils.vector_to_parameters(flat, net.parameters())
    data, rows = tiny_dataset(), learner._clients[0].train
    F.cross_entropy(net(data.inputs["audio"][rows]), data.labels[rows]).backward()
    torch.optim.SGD(net.parameters(), lr=0.05).step()
    result = run_job(job_of(learner))
    assert set(result.state) == {"trunk/audio", "fusion"}
    after = torch.cat([result.state[part].row.tensor for part in ("trunk/audio", "fusion")])
    torch.testing.assert_close(
        after, torch.nn.utils.parameters_to_vector(net.parameters()).detach(), rtol=1e-5, atol=1e-6
    )


def test_weight_decay_shrinks() -> None:
    """One step of η = 0.05 and decay 0.5 differs from one without by −η · 0.5 · w."""
    learner = make("fedavg", **(AUDIO | WHOLE))
    start = initial(learner)["fusion"].weights
    with_decay = trained("fedavg", **(AUDIO | WHOLE | {"weight_decay": 0.5})).state["fusion"].weights
    without = trained("fedavg", **(AUDIO | WHOLE)).state["fusion"].weights
    torch.testing.assert_close(with_decay, without - 0.05 * 0.5 * start, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"local_epochs": 3}, 12),
        ({"local_epochs": 3, "last_batch": "drop"}, 9),
        ({"local_steps": 5}, 5),
        ({"batch_size": 100, "local_epochs": 2}, 2),
    ],
)
def test_steps(changes: dict[str, int], steps: int) -> None:
    """A client has 32 samples and trains on 26: 3 full batches of 8 an epoch, and one of 2; fewer than 8 are one."""
    result = trained("fednova", **{**AUDIO, **PLAIN, **changes})
    assert result.steps == result.normaliser == steps


def test_random_epochs_differ_by_device_and_round_and_are_within_bounds() -> None:
    learner = make("fednova", devices=4, epochs_range=(2, 5))
    drawn = {learner._federation.steps(k, t) // 3 for k in range(4) for t in range(1, 20)}
    assert drawn == {2, 3, 4, 5}
    other = make("fedavg", devices=4, epochs_range=(2, 5))
    assert [learner._federation.steps(1, t) for t in range(1, 9)] == [
        other._federation.steps(1, t) for t in range(1, 9)
    ], "every method does the same work"


# The proximal term.


def test_without_a_proximal_term_fedprox_is_fedavg() -> None:
    assert fingerprint(trained("fedprox", mu=0.0)) == fingerprint(trained("fedavg"))


def test_the_first_step_knows_no_proximal_term() -> None:
    one, other = (
        trained(name, local_steps=1, **mu) for name, mu in (("fedprox", {"mu": 5.0}), ("fedavg", {}))
    )
    assert fingerprint(one.state) == fingerprint(other.state)


def descend(
    mu: float, steps: int, start: float = 1.0, goal: float = 10.0, learning_rate: float = 0.1
) -> float:
    """SGD on (w − e)²/2 + μ/2 (w − w⁰)²."""
    weight, received = torch.tensor(start, requires_grad=True), torch.tensor(start)
    for _ in range(steps):
        ((weight - goal) ** 2 / 2).backward()
        pull_back([weight], [received], mu, [torch.empty(())])
        assert weight.grad is not None
        with torch.no_grad():
            weight -= learning_rate * weight.grad
        weight.grad = None
    return weight.item()


def test_fedprox_by_hand() -> None:
    """Gradient (w − 10) + 0.5 (w − 1) = 0: w = (e + μ w⁰)/(1 + μ) = 10.5/1.5 = 7."""
    assert descend(mu=0.5, steps=300) == pytest.approx(7.0, abs=1e-4)


def test_a_stronger_pull_keeps_clients_nearer() -> None:
    moved = [abs(descend(mu, steps=30) - 1.0) for mu in (0.0, 0.1, 0.5, 1.0, 5.0, 9.0)]
    assert moved == sorted(moved, reverse=True)


def test_an_infinite_pull_keeps_them_where_they_are() -> None:
    """With η = 1/μ every step returns to w⁰ but for η times one gradient."""
    changes = {**AUDIO, **PLAIN, "learning_rate": 1e-6, "mu": 1e6, "local_epochs": 5}
    learner = make("fedprox", **changes)
    assert distance(learner, run_job(job_of(learner))) < 1e-5


# Modalities that are not there.


def with_absent(rows: np.ndarray, missing: np.ndarray, **changes: Any) -> Any:
    partition = Given(Share(rows, ("audio", "visual"), {"visual": missing}))
    return make("fedavg", devices=1, partition=partition, **WHOLE, **changes)


def test_what_is_stored_in_the_place_of_an_absent_modality_is_not_looked_at() -> None:
    rows, missing = np.arange(12), np.array([1, 4, 5])
    learner = with_absent(rows, missing)
    result = run_job(job_of(learner))
    learner._federation.store.value.inputs["visual"][missing] = torch.nan
    assert fingerprint(run_job(job_of(learner))) == fingerprint(result)
    assert result.finite


def test_flops_are_those_of_what_is_there() -> None:
    """A quarter of the images is missing: three quarters of the image network's FLOPs, all of the others'."""
    some, full = (
        job_workload(with_absent(np.arange(12), missing))
        for missing in (np.array([1, 4, 5]), np.array([], int))
    )
    assert some["visual"] == pytest.approx(0.75 * full["visual"])
    assert (some["audio"], some["fusion"]) == (full["audio"], full["fusion"])


def job_workload(learner: Any) -> Any:
    return Play(learner).begin([0]).costs[0].flops


# Measurements.


def test_measuring_changes_nothing_in_the_training() -> None:
    job = job_of(make("mgb"))
    assert job.inputs["plan"].measured == 0.4
    blind = replace(job.inputs["plan"], measured=None)
    measured, unmeasured = run_job(job), job.function(**{**job.inputs, "plan": blind})
    assert fingerprint(measured.state) == fingerprint(unmeasured.state)
    assert set(measured.before) == {"audio", "visual", "fusion"} and not unmeasured.before


def test_losses_are_measured_on_all_held_out_samples_where_the_share_is_one() -> None:
    learner = make("fedhgb", **{**EARS, "measured_share": 1.0})
    result = run_job(job_of(learner))
    net = learner._federation.restricted(("audio",)).value.build().eval()
    for name, module in net.parts().items():
        module.load_state_dict(dict(result.state[name]))
    data, client = tiny_dataset(), learner._clients[0]
    for rows, measured in ((client.train, "train"), (client.validation, "validation")):
        outputs = net({"audio": data.inputs["audio"][rows]}, len(rows))
        for head, logits in (("audio", outputs.heads["audio"]), ("fusion", outputs.fused)):
            expected = F.cross_entropy(logits, data.labels[rows]).item()
            assert getattr(result.after[head], measured) == pytest.approx(expected, rel=1e-5)


def test_without_a_step_nothing_is_generalised() -> None:
    learner = make("fedhgb", **{**AUDIO, "learning_rate": 0.0})
    result = run_job(job_of(learner))
    assert result.before == result.after and distance(learner, result) == 0.0


def test_a_client_with_a_single_sample_measures_nothing() -> None:
    play = Play(make("fedhgb", partition=Deal(rows={0: 1})))
    (turn,) = play.play(1)
    result = play.results(turn)[0]
    assert not result.before and result.finite
    assert set(play.model().memory) == {1, 2}  # so it has no say on z


def test_divergence_is_reported() -> None:
    result = trained("fedavg", **{**AUDIO, "learning_rate": 1e12, "local_epochs": 4}, on_nan="drop")
    assert not result.finite
