"""The engine that runs one device's update for many: steps, masks, optimizers and means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from learners.networks.mlp import MLPTrunk
from learners.networks.network import Trunk
from learners.networks.one_sample import takes_one_sample
from learners.networks.state import State, take
from learners.training.batched import Alone, Means, Together, steps_together
from learners.training.objectives import cross_entropy
from learners.training.optimizers import Rows, Rule
from learners.training.stackable import mixes_samples

# Steps.


def test_the_nth_batch_is_taken_with_the_nth_of_the_others() -> None:
    first, second, third = steps_together([[4, 4, 2], [4, 1], [3]])
    assert (first.devices, first.counts, first.starts) == (slice(0, 3), (4, 4, 3), (0, 0, 0))
    assert (second.devices, second.counts, second.starts) == (slice(0, 2), (4, 1), (4, 4))
    assert (third.devices, third.counts, third.starts) == (slice(0, 1), (2,), (8,))
    assert first.real is not None
    assert first.real.tolist() == [[True] * 4, [True] * 4, [True, True, True, False]]
    assert third.real is None


def test_what_must_not_be_padded_is_taken_with_its_like() -> None:
    sizes = [[4, 2], [4, 4], [4, 2]]
    both, outer, middle = steps_together(sizes, sizes)
    assert both.devices == slice(0, 3) and both.counts == (4, 4, 4)
    assert isinstance(outer.devices, Tensor) and outer.devices.tolist() == [0, 2] and outer.counts == (2, 2)
    assert middle.devices == slice(1, 2) and middle.counts == (4,)
    assert [both.kind, outer.kind, middle.kind] == [4, 2, 4]


def test_each_device_cuts_its_own_samples() -> None:
    seen = torch.arange(18).view(3, 6)
    _, last = steps_together([[4, 2], [2, 2], [3, 1]])
    cut = last.cut(seen)
    assert cut[0].tolist() == [4, 5] and cut[1].tolist() == [8, 9] and cut[2, 0] == 15
    vectors = torch.stack([seen, -seen], dim=2)
    assert torch.equal(last.cut(vectors), torch.stack([cut, -cut], dim=2))


# Losses and means.


def test_padding_counts_for_nothing_in_a_mean() -> None:
    logits, labels = torch.randn(2, 3, 4), torch.tensor([[0, 1, 2], [3, 3, 3]])
    found = cross_entropy(logits, labels, torch.tensor([[True, True, True], [True, False, False]]))
    expected = [F.cross_entropy(logits[0], labels[0]), F.cross_entropy(logits[1, :1], labels[1, :1])]
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_cross_entropy_of_several_devices_is_that_of_each(reduction: str) -> None:
    logits, labels = torch.randn(2, 5, 4), torch.tensor([[0, 1, 2, 3, 0], [3, 3, 3, 1, 2]])
    found = cross_entropy(logits, labels, summed=reduction == "sum")
    for k in range(2):
        expected = F.cross_entropy(logits[k], labels[k], reduction=reduction)
        torch.testing.assert_close(found[k], expected)
        torch.testing.assert_close(cross_entropy(logits[k], labels[k], summed=reduction == "sum"), expected)


def test_a_mean_is_over_the_steps_that_a_device_had() -> None:
    means = Means(3)
    means.add("loss", torch.tensor([1.0, 2.0, 3.0]), slice(0, 3))
    means.add("loss", torch.tensor([5.0, 9.0]), torch.tensor([0, 2]), torch.tensor([True, False]))
    means.add("late", torch.tensor([7.0]), slice(1, 2))
    assert means.by_device() == [{"loss": 3.0}, {"loss": 2.0, "late": 7.0}, {"loss": 3.0}]


# Optimizers.


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("proximal", [0.0, 0.5])
@pytest.mark.parametrize("copied", [False, True])
def test_rows_step_as_torch_does(momentum: float, weight_decay: float, proximal: float, copied: bool) -> None:
    """Row 1 sits every other step out; of row 0 and 1 the last weight never has a gradient."""
    torch.manual_seed(0)
    start, gradients = torch.randn(2, 5).double(), torch.randn(6, 2, 5).double()
    weights = start.clone()
    rule = Rule("sgd", 0.1, momentum, weight_decay, proximal)
    rows = Rows(rule, weights, [None, None])
    devices: Any = torch.tensor([0, 1]) if copied else slice(0, 2)
    for n, gradient in enumerate(gradients):
        taking = torch.tensor([True, n % 2 == 0])
        moving = torch.where(taking[:, None], gradient, 0.0)[:, :4]
        pulled = rows.pulled_back(
            [(slice(0, 1), moving[:, :1]), (slice(1, 4), moving[:, 1:])], taking, devices
        )
        rows.take_step(pulled, taking, devices)
    for k in range(2):
        own, idle = nn.Parameter(start[k, :4].clone()), nn.Parameter(start[k, 4:].clone())
        optimizer = torch.optim.SGD([own, idle], 0.1, momentum, weight_decay=weight_decay)
        for n, gradient in enumerate(gradients):
            if k == 1 and n % 2:
                continue
            own.grad = gradient[k, :4] + proximal * (own.detach() - start[k, :4])
            optimizer.step()
        torch.testing.assert_close(weights[k], torch.cat([own, idle]).detach(), rtol=1e-12, atol=1e-14)


# Whole devices.


class Line(nn.Module):
    """A network of one part. A bias before BatchNorm has a gradient of rounding alone, which Adam makes a step of."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = takes_one_sample(
            nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 1))
        ).double()

    def parts(self) -> dict[str, nn.Module]:
        return {"layer": self.layer}

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[:, 0]

    def stacked(self, tensors: Mapping[str, Mapping[str, Tensor]], x: Tensor) -> Tensor:
        return AsTrunk(self.layer).stacked({f"layer.{n}": t for n, t in tensors["layer"].items()}, x)[..., 0]


