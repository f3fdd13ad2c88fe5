"""Fully connected layers, for inputs that are vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from learners.networks.folded import connect_all
from learners.networks.network import Network, Trunk
from learners.networks.options import MLPOptions


class MLPTrunk(Trunk):
    """Linear layers, each followed by a ReLU; inputs of more than one dimension are flattened."""

    def __init__(self, input_count: int, hidden: Sequence[int]) -> None:
        super().__init__()
        sizes = [input_count, *hidden]
        layers = [
            layer for before, after in pairwise(sizes) for layer in (nn.Linear(before, after), nn.ReLU())
        ]
        self.layers = nn.Sequential(*layers)
        self.feature_count = sizes[-1]
        self.first_linear = "layers.0" if hidden else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, ...] to [batch, feature_count]."""
        features: Tensor = self.layers(x.flatten(1))
        return features

    def stacked(self, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Run K networks with one batched matrix product a layer; see :meth:`Trunk.stacked`."""
        return connect_all(x.flatten(2), tensors, "layers.", self.layers)


class MLP(Network):
    """Fully connected layers with ReLUs."""

    Options = MLPOptions

    def build(self, input_shape: Sequence[int]) -> MLPTrunk:
        """Build the trunk; see :meth:`Network.build`. Inputs of any shape are flattened."""
        assert isinstance(self.options, MLPOptions)
        return MLPTrunk(math.prod(input_shape), self.options.hidden)
