"""What a network of a modality is: something that turns a batch of inputs into non-negative features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

import netsim.options


class Trunk(nn.Module):
    """A feature extractor φ(x; w) (DMML-KD, eq. 3): [batch, *input_shape] to [batch, feature_count].

    Attributes:
        feature_count: Length L of the features. A learner that decomposes them takes the first half as
            modality-common and the second as modality-specific, so it must be even.
    """

    feature_count: int

    def forward(self, x: Tensor) -> Tensor:
        """Features of ``x``, non-negative: they come out of a ReLU."""
        raise NotImplementedError

    def stacked(self, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Features of many networks of this architecture at once; this one lends its structure only.

        The base lets PyTorch vectorise ``forward``; override it where that can be said more directly.

        Args:
            tensors: By name in the module, parameters and buffers of K networks [K, *shape]. Running statistics are
                updated in place where this module is in training mode.
            x: Inputs [K, batch, *input_shape].

        Returns:
            [K, batch, feature_count].
        """

        def one(tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
            features: Tensor = functional_call(self, dict(tensors), (x,))
            return features

        # Vectorised BatchNorm moves its statistics on in a copy that nobody sees, unless they lie side by side in
        # memory; in a bank, where each network has a row, they do not.
        moving = {name: tensors[name].contiguous() for name, _ in self.named_buffers() if self.training}
        features: Tensor = torch.vmap(one)({**tensors, **moving}, x)
        for name, moved in moving.items():
            if moved is not tensors[name]:
                tensors[name].copy_(moved)
        return features


class Network(ABC):
    """A family of trunks; a scenario names one per modality.

    Attributes:
        Options: The model of the network's block in the scenario.
    """

    Options: ClassVar[type[netsim.options.Options]] = netsim.options.NoOptions

    def __init__(self, options: netsim.options.Options) -> None:
        self.options = options

    @abstractmethod
    def build(self, input_shape: Sequence[int]) -> Trunk:
        """A new trunk with freshly drawn weights (from PyTorch's global generator).

        Args:
            input_shape: Shape of one sample: [channels, height, width] or [features].

        Raises:
            ScenarioError: The network cannot take inputs of that shape.
        """