class AsTrunk(Trunk):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)
        return found


def squares(way: Any, data: Any, steps: Any) -> list[dict[str, Any]]:
    """Least squares, as a learner would write it: once, for one device or several."""
    means = Means(way.count)
    way.net.train()
    for n, devices in enumerate(steps):
        x, y = data
        x, y = (x[n], y[n]) if way.count == 1 else (x[devices, n], y[devices, n])
        loss = (way.forward(devices, x) - y).square().mean(-1)
        way.step(loss, {})
        means.add("loss", loss, devices)
    return [{**state, **own} for state, own in zip(way.states(), means.by_device(), strict=True)]


@pytest.mark.parametrize("rule", [Rule("sgd", 0.1, 0.9, 0.01, 0.2), Rule("adam", 0.01)])
def test_an_update_for_one_device_is_one_for_many(rule: Rule) -> None:
    """Also where some sit steps out: neither weights nor BatchNorm's statistics nor memories move there."""
    torch.manual_seed(0)
    nets = [Line() for _ in range(3)]
    states: list[State] = [take(net.parts(), torch.float64) for net in nets]
    x, y = torch.randn(3, 4, 5, 3).double(), torch.randn(3, 4, 5).double()
    taking: list[Any] = [slice(0, 3), torch.tensor([0, 2]), slice(0, 1), slice(1, 3)]
    found = squares(Together(nets[0], states, rule), (x, y), taking)
    for k, state in enumerate(states):
        own = [n for n, devices in enumerate(taking) if k in torch.arange(3)[devices]]
        (expected,) = squares(Alone(nets[1], state, rule), (x[k, own], y[k, own]), [slice(0, 1)] * len(own))
        torch.testing.assert_close(
            found[k]["layer"].row.tensor, expected["layer"].row.tensor, rtol=1e-10, atol=1e-12
        )
        assert found[k]["layer"]["1.num_batches_tracked"] == len(own)
        assert math.isclose(found[k]["loss"], expected["loss"], rel_tol=1e-10)


class Centred(Trunk):
    """Features without the mean of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


@pytest.mark.parametrize(
    ("trunk", "training", "mixed"),
    [
        (MLPTrunk(3, [4]), True, False),
        (AsTrunk(nn.BatchNorm1d(3)), True, True),
        (AsTrunk(nn.BatchNorm1d(3)), False, False),
        (AsTrunk(nn.BatchNorm1d(3, track_running_stats=False)), False, True),
        (Centred(), False, True),
    ],
)
def test_samples_that_meet_in_a_network_are_noticed(trunk: Trunk, training: bool, mixed: bool) -> None:
    trunk.train(training)
    before = take({"trunk": trunk})["trunk"]
    kept = before.row.tensor.clone()
    assert mixes_samples(trunk, before, torch.randn(8, 3)) is mixed
    assert before.row.tensor.equal(kept)
