"""Networks of depthwise convolutions, for devices that compute little: ShuffleNetV2 and MobileNetV2."""

from __future__ import annotations

from collections.abc import Sequence

import torchvision
from torch import Tensor, nn

from learners.networks.images import image_shape
from learners.networks.network import Network, Trunk
from learners.networks.options import MobileNetV2Options, ShuffleNetV2Options

SMALL_STAGES = [
    [1, 16, 1, 1],
    [6, 24, 2, 1],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
]
"""MobileNetV2's Table 2 (expansion, channels, blocks, stride), but stride 1 in the second stage."""


class ShuffleNetV2Trunk(Trunk):
    """torchvision's ShuffleNetV2 (Ma et al. 2018) without its last layer: an average over the image after a ReLU.

    1,024 features, 2,048 at size 2. With the ``small`` stem the first convolution has stride 1 and no pooling follows
    it, so images of 32 × 32 end in maps of 4 × 4.
    """

    def __init__(self, channels: int, options: ShuffleNetV2Options) -> None:
        super().__init__()
        size = f"{options.size:.1f}".replace(".", "_")
        self.net = torchvision.models.get_model(f"shufflenet_v2_x{size}", weights=None)
        self.feature_count = self.net.fc.in_features
        self.net.fc = nn.Identity()
        first = self.net.conv1
        if channels != 3:
            first[0] = for_channels(first[0], channels)
        if options.stem == "small":
            first[0].stride = (1, 1)
            self.net.maxpool = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels, height, width] to [batch, feature_count]."""
        features: Tensor = self.net(x)
        return features


class MobileNetV2Trunk(Trunk):
    """torchvision's MobileNetV2 (Sandler et al. 2018) without its classifier: an average over the image after a ReLU6.

    1,280 features, more at widths above 1. With the ``small`` stem the first convolution and the second stage have
    stride 1, so images of 32 × 32 end in maps of 4 × 4.
    """

    def __init__(self, channels: int, options: MobileNetV2Options) -> None:
        super().__init__()
        small = options.stem == "small"
        net = torchvision.models.MobileNetV2(
            width_mult=options.width, inverted_residual_setting=SMALL_STAGES if small else None
        )
        self.layers = net.features
        self.feature_count: int = net.last_channel
        first = self.layers[0]
        if channels != 3:
            first[0] = for_channels(first[0], channels)
            nn.init.kaiming_normal_(first[0].weight, mode="fan_out")
        if small:
            first[0].stride = (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels, height, width] to [batch, feature_count]."""
        features: Tensor = self.layers(x).mean((2, 3))
        return features


def for_channels(first: nn.Conv2d, channels: int) -> nn.Conv2d:
    """Return a new convolution like ``first`` for images of ``channels`` channels."""
    return nn.Conv2d(
        channels, first.out_channels, first.kernel_size, first.stride, first.padding, bias=False  # type: ignore[arg-type]
    )  # fmt: skip


class ShuffleNetV2(Network):
    """ShuffleNetV2 from scratch, for images of any number of channels; 1,024 features (2,048 at size 2)."""

    Options = ShuffleNetV2Options

    def build(self, input_shape: Sequence[int]) -> ShuffleNetV2Trunk:
        """Build the trunk; see :meth:`Network.build`."""
        assert isinstance(self.options, ShuffleNetV2Options)
        return ShuffleNetV2Trunk(image_shape(input_shape, "shufflenet_v2")[0], self.options)


class MobileNetV2(Network):
    """MobileNetV2 from scratch, for images of any number of channels; 1,280 features (more at widths above 1)."""

    Options = MobileNetV2Options

    def build(self, input_shape: Sequence[int]) -> MobileNetV2Trunk:
        """Build the trunk; see :meth:`Network.build`."""
        assert isinstance(self.options, MobileNetV2Options)
        return MobileNetV2Trunk(image_shape(input_shape, "mobilenet_v2")[0], self.options)
