"""Networks for images: their sizes by hand and as published, their features, gradients, and many of them at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from pydantic import ValidationError
from torch import nn
from torch.func import stack_module_state

from learners.networks.choice import NetworkChoice
from learners.networks.cnn import CNN
from learners.networks.lenet import LeNet
from learners.networks.mobile import MobileNetV2, ShuffleNetV2
from learners.networks.network import Trunk
from learners.networks.resnet import ResNet18, ResNet34
from learners.training.costs import forward_macs
from netsim.core.errors import ScenarioError
from netsim.core.registry import load

DEEP_LENET = {"name": "lenet", "channels": [6, 16, 32]}
CHAINS: list[dict[str, Any]] = [
    {"name": "cnn"},
    {"name": "cnn", "channels": [4, 6, 8], "hidden": 10},
    {"name": "lenet"},
    {"name": "lenet", "channels": [10, 20], "hidden": [50]},
    {"name": "lenet", "channels": [6], "hidden": [30, 20, 10]},
    DEEP_LENET,
    {"name": "lenet", "channels": [4, 6, 8, 10, 12]},
]
NORMALISED: list[dict[str, Any]] = [
    {"name": "resnet18", "stem": "small"},
    {"name": "resnet18"},
    {"name": "resnet34", "stem": "small"},
    {"name": "shufflenet_v2"},
    {"name": "shufflenet_v2", "size": 0.5, "stem": "imagenet"},
    {"name": "mobilenet_v2"},
    {"name": "mobilenet_v2", "width": 0.5, "stem": "imagenet"},
]


def name_of(choice: dict[str, Any]) -> str:
    return "-".join(str(value) for value in choice.values())


def make(choice: dict[str, Any], shape: tuple[int, ...]) -> Trunk:
    return NetworkChoice.model_validate(choice).build(shape)


def weights_of(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 14, 14), (2, 15, 21)], ids=str)
@pytest.mark.parametrize("choice", CHAINS + NORMALISED, ids=name_of)
def test_features_are_non_negative_and_as_many_as_said(
    choice: dict[str, Any], shape: tuple[int, ...]
) -> None:
    trunk = make(choice, shape).eval()
    with torch.no_grad():
        features = trunk(torch.randn(2, *shape))
    assert features.shape == (2, trunk.feature_count)
    assert (features >= 0).all() and (features > 0).any()


@pytest.mark.parametrize(
    ("shape", "weights"),
    [((1, 28, 28), 420_352), ((3, 32, 32), 543_808), ((1, 14, 14), 92_672)],
    ids=str,
)
def test_cnn_counts(shape: tuple[int, ...], weights: int) -> None:
    """9 · 32 + 32 = 320, 9 · 32 · 64 + 64 = 18,496, and 7² · 64 · 128 + 128 = 401,536 weights at 1 × 28 × 28.

    At 3 × 32 × 32 they are 896, 18,496 and 8² · 64 · 128 + 128 = 524,416; at 1 × 14 × 14, with 3 × 3 cells left,
    320, 18,496 and 73,856. MACs at 1 × 28 × 28: 28² · 9 · 32 + 14² · 9 · 32 · 64 + 7² · 64 · 128.
    """
    trunk = make({"name": "cnn"}, shape)
    assert weights_of(trunk) == weights
    assert trunk.feature_count == 128
    if shape == (1, 28, 28):
        assert forward_macs(trunk, shape) == 225_792 + 3_612_672 + 401_408


@pytest.mark.parametrize(
    ("choice", "shape", "weights"),
    [
        (DEEP_LENET, (1, 28, 28), 156 + 2_416 + 4_640 + 15_480 + 10_164),
        (DEEP_LENET, (3, 32, 32), 456 + 2_416 + 4_640 + 15_480 + 10_164),
        (DEEP_LENET, (1, 14, 14), 156 + 2_416 + 4_640 + 3_960 + 10_164),
        ({"name": "lenet"}, (1, 14, 14), 156 + 2_416 + 2_040 + 10_164),
        ({"name": "lenet", "channels": [10, 20], "hidden": [50]}, (1, 28, 28), 260 + 5_020 + 25_050),
        ({"name": "lenet", "channels": [6], "hidden": [84]}, (1, 28, 28), 156 + 98_868),
    ],
)
def test_counts_of_lenets_of_other_sizes(
    choice: dict[str, Any], shape: tuple[int, ...], weights: int
) -> None:
    """The third convolution has 9 · 16 · 32 + 32 = 4,640 weights; the other parts are as follows.

    After it 28 × 28 and 32 × 32 are pooled from 5 × 5 to 2 × 2 cells: 4 · 32 · 120 + 120 = 15,480. Of 14 × 14 one
    cell is left, which is not pooled: 32 · 120 + 120 = 3,960 with it and 16 · 120 + 120 = 2,040 without. Of 10 and 20
    channels: 25 · 10 + 10, 25 · 10 · 20 + 20 and 25 · 20 · 50 + 50. Of 6 channels alone: 14² · 6 · 84 + 84 = 98,868.
    """
    assert weights_of(make(choice, shape)) == weights


def test_the_lenet_without_options_is_the_one_it_was() -> None:
    """Names, shapes, and the weights that PyTorch draws for layers made in this order."""
    torch.manual_seed(3)
    layers = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
    )  # fmt: skip
    torch.manual_seed(3)
    trunk = make({"name": "lenet"}, (1, 28, 28))
    assert_same_tensors(trunk.layers, layers)  # type: ignore[arg-type]
    x = torch.randn(2, 1, 28, 28)
    assert torch.equal(trunk(x), layers(x))


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_resnets_without_options_are_torchvisions(name: str) -> None:
    """With one channel the first convolution is drawn anew, after all else."""
    for channels in (3, 1):
        torch.manual_seed(3)
        net = getattr(torchvision.models, name)(weights=None)
        net.fc = nn.Identity()
        if channels == 1:
            net.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
        torch.manual_seed(3)
        trunk = make({"name": name}, (channels, 33, 40))
        assert_same_tensors(trunk.net, net)  # type: ignore[arg-type]
        x = torch.randn(2, channels, 33, 40)
        assert torch.equal(trunk.eval()(x), net.eval()(x))


def assert_same_tensors(ours: nn.Module, theirs: nn.Module) -> None:
    expected = theirs.state_dict()
    assert list(ours.state_dict()) == list(expected)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(
    ("choice", "published", "features"),
    [
        ({"name": "resnet18"}, 11_689_512, 512),
        ({"name": "resnet34"}, 21_797_672, 512),
        ({"name": "shufflenet_v2", "size": 0.5, "stem": "imagenet"}, 1_366_792, 1024),
        ({"name": "shufflenet_v2", "stem": "imagenet"}, 2_278_604, 1024),
        ({"name": "shufflenet_v2", "size": 1.5, "stem": "imagenet"}, 3_503_624, 1024),
        ({"name": "shufflenet_v2", "size": 2, "stem": "imagenet"}, 7_393_996, 2048),
        ({"name": "mobilenet_v2", "stem": "imagenet"}, 3_504_872, 1280),
    ],
    ids=str,
)
def test_networks_are_as_large_as_published(choice: dict[str, Any], published: int, features: int) -> None:
    """By torchvision, whose last layer tells 1,000 classes apart."""
    trunk = make(choice, (3, 64, 64))
    assert trunk.feature_count == features
    assert weights_of(trunk) == published - (features * 1000 + 1000)
    one_channel = make(choice, (1, 64, 64))
    first = next(weight for weight in trunk.parameters())
    assert weights_of(trunk) - weights_of(one_channel) == first.numel() * 2 // 3


@pytest.mark.parametrize("width", [0.25, 0.5, 1.4])
def test_a_mobilenets_width_is_torchvisions(width: float) -> None:
    """Rounded to multiples of 8, and not below 1,280 features."""
    net = torchvision.models.mobilenet_v2(weights=None, width_mult=width)
    trunk = make({"name": "mobilenet_v2", "width": width, "stem": "imagenet"}, (3, 32, 32))
    assert weights_of(trunk) == weights_of(net.features)
    assert trunk.feature_count == net.last_channel == max(1280, 1280 * width)


@pytest.mark.parametrize(
    ("choice", "seed_of"),
    [
        ({"name": "shufflenet_v2", "stem": "imagenet"}, torchvision.models.shufflenet_v2_x1_0),
        ({"name": "mobilenet_v2", "stem": "imagenet"}, torchvision.models.mobilenet_v2),
    ],
    ids=["shufflenet_v2", "mobilenet_v2"],
)
def test_mobile_networks_with_the_published_stem_are_torchvisions(
    choice: dict[str, Any], seed_of: Any
) -> None:
    torch.manual_seed(3)
    net = seed_of(weights=None).eval()
    for last in ("fc", "classifier"):
        if hasattr(net, last):
            setattr(net, last, nn.Identity())
    torch.manual_seed(3)
    trunk = make(choice, (3, 70, 64)).eval()
    x = torch.randn(2, 3, 70, 64)
    with torch.no_grad():
        torch.testing.assert_close(trunk(x), net(x))


def test_a_small_stem_keeps_small_images_large() -> None:
    """ResNet-18 at 3 × 32 × 32: 27 · 64 · 32² MACs in the first layer and 4 · 9 · 64² · 32² in the first stage.

    Each further stage has, at a quarter of the cells, 9 · C · 2C, three of 9 · 4C² and a shortcut of 2C²: 134,217,728.
    The other networks keep 4² times the cells, so all but a first layer of less than a tenth cost 16 times as much.
    """
    small = make({"name": "resnet18", "stem": "small"}, (3, 32, 32))
    assert forward_macs(small, (3, 32, 32)) == 1_769_472 + 150_994_944 + 3 * 134_217_728
    assert weights_of(small) == 11_689_512 - 513_000 - 49 * 3 * 64 + 9 * 3 * 64
    shuffle = [
        forward_macs(make({"name": "shufflenet_v2", "stem": s}, (3, 64, 64)), (3, 64, 64))
        for s in ("small", "imagenet")
    ]
    assert 14 < shuffle[0] / shuffle[1] < 16
    for name in ("shufflenet_v2", "mobilenet_v2"):
        assert weights_of(make({"name": name}, (3, 32, 32))) == weights_of(
            make({"name": name, "stem": "imagenet"}, (3, 32, 32))
        )


@pytest.mark.parametrize("choice", CHAINS + NORMALISED, ids=name_of)
def test_networks_stacked_are_each_of_them(choice: dict[str, Any]) -> None:
    """Features, gradients and running statistics, in double precision; statistics lie apart, as in a bank."""
    shape = (2, 14, 15) if choice in CHAINS else (1, 12, 13) if choice.get("stem") == "small" else (1, 32, 33)
    batch = 3 if choice in CHAINS else 8  # BatchNorm over a handful of numbers blows rounding up
    singles = [make(choice, shape).double() for _ in range(2)]
    weights, statistics = stack_module_state(singles)  # type: ignore[arg-type]
    statistics = {name: torch.stack([tensor, tensor], 1)[:, 0] for name, tensor in statistics.items()}
    x = torch.randn(2, batch, *shape, dtype=torch.float64)
    together = make(choice, shape).double().stacked({**weights, **statistics}, x)
    alone = torch.stack([single(images) for single, images in zip(singles, x, strict=True)])
    assert distance(together, alone) < 1e-12
    together.square().sum().backward()
    alone.square().sum().backward()
    for k, single in enumerate(singles):
        for name, weight in single.named_parameters():
            assert weight.grad is not None
            # A sum of which BatchNorm takes the mean away may have a gradient that is all rounding.
            error = torch.linalg.vector_norm(weights[name].grad[k] - weight.grad)
            assert error < 1e-9 * max(1.0, float(torch.linalg.vector_norm(weight.grad))), name
        for name, buffer in single.named_buffers():
            assert distance(statistics[name][k].double(), buffer.double()) < 1e-12, name


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """‖one − other‖ relative to ‖other‖."""
    one, other = one.detach(), other.detach()
    return float(torch.linalg.vector_norm(one - other) / torch.linalg.vector_norm(other).clamp(min=1e-30))


@pytest.mark.parametrize("choice", CHAINS + NORMALISED, ids=name_of)
def test_gradients_flow_through_a_frozen_network_to_its_inputs(choice: dict[str, Any]) -> None:
    """What trains a generator of images: nothing of the network changes, and no image is without a gradient."""
    trunk = make(choice, (1, 28, 28)).eval().requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    x = torch.randn(4, 1, 28, 28, requires_grad=True)
    trunk(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert (x.grad.flatten(1).abs().sum(1) > 0).all()
    for name, tensor in trunk.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    ("choice", "where"),
    [
        ({"name": "cnn", "channels": []}, "channels"),
        ({"name": "cnn", "hidden": 0}, "hidden"),
        ({"name": "lenet", "channels": [6, 0]}, "channels"),
        ({"name": "lenet", "hidden": []}, "hidden"),
        ({"name": "resnet18", "stem": "tiny"}, "'imagenet' or 'small'"),
        ({"name": "resnet34", "widths": [8]}, "widths"),
        ({"name": "shufflenet_v2", "size": 0.7}, r"must be one of 0.5, 1.0, 1.5, 2.0"),
        ({"name": "shufflenet_v2", "width": 1.0}, "width"),
        ({"name": "mobilenet_v2", "width": 0.0}, "width"),
        ({"name": "mobilenet_v2", "stem": "tiny"}, "'small' or 'imagenet'"),
    ],
    ids=str,
)
def test_options_are_checked(choice: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError, match=where):
        NetworkChoice.model_validate(choice)


@pytest.mark.parametrize(
    ("choice", "shape", "where"),
    [
        ({"name": "cnn"}, (1, 3, 28), r"cnn: .*at least 4, .*\(got 3×28\); name fewer channels"),
        ({"name": "lenet"}, (1, 28, 11), r"at least 12 with 2 channels \(got 28×11\); use .*'cnn'"),
        ({"name": "lenet", "channels": [6]}, (1, 1, 9), r"at least 2 with 1 channels"),
        ({"name": "cnn"}, (57,), r"cnn takes inputs of shape .*use the network 'mlp'"),
        ({"name": "resnet34"}, (57,), r"a ResNet takes inputs of shape"),
        ({"name": "shufflenet_v2"}, (3, 4, 32, 32), r"shufflenet_v2 takes inputs of shape"),
        ({"name": "mobilenet_v2"}, (57,), r"mobilenet_v2 takes inputs of shape"),
    ],
    ids=str,
)
def test_images_that_do_not_fit_say_so(choice: dict[str, Any], shape: tuple[int, ...], where: str) -> None:
    with pytest.raises(ScenarioError, match=where):
        make(choice, shape)


@pytest.mark.parametrize(
    ("choice", "shape"),
    [({"name": "cnn"}, (1, 4, 5)), ({"name": "lenet"}, (1, 12, 12)), (DEEP_LENET, (2, 12, 40)),
     ({"name": "lenet", "channels": [6]}, (1, 2, 3))],
    ids=str,
)  # fmt: skip
def test_the_smallest_images_that_fit_are_taken(choice: dict[str, Any], shape: tuple[int, ...]) -> None:
    trunk = make(choice, shape)
    assert trunk(torch.zeros(2, *shape)).shape == (2, trunk.feature_count)


def test_a_scenario_finds_them_by_name() -> None:
    found = {name: load("networks", name) for name in ("cnn", "lenet", "resnet18", "resnet34")}
    assert found == {"cnn": CNN, "lenet": LeNet, "resnet18": ResNet18, "resnet34": ResNet34}
    assert (load("networks", "shufflenet_v2"), load("networks", "mobilenet_v2")) == (
        ShuffleNetV2,
        MobileNetV2,
    )
