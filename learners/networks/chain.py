"""Chains of convolutions and linear layers, without BatchNorm and shortcuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from learners.networks.folded import connect, convolve, fold, unfold
from learners.networks.network import Trunk


class ChainTrunk(Trunk):
    """Convolutions, ReLUs and poolings, then linear layers with a ReLU each; the last layer gives the features."""

    def __init__(self, convolutions: Sequence[nn.Module], input_count: int, hidden: Sequence[int]) -> None:
        """Chain the layers ``convolutions`` and linear layers on their ``input_count`` outputs."""
        super().__init__()
        connections = [
            layer
            for before, after in pairwise((input_count, *hidden))
            for layer in (nn.Linear(before, after), nn.ReLU())
        ]
        self.layers = nn.Sequential(*convolutions, nn.Flatten(), *connections)
        self.feature_count = hidden[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels, height, width] to [batch, feature_count]."""
        features: Tensor = self.layers(x)
        return features

    def stacked(self, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Compute :meth:`Trunk.stacked`: fold the convolutions into one each, batch the products of linear layers."""
        networks, x = len(x), fold(x)
        for index, layer in enumerate(self.layers):
            name = f"layers.{index}"
            if isinstance(layer, nn.Conv2d):
                assert not isinstance(layer.padding, str)
                x = convolve(x, tensors, name, layer.stride[0], layer.padding[0])
            elif isinstance(layer, nn.Flatten):
                x = unfold(x, networks).flatten(2).transpose(1, 2)
            elif isinstance(layer, nn.Linear):
                x = connect(x, tensors, name)
            else:  # ReLUs and poolings work on each number or map by itself
                x = layer(x)
        return x.transpose(1, 2)
