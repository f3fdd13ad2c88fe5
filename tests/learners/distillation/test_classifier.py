"""Networks with heads as devices have them, their first weights, and the generator of FedZKT."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from distilling import CNN, MLP, RESNET, make
from torch import nn
from torch.nn import functional as F

from learners.checks import fingerprint
from learners.networks.choice import NetworkChoice
from learners.networks.state import lend, take
from learners.training.distillation.classifier import (
    Classifier,
    classifiers,
    running_statistics_kept,
)
from learners.training.distillation.costs import network_costs
from learners.training.distillation.evaluation import Evaluated
from learners.training.distillation.per_device import glorot
from learners.training.distillation.zkt_generator import GeneratorShape
from netsim.core.errors import ScenarioError
from netsim.scenario.model import Costs, StatedCosts

IMAGE = (1, 8, 8)


def classifier(network: Any, heads: tuple[int, ...] = (3,), embedding_size: int | None = None) -> Classifier:
    return Classifier(NetworkChoice.model_validate(network), IMAGE, heads, embedding_size)


@pytest.fixture
def resnet() -> Classifier:
    return classifier(RESNET)


@pytest.mark.parametrize(("embedding_size", "width"), [(None, 6), (2, 2)])
def test_heads_see_the_same_features_and_the_embedding_may_have_a_width_of_its_own(
    embedding_size: int | None, width: int
) -> None:
    net = classifier(MLP, (3, 5), embedding_size).build()
    x = torch.randn(4, *IMAGE)
    found = net(x)
    assert found.embedding.shape == (4, width)
    assert [one.shape for one in found.logits] == [(4, 3), (4, 5)]
    torch.testing.assert_close(found.logits[1], net.heads[1](net.trunk(x)))
    assert list(net.parts()) == ["trunk", "heads.0", "heads.1", *(["embedding"] if embedding_size else [])]


def test_a_teacher_is_left_as_it_was(resnet: Classifier) -> None:
    """What it says is what its own network says in evaluation mode; a student at work beside it notices nothing."""
    own = resnet.build()
    own.train()
    own(torch.randn(16, *IMAGE))
    state = take(own.parts())
    student = resnet.net()
    lent = lend(student.parts(), take(resnet.build().parts()))
    student.train()
    before = fingerprint(state), fingerprint([one.part() for one in lent.values()]), torch.get_rng_state()
    x = torch.randn(5, *IMAGE, generator=torch.Generator().manual_seed(1)).requires_grad_()
    logits = resnet.predict(state, x).logits[0]
    logits.square().sum().backward()
    assert before[:2] == (fingerprint(state), fingerprint([one.part() for one in lent.values()]))
    assert torch.equal(torch.get_rng_state(), before[2])
    assert student.training and all(weight.grad is None for weight in student.parameters())
    assert x.grad is not None and x.grad.abs().sum() > 0
    torch.testing.assert_close(logits, own.eval()(x).logits[0])
    alone = torch.cat([resnet.predict(state, one).logits[0] for one in x.split(1)])
    torch.testing.assert_close(logits, alone)


def test_running_statistics_are_kept_and_the_batch_s_are_used(resnet: Classifier) -> None:
    net, x = resnet.build().train(), torch.randn(6, *IMAGE)
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    with running_statistics_kept(net):
        kept = net(x).logits[0]
    assert all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())
    torch.testing.assert_close(net(x).logits[0], kept)
    assert not any(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())
    with pytest.raises(RuntimeError, match="on the way"), running_statistics_kept(net):
        raise RuntimeError("on the way")
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net(x)
    assert not any(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())


def test_a_batch_of_one_sample_can_be_learnt_from(resnet: Classifier) -> None:
    """A stage of one cell per channel has no statistics of one sample; PyTorch's own layer raises."""
    net = classifier({"name": "small_resnet", "widths": [4], "stem_kernel": 8, "stem_stride": 8}).build()
    F.cross_entropy(net(torch.randn(1, *IMAGE)).logits[0], torch.tensor([1])).backward()
    assert all(weight.grad is not None for weight in net.parameters())


