"""Residual networks with 3-D convolutions (Tran et al. 2018; Hara et al. 2018), for clips of images or of flow."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.video import r3d_18
from torchvision.models.video.resnet import BasicStem, Bottleneck, Conv3DSimple, VideoResNet

from learners.networks.network import Network, Trunk
from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions


def clip_channels(input_shape: Sequence[int]) -> int:
    """Return the number of channels of a clip [channels, frames, height, width].

    Raises:
        ScenarioError: The input is of another shape.
    """
    if len(input_shape) != 4:
        raise ScenarioError(
            f"a 3-D ResNet takes inputs of shape [channels, frames, height, width], but a sample has shape "
            f"{list(input_shape)}; use the network 'small_resnet' for images and 'mlp' for vectors"
        )
    return input_shape[0]


class VideoTrunk(Trunk):
    """A 3-D ResNet of torchvision without its last layer: features averaged over time and image after a ReLU.

    The first convolution is replaced for clips without three channels. PyTorch vectorises many networks
    (:meth:`Trunk.stacked`): nearly all the time is spent in convolutions, which it groups by itself.
    """

    def __init__(self, net: VideoResNet, channels: int) -> None:
        super().__init__()
        self.net = net
        self.feature_count = net.fc.in_features
        net.fc = nn.Identity()
        if channels != 3:
            first = net.stem[0]
            net.stem[0] = nn.Conv3d(
                channels, first.out_channels, first.kernel_size, first.stride, first.padding, bias=False
            )
            nn.init.kaiming_normal_(net.stem[0].weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels, frames, height, width] to [batch, feature_count]."""
        features: Tensor = self.net(x)
        return features


class R3D18(Network):
    """ResNet-18 with 3-D convolutions from scratch, for clips [channels, frames, height, width]; 512 features."""

    Options = NoOptions

    def build(self, input_shape: Sequence[int]) -> VideoTrunk:
        """Build the trunk; see :meth:`Network.build`."""
        channels = clip_channels(input_shape)
        return VideoTrunk(r3d_18(weights=None), channels)


class R3D50(Network):
    """ResNet-50 with 3-D convolutions from scratch, for clips [channels, frames, height, width]; 2,048 features."""

    Options = NoOptions

    def build(self, input_shape: Sequence[int]) -> VideoTrunk:
        """Build the trunk; see :meth:`Network.build`."""
        channels = clip_channels(input_shape)
        net = VideoResNet(Bottleneck, [Conv3DSimple] * 4, layers=[3, 4, 6, 3], stem=BasicStem)
        return VideoTrunk(net, channels)
