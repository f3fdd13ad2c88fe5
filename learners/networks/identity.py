"""No network at all: the features are the inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from learners.networks.network import Network, Trunk
from netsim.core.options import NoOptions


class IdentityTrunk(Trunk):
    """Inputs as they are, flattened. Nothing to train, and features of either sign."""

    def __init__(self, input_count: int) -> None:
        super().__init__()
        self.feature_count = input_count

    def forward(self, x: Tensor) -> Tensor:
        """[batch, ...] to [batch, feature_count]."""
        return x.flatten(1)

    def stacked(self, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """See :meth:`Trunk.stacked`."""
        return x.flatten(2)


class Identity(Network):
    """The inputs as they are; multinomial logistic regression where the learner concatenates (architecture concat)."""

    Options = NoOptions

    def build(self, input_shape: Sequence[int]) -> IdentityTrunk:
        """See :meth:`Network.build`; any shape is taken, flattened."""
        return IdentityTrunk(math.prod(input_shape))
