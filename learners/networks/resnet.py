"""ResNet-18 of the paper, ResNet-34, and a family of smaller ResNets that train quickly on a CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from learners.networks.folded import convolve, fold, normalise, unfold
from learners.networks.images import image_shape
from learners.networks.network import Network, Trunk
from learners.networks.options import ResNetOptions, SmallResNetOptions
from netsim.core.errors import ScenarioError


class ResNetTrunk(Trunk):
    """torchvision's ResNet without its last layer: 512 features, averaged over the image after a ReLU.

    With the ``small`` stem it begins like the ResNets for CIFAR-10 of He et al. 2016, Section 4.2.
    """

    def __init__(
        self, net: torchvision.models.ResNet, channels: int, stem: Literal["imagenet", "small"]
    ) -> None:
        super().__init__()
        self.net = net
        self.feature_count = net.fc.in_features
        net.fc = nn.Identity()
        kernel, stride = (3, 1) if stem == "small" else (7, 2)
        if stem == "small":
            net.maxpool = nn.Identity()
        if stem == "small" or channels != 3:
            net.conv1 = nn.Conv2d(channels, 64, kernel, stride, padding=kernel // 2, bias=False)
            nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels, height, width] to [batch, 512]."""
        features: Tensor = self.net(x)
        return features


class ResNet18(Network):
    """ResNet-18 from scratch; the first layer has the modality's number of channels (1 for a spectrogram)."""

    Options = ResNetOptions
    net = staticmethod(torchvision.models.resnet18)

    def build(self, input_shape: Sequence[int]) -> ResNetTrunk:
        """Build the trunk; see :meth:`Network.build`."""
        assert isinstance(self.options, ResNetOptions)
        channels, _, _ = image_shape(input_shape, "a ResNet")
        return ResNetTrunk(self.net(weights=None), channels, self.options.stem)


