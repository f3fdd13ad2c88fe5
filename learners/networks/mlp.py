"""Fully connected layers, for inputs that are vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from learners.networks.folded import connect
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

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, ...] to [batch, feature_count]."""
        features: Tensor = self.layers(x.flatten(1))
        return features

    def stacked(self, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Compute :meth:`Trunk.stacked` with one batched matrix product a layer."""
        x = x.flatten(2).transpose(1, 2)
        for index in range(0, len(self.layers), 2):
            x = F.relu(connect(x, tensors, f"layers.{index}"))
        return x.transpose(1, 2)


class MLP(Network):
    """Fully connected layers with ReLUs."""

    Options = MLPOptions

    def build(self, input_shape: Sequence[int]) -> MLPTrunk:
        """Build the trunk; see :meth:`Network.build`. Inputs of any shape are flattened."""
        assert isinstance(self.options, MLPOptions)
        return MLPTrunk(math.prod(input_shape), self.options.hidden)
