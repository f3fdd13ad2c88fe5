"""LeNet-5 and deeper or wider relatives, for small images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from learners.networks.chain import ChainTrunk
from learners.networks.images import image_shape
from learners.networks.network import Network
from learners.networks.options import LeNetOptions
from netsim.core.errors import ScenarioError

SMALLEST = 12
"""Height and width [pixel] that leave one cell after two convolutions and two poolings."""

SMALLEST_OF_ONE = 2
"""Height and width [pixel] that leave one cell after one convolution and one pooling."""


class LeNetTrunk(ChainTrunk):
    """By default two convolutions of 5×5, each pooled 2×2, and two linear layers with 120 and 84 units.

    The layers are those of LeCun et al. 1998 ("Gradient-based learning applied to document recognition", Fig. 2)
    but with ReLUs and maxima, as is usual today, in place of scaled tangents and trainable averages. Every map of the
    second convolution uses every map of the first.
    Images below 32 × 32 are padded by 2, so 28 × 28 gives 5 × 5 cells as 32 × 32 does. Convolutions after the second
    are of 3×3 and keep the size of the map, which is pooled where it is at least 4 × 4.
    """

    def __init__(self, channels: int, height: int, width: int, options: LeNetOptions) -> None:
        layers: list[nn.Module] = []
        for index, maps in enumerate(options.channels):
            kernel = 5 if index < 2 else 3
            padding = 1 if index > 1 else 2 if index == 0 and min(height, width) < 32 else 0
            layers += [nn.Conv2d(channels, maps, kernel, padding=padding), nn.ReLU()]
            channels = maps
            height, width = (side + 2 * padding - kernel + 1 for side in (height, width))
            if index < 2 or min(height, width) >= 4:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
        super().__init__(layers, channels * height * width, options.hidden)


class LeNet(Network):
    """LeNet-5 with ReLUs and 84 features, for images of 28 × 28 or 32 × 32 and not much larger."""

    Options = LeNetOptions

    def build(self, input_shape: Sequence[int]) -> LeNetTrunk:
        """Build the trunk; see :meth:`Network.build`. Images are at least 12 × 12, or 2 × 2 with one convolution."""
        assert isinstance(self.options, LeNetOptions)
        channels, height, width = image_shape(input_shape, "lenet")
        smallest = SMALLEST if len(self.options.channels) > 1 else SMALLEST_OF_ONE
        if min(height, width) < smallest:
            raise ScenarioError(
                f"lenet: the input's height and width must be at least {smallest} with "
                f"{len(self.options.channels)} channels (got {height}×{width}); "
                "use the network 'cnn' or 'small_resnet' for smaller images"
            )
        return LeNetTrunk(channels, height, width, self.options)
