"""The identity network: the features are the inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from learners.networks.network import Network, Trunk
from netsim.core.options import NoOptions


class IdentityTrunk(Trunk):
    """The flattened inputs as features, of either sign, without weights to train."""

    def __init__(self, input_count: int) -> None:
        super().__init__()
        self.feature_count = input_count

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, ...] to [batch, feature_count]."""
        return x.flatten(1)

    def stacked(self, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Flatten the inputs; see :meth:`Trunk.stacked`."""
        return x.flatten(2)


class Identity(Network):
    """The inputs as features; multinomial logistic regression if the learner concatenates (architecture concat)."""

    Options = NoOptions

    def build(self, input_shape: Sequence[int]) -> IdentityTrunk:
        """Build the trunk; see :meth:`Network.build`. Inputs of any shape are flattened."""
        return IdentityTrunk(math.prod(input_shape))
