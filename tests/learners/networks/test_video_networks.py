"""3-D ResNets: their sizes against the published ones, their features, and many of them at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.func import stack_module_state

from learners.networks.network import Network
from learners.networks.resnet import SmallResNet
from learners.networks.video import R3D18, R3D50
from learners.training.costs import forward_macs
from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions
from netsim.core.registry import load

CLIP = (3, 16, 112, 112)


def make(network: type[Network]) -> Network:
    return network(NoOptions())


def test_r3d_18_is_as_large_as_published() -> None:
    """By torchvision 33,371,472 weights with a last layer of 400 classes (205,200), and 40.697 G operations."""
    trunk = make(R3D18).build(CLIP)
    assert sum(weight.numel() for weight in trunk.parameters()) == 33_371_472 - (512 * 400 + 400)
    assert forward_macs(trunk, CLIP) == pytest.approx(40.697e9 - 512 * 400, rel=1e-4)


def test_r3d_50_counts() -> None:
    """First layer 3 · 7 · 7 · 3 · 64, then per block of width w: in · w + 27 · w² + w · 4w, a shortcut per stage.

    BatchNorm adds two weights per channel: 64, and w + w + 4w per block, and 4w per shortcut.
    """
    weights, channels = 3 * 3 * 7 * 7 * 64 + 2 * 64, 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        weights += channels * 4 * width + 2 * 4 * width
        for _ in range(blocks):
            weights += channels * width + 27 * width**2 + 4 * width**2 + 2 * 6 * width
            channels = 4 * width
    trunk = make(R3D50).build(CLIP)
    assert trunk.feature_count == 2048
    assert sum(weight.numel() for weight in trunk.parameters()) == weights == 46_161_344


@pytest.mark.parametrize("network", [R3D18, R3D50])
@pytest.mark.parametrize("shape", [(3, 4, 16, 16), (2, 5, 17, 24), (1, 1, 16, 16)])
def test_features_are_non_negative_and_as_many_as_said(network: Any, shape: tuple[int, ...]) -> None:
    trunk = make(network).build(shape).eval()
    with torch.no_grad():
        features = trunk(torch.randn(2, *shape))
    assert features.shape == (2, trunk.feature_count)
    assert (features >= 0).all()


@pytest.mark.parametrize("network", [R3D18, R3D50])
def test_networks_stacked_are_each_of_them(network: Any) -> None:
    """In double precision: BatchNorm over three tiny clips blows rounding up. Statistics lie apart, as in a bank."""
    shape = (2, 4, 16, 16)
    singles = [make(network).build(shape).double() for _ in range(2)]
    weights, statistics = stack_module_state(singles)  # type: ignore[arg-type]
    statistics = {name: torch.stack([tensor, tensor], 1)[:, 0] for name, tensor in statistics.items()}
    x = torch.randn(2, 3, *shape, dtype=torch.float64)
    with torch.no_grad():
        together = make(network).build(shape).double().stacked({**weights, **statistics}, x)
        alone = torch.stack([single(clips) for single, clips in zip(singles, x, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-9)
    for name, tensor in statistics.items():
        for row, single in zip(tensor, singles, strict=True):
            torch.testing.assert_close(row, dict(single.named_buffers())[name], rtol=1e-6, atol=1e-9)


def test_clips_and_images_are_told_apart() -> None:
    with pytest.raises(
        ScenarioError, match=r"3-D ResNet takes .*\[3, 32, 32\]; use the network 'small_resnet'"
    ):
        make(R3D18).build((3, 32, 32))
    with pytest.raises(ScenarioError, match=r"a sample has shape \[3, 4, 32, 32\]"):
        SmallResNet(SmallResNet.Options()).build((3, 4, 32, 32))


def test_a_scenario_finds_them_by_name() -> None:
    assert (load("networks", "r3d_18"), load("networks", "r3d_50")) == (R3D18, R3D50)