def test_glorot_draws_within_its_bounds_and_leaves_batchnorm_alone(resnet: Classifier) -> None:
    net = resnet.build()
    net.apply(glorot)
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            cells = module.weight[0, 0].numel()
            bound = (6 / (cells * (module.weight.shape[0] + module.weight.shape[1]))) ** 0.5
            assert 0.7 * bound < module.weight.abs().max() <= bound
            assert module.bias is None or not module.bias.any()
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and not module.bias.any()


def test_first_weights_are_the_architecture_s_and_the_seed_s() -> None:
    first, again, other = (make("fedmd", seed=seed)._devices for seed in (0, 0, 1))
    assert fingerprint(first.initial(0)) == fingerprint(first.initial(2)) == fingerprint(again.initial(0))
    assert fingerprint(first.initial(0)["heads.0"]) != fingerprint(first.initial(1)["heads.0"])
    assert fingerprint(first.initial(0)) != fingerprint(other.initial(0))
    assert first.initial(0)["trunk"].row.bank.dtype == torch.float32
    assert make("fedmd", precision="float64")._devices.initial(0)["trunk"].row.bank.dtype == torch.float64


def test_building_draws_no_number_of_anybody_else_s() -> None:
    before = torch.get_rng_state()
    make("fedzkt", generator_channels=(3, 3), noise_size=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_that_cannot_take_the_input_is_named_with_its_device() -> None:
    choices = {
        k: NetworkChoice.model_validate(one) for k, one in enumerate((MLP, {**CNN, "channels": [2] * 4}))
    }
    with pytest.raises(ScenarioError, match=r"learner\.networks: device 1: cnn: .* at least 16"):
        classifiers(choices, IMAGE, (3,))


def test_costs_by_hand() -> None:
    """64 → 6 → heads of 3 and 2: 64·6 + 6·5 multiply-accumulates; 64·6 + 6 + 6·5 + 5 numbers."""
    found = network_costs(classifier(MLP, (3, 2)), torch.zeros(2, *IMAGE), Costs(bits_per_parameter=8))
    assert (found.forward, found.passes) == (2 * 414, (2 * 414, 2 * (64 * 6 + 2 * 6 * 5)))
    assert found.step() == 2 * (414 + 64 * 6 + 2 * 6 * 3), "a loss about the first head alone"
    assert (found.weights, found.numbers, found.bits) == (425, 425, 8 * 425)
    stated = Costs(stated=StatedCosts.model_construct())
    with pytest.raises(ScenarioError, match=r"costs\.stated: with this learner networks differ"):
        network_costs(classifier(MLP), torch.zeros(2, *IMAGE), stated)


def test_accuracy_of_all_samples_and_of_classes_as_they_are_weighted() -> None:
    evaluated = Evaluated(0.0, ((3, 0, 1), (0, 0, 0)), (4, 0, 2))
    assert evaluated.accuracy() == pytest.approx(4 / 6) and evaluated.accuracy(1) == 0
    assert evaluated.weighted_accuracy([1, 1, 1]) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert evaluated.weighted_accuracy([0.2, 0.5, 0.3]) == pytest.approx((0.2 * 3 / 4 + 0.3 / 2) / 0.5)
    assert evaluated.weighted_accuracy([0, 1, 0]) == 0.0


@pytest.mark.parametrize("size", [14, 28, 32, 7])
@pytest.mark.parametrize("colours", [1, 3])
def test_made_up_images_have_the_data_s_shape_and_are_standardised(size: int, colours: int) -> None:
    generator = GeneratorShape(5, (4, 3), (colours, size, size)).build()
    images = generator(torch.randn(8, 5))
    assert images.shape == (8, colours, size, size)
    flat = images.transpose(0, 1).flatten(1)
    torch.testing.assert_close(flat.mean(1), torch.zeros(colours), atol=1e-5, rtol=0)
    torch.testing.assert_close(flat.var(1, unbiased=False), torch.ones(colours), atol=1e-2, rtol=0)
    assert images.requires_grad and not torch.equal(images[0], images[1])
