"""The conditional generator of modality-common features (DMML-KD, Section II-D)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PART = "generator"
"""What a state calls the generator."""


class Generator(nn.Module):
    """The generator G(z, y): maps noise and a label to a modality-common feature.

    Two fully connected layers with biases and a ReLU between them; no BatchNorm (with the 64 noise values,
    512 hidden units and 256 features of the paper it has 167,680 parameters, the Υ of Table II).
    The output is linear: the paper names only the two layers. Real features are non-negative; the term with β in
    eq. (14) trains the generator for that.
    """

    def __init__(self, noise_size: int, class_count: int, hidden: int, feature_count: int) -> None:
        super().__init__()
        self.noise_size, self.class_count = noise_size, class_count
        self.hidden = nn.Linear(noise_size + class_count, hidden)
        self.output = nn.Linear(hidden, feature_count)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Compute features [batch, L̂] from ``noise`` [batch, noise_size] and ``labels`` [batch] (int64)."""
        return self._features(lambda layer, x: getattr(self, layer)(x), noise, labels)

    def stacked(self, tensors: Mapping[str, Mapping[str, Tensor]], noise: Tensor, labels: Tensor) -> Tensor:
        """Compute features [K, batch, L̂] of K generators.

        Args:
            tensors: Weights of the one part, by part and name [K, *shape].
            noise: [K, batch, noise_size].
            labels: int64 [K, batch].
        """
        own = tensors[PART]

        def connect(layer: str, x: Tensor) -> Tensor:
            return torch.baddbmm(own[f"{layer}.bias"][:, None], x, own[f"{layer}.weight"].transpose(1, 2))

        return self._features(connect, noise, labels)

    def _features(self, through: Callable[[str, Tensor], Tensor], noise: Tensor, labels: Tensor) -> Tensor:
        """Return the features; ``through`` takes a tensor through a layer."""
        one_hot = F.one_hot(labels, self.class_count).to(noise.dtype)
        hidden = F.relu(through("hidden", torch.cat([noise, one_hot], dim=-1)))
        return through("output", hidden)

    def parts(self) -> dict[str, nn.Module]:
        """Return itself as the only part of a state."""
        return {PART: self}
