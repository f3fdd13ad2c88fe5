"""A plain convolutional network, for small images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from learners.networks.chain import ChainTrunk
from learners.networks.images import image_shape
from learners.networks.network import Network
from learners.networks.options import CNNOptions
from netsim.core.errors import ScenarioError


class CNN(Network):
    """Convolutions of 3×3 with ReLUs and 2×2 poolings, then one fully connected layer with a ReLU."""

    Options = CNNOptions

    def build(self, input_shape: Sequence[int]) -> ChainTrunk:
        """Build the trunk; see :meth:`Network.build`. An image must be large enough for all poolings."""
        assert isinstance(self.options, CNNOptions)
        channels, height, width = image_shape(input_shape, "cnn")
        widths = self.options.channels
        smallest = 2 ** len(widths)
        if min(height, width) < smallest:
            raise ScenarioError(
                f"cnn: the input's height and width must be at least {smallest}, halved once for each of "
                f"{len(widths)} channels (got {height}×{width}); name fewer channels"
            )
        convolutions = [
            layer
            for before, after in pairwise((channels, *widths))
            for layer in (nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        ]
        cells = (height // smallest) * (width // smallest)
        return ChainTrunk(convolutions, widths[-1] * cells, (self.options.hidden,))
