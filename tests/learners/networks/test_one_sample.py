"""A batch of one sample: BatchNorm leaves its statistics alone, and nothing else is put to sleep."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_task import Deal, make_learner, play_of, play_round, run_job
from torch import nn
from torch.nn import functional as F

from learners.networks.choice import NetworkChoice
from learners.networks.network import Trunk
from learners.networks.one_sample import takes_one_sample


class WithDropout(Trunk):
    """A layer, BatchNorm, dropout."""

    def __init__(self, **norm: Any) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(5, 64), nn.BatchNorm1d(64, **norm)
        self.dropout = nn.Dropout(0.5)
        self.feature_count = 64

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.dropout(self.norm(self.layer(x)))
        return features


def moved(net: WithDropout) -> WithDropout:
    """``net`` in training mode, with statistics and weights that are not the first ones."""
    with torch.no_grad():
        net.norm.weight.uniform_(0.5, 2)
        net.norm.bias.uniform_(-1, 1)
        if net.norm.running_mean is not None:
            net.norm.running_mean.uniform_(-1, 1)
            net.norm.running_var.uniform_(0.5, 2)
    return net.train()


def test_one_sample_is_normalised_by_running_statistics_and_dropout_stays_awake() -> None:
    """Each feature is γ (w·x + b − μ)/√(σ² + ε) + β twice as large, or zero: half of 64, give or take 6 deviations."""
    net, x = takes_one_sample(moved(WithDropout())), torch.randn(1, 5)
    before = {name: value.clone() for name, value in net.norm.named_buffers()}
    norm = net.norm
    scale = norm.weight / (norm.running_var + 1e-5).sqrt()
    expected = 2 * (scale * (net.layer(x) - norm.running_mean) + norm.bias)
    found = net(x)
    kept = found != 0
    assert 8 < int(kept.sum()) < 56
    torch.testing.assert_close(found[kept], expected[kept])
    assert all(value.equal(before[name]) for name, value in norm.named_buffers())
    assert norm.training and net.training
    found.sum().backward()
    assert all(weight.grad is not None for weight in net.parameters())


def test_without_running_statistics_a_single_value_becomes_the_bias() -> None:
    net = takes_one_sample(moved(WithDropout(track_running_stats=False)))
    for training in (True, False):
        net.train(training)
        net.dropout.eval()
        torch.testing.assert_close(net(torch.randn(1, 5)), net.norm.bias[None], atol=1e-3, rtol=0)


@pytest.mark.parametrize("statistics", [True, False])
def test_more_samples_are_taken_as_ever(statistics: bool) -> None:
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(3, track_running_stats=statistics)
    guarded = takes_one_sample(nn.BatchNorm2d(3, track_running_stats=statistics))
    for _ in range(2):
        x = torch.randn(2, 3, 4, 4)
        assert torch.equal(plain(x), guarded(x))
    for name, value in plain.named_buffers():
        assert torch.equal(value, dict(guarded.named_buffers())[name])


def test_one_image_without_running_statistics_is_normalised_with_its_own() -> None:
    guarded, x = takes_one_sample(nn.BatchNorm2d(3, track_running_stats=False)), torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(guarded(x), F.batch_norm(x, None, None, training=True))


@pytest.mark.parametrize(
    ("name", "shape"), [("resnet18", (1, 28, 28)), ("small_resnet", (1, 8, 8)), ("mobilenet_v2", (3, 32, 32))]
)
def test_shipped_networks_take_one_sample_alone_and_stacked(name: str, shape: tuple[int, ...]) -> None:
    """The last stage of ResNet-18 on 28 × 28 has one value per channel; two networks at once agree with each alone."""
    trunk = NetworkChoice(name=name).build(shape).train()
    state = {key: value.clone() for key, value in trunk.state_dict().items()}
    x = torch.randn(2, 1, *shape)
    alone = torch.stack([trunk(one) for one in x])
    stacked = {key: torch.stack([value, value]) for key, value in state.items()}
    together = trunk.stacked(stacked, x)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    for key, value in trunk.state_dict().items():
        assert value.equal(state[key]) and stacked[key][0].equal(state[key])


@pytest.mark.parametrize("name", ["dmml", "dmml_kd", "isolated", "centralized"])
def test_devices_with_one_sample_each_learn(name: str) -> None:
    """Alone and stacked; ``visual`` is a ResNet of one value per channel at its end."""
    networks = {
        "audio": {"name": "mlp", "hidden": [8]},
        "visual": {"name": "small_resnet", "widths": [8], "stem_kernel": 8, "stem_stride": 8},
    }
    learner = make_learner(name, partition=Deal(rows=1), networks=networks)
    metrics = play_round(learner, 1)
    assert all(torch.isfinite(torch.tensor(list(own.values()))).all() for own in metrics.values())
    jobs = [job for k in range(4) if (job := play_of(learner).job(k, 2))]
    stacked = jobs[0].stack.function([job.inputs for job in jobs])
    for one, job in zip(stacked, jobs, strict=True):
        alone = run_job(job)
        assert one.losses == pytest.approx(alone.losses, rel=1e-3)
        for part, held in alone.state.items():
            torch.testing.assert_close(one.state[part].row.tensor, held.row.tensor, rtol=1e-3, atol=1e-4)