class ResNet34(ResNet18):
    """ResNet-34 from scratch; the first layer has the modality's number of channels."""

    net = staticmethod(torchvision.models.resnet34)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut for the input (He et al. 2016, Fig. 2).

    If the block changes the shape, the shortcut is a strided 1×1 convolution (their option B) or, with
    ``padding``, an average over the stride and zeros for the new channels: no weights (their option A,
    but averaged), so three convolutions become two.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.stride, self.new_channels = stride, channels_out - channels_in
        self.projection = (
            nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )
            if shortcut == "projection" and (stride > 1 or self.new_channels)
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels_in, height, width] to [batch, channels_out, ⌈height/stride⌉, ⌈width/stride⌉]."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        if self.projection is not None:
            x = self.projection(x)
        else:
            if self.stride > 1:
                x = F.avg_pool2d(x, self.stride, ceil_mode=True)
            if self.new_channels:
                x = F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return F.relu(y + x, inplace=True)

    def folded(self, tensors: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
        """Apply the blocks ``name`` of K networks to folded ``x``; see :mod:`learners.networks.folded`."""
        y = convolve(x, tensors, f"{name}.conv1", self.stride, 1)
        y = F.relu(normalise(y, tensors, f"{name}.norm1", self.norm1), inplace=True)
        y = normalise(convolve(y, tensors, f"{name}.conv2", 1, 1), tensors, f"{name}.norm2", self.norm2)
        if self.projection is not None:
            x = convolve(x, tensors, f"{name}.projection.0", self.stride)
            norm = self.projection[1]
            assert isinstance(norm, nn.BatchNorm2d)
            x = normalise(x, tensors, f"{name}.projection.1", norm)
        else:
            if self.stride > 1:
                x = F.avg_pool2d(x, self.stride, ceil_mode=True)
            if self.new_channels:
                networks = len(tensors[f"{name}.norm1.weight"])
                x = F.pad(x.unflatten(1, (networks, -1)), (0, 0, 0, 0, 0, self.new_channels)).flatten(1, 2)
        return F.relu(y + x, inplace=True)


class SmallResNetTrunk(Trunk):
    """A stem, stages of basic blocks, and the average over the image after the last ReLU.

    It uses PyTorch's channels-last layout, about a quarter faster on CPUs at these sizes.
    """

    def __init__(self, channels: int, options: SmallResNetOptions) -> None:
        super().__init__()
        widths = options.widths
        strides = options.strides or (1,) + (2,) * (len(widths) - 1)
        kernel, stride = options.stem_kernel, options.stem_stride
        self.cuts_patches = kernel == stride
        padding = 0 if self.cuts_patches else kernel // 2
        self.stem = nn.Conv2d(channels, widths[0], kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        blocks = []
        width = widths[0]
        for stage_width, stage_stride in zip(widths, strides, strict=True):
            for index in range(options.blocks):
                blocks.append(
                    BasicBlock(width, stage_width, stage_stride if index == 0 else 1, options.shortcut)
                )
                width = stage_width
        self.blocks = nn.Sequential(*blocks)
        self.pool = options.pool
        self.feature_count = width * options.pool**2
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for weight in self.parameters():
            if weight.dim() == 4 and not (self.cuts_patches and weight is self.stem.weight):
                weight.data = _channels_last(weight.data)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels, height, width] to [batch, feature_count]."""
        x = patches(x, self.stem.weight) if self.cuts_patches else self.stem(_channels_last(x))
        x = self.blocks(F.relu(self.norm(x), inplace=True))
        return x.mean((2, 3)) if self.pool == 1 else F.adaptive_avg_pool2d(x, self.pool).flatten(1)

    def stacked(self, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Compute :meth:`Trunk.stacked` with the networks folded into one."""
        networks = len(x)
        if self.cuts_patches:
            x = fold(stacked_patches(x, tensors["stem.weight"]))
        else:
            kernel, stride = self.stem.kernel_size[0], self.stem.stride[0]
            x = convolve(fold(x), tensors, "stem", stride, kernel // 2)
        x = F.relu(normalise(x, tensors, "norm", self.norm), inplace=True)
        for index, block in enumerate(self.blocks):
            assert isinstance(block, BasicBlock)
            x = block.folded(tensors, f"blocks.{index}", x)
        return unfold(F.adaptive_avg_pool2d(x, self.pool), networks).flatten(2)


def stacked_patches(x: Tensor, weight: Tensor) -> Tensor:
    """Compute :func:`patches` of K networks: [K, B, C, H, W] and [K, D, C, k, k] to [K, B, D, ⌊H/k⌋, ⌊W/k⌋]."""
    networks, batch, channels, height, width = x.shape
    k = weight.shape[-1]
    rows, columns = height // k, width // k
    x = x[..., : rows * k, : columns * k].reshape(networks, batch, channels, rows, k, columns, k)
    x = x.permute(0, 1, 3, 5, 2, 4, 6).reshape(networks, batch * rows * columns, channels * k * k)
    y = x @ weight.flatten(2).transpose(1, 2)
    return y.view(networks, batch, rows, columns, -1).permute(0, 1, 4, 2, 3)


def patches(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve ``x`` [B, C, H, W] with ``weight`` [D, C, k, k] at stride k, as one matrix product.

    Two to four times faster on CPUs than the convolution; the result [B, D, ⌊H/k⌋, ⌊W/k⌋] is channels-last.
    """
    batch, channels, height, width = x.shape
    k = weight.shape[-1]
    rows, columns = height // k, width // k
    x = x[..., : rows * k, : columns * k].reshape(batch, channels, rows, k, columns, k)
    x = x.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows, columns, channels * k * k)
    return F.linear(x, weight.flatten(1)).permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


class SmallResNet(Network):
    """A ResNet of few and narrow stages, for CPUs and small inputs."""

    Options = SmallResNetOptions

    def build(self, input_shape: Sequence[int]) -> SmallResNetTrunk:
        """Build the trunk; see :meth:`Network.build`."""
        channels, height, width = image_shape(input_shape, "a ResNet")
        assert isinstance(self.options, SmallResNetOptions)
        if min(height, width) < self.options.stem_stride:
            raise ScenarioError(
                f"small_resnet: stem_stride must be at most the input's height and width (got "
                f"{self.options.stem_stride} for an input of {height}×{width})"
            )
        return SmallResNetTrunk(channels, self.options)
