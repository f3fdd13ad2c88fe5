"""Networks as users bring them, for recordings of 9 channels and 128 moments, with what they cost in closed form.

Multiply-accumulates of one sample. In every product of a matrix of weights with something that depends on weights, the
backward pass takes the forward pass twice: for the gradient of the matrix and for that of the other factor. The first
layer's inputs need none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from learners.networks.network import Network, Trunk
from netsim.core.options import Options

CHANNELS, MOMENTS = 9, 128
SHAPE = (CHANNELS, MOMENTS)
UNITS = 32


class Costs(NamedTuple):
    """Multiply-accumulates of one sample."""

    forward: int
    backward: int


class Layers(Trunk):
    """Modules one after another; the last gives non-negative features."""

    def __init__(self, feature_count: int, *layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.feature_count = nn.Sequential(*layers), feature_count

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features


class Recurrent(Trunk):
    """A recurrent layer over the moments; the features are its last output."""

    def __init__(self, kind: type[nn.RNNBase], size: int, units: int) -> None:
        super().__init__()
        self.rnn, self.feature_count = kind(size, units, batch_first=True), units

    def forward(self, x: Tensor) -> Tensor:
        outputs, _ = self.rnn(x.transpose(1, 2))
        return torch.relu(outputs[:, -1])


class Transformer(Trunk):
    """A linear layer on each moment, an encoder layer, and the mean over the moments."""

    def __init__(self, size: int, units: int) -> None:
        super().__init__()
        self.up, self.feature_count = nn.Linear(size, units), units
        self.encoder = nn.TransformerEncoderLayer(units, 4, 2 * units, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.encoder(self.up(x.transpose(1, 2))).mean(1))


def mlp() -> tuple[Trunk, Costs]:
    """1152 - 64 - 32: 1.03 forward passes backward."""
    first, second = CHANNELS * MOMENTS * 64, 64 * UNITS
    net = Layers(
        UNITS, nn.Flatten(), nn.Linear(CHANNELS * MOMENTS, 64), nn.ReLU(), nn.Linear(64, UNITS), nn.ReLU()
    )
    return net, Costs(first + second, first + 2 * second)


def cnn() -> tuple[Trunk, Costs]:
    """Two convolutions of 5 moments with BatchNorm, the second on half as many: 1.64 forward passes backward."""
    first, second = MOMENTS * UNITS * CHANNELS * 5, MOMENTS // 2 * UNITS * UNITS * 5
    net = Layers(
        UNITS,
        *(nn.Conv1d(CHANNELS, UNITS, 5, padding=2), nn.BatchNorm1d(UNITS), nn.ReLU(), nn.MaxPool1d(2)),
        *(nn.Conv1d(UNITS, UNITS, 5, padding=2), nn.BatchNorm1d(UNITS), nn.ReLU()),
        *(nn.AdaptiveAvgPool1d(1), nn.Flatten()),
    )
    return net, Costs(first + second, first + 2 * second)


def recurrent(kind: type[nn.RNNBase], gates: int, units: int) -> tuple[Trunk, Costs]:
    """In each moment, each gate takes the inputs and the last state; but the first state needs no gradient."""
    forward = MOMENTS * gates * units * (CHANNELS + units)
    return Recurrent(kind, CHANNELS, units), Costs(forward, forward + (MOMENTS - 1) * gates * units * units)


def lstm() -> tuple[Trunk, Costs]:
    """Four gates."""
    return recurrent(nn.LSTM, 4, UNITS)


def gru() -> tuple[Trunk, Costs]:
    """Three gates, of 64 units: 1.87 forward passes backward."""
    return recurrent(nn.GRU, 3, 64)


def transformer() -> tuple[Trunk, Costs]:
    """Query, key, value and output; scores and their use; two layers of twice the width."""
    up = MOMENTS * CHANNELS * UNITS
    encoder = 4 * MOMENTS * UNITS**2 + 2 * MOMENTS**2 * UNITS + 2 * MOMENTS * UNITS * 2 * UNITS
    return Transformer(CHANNELS, UNITS), Costs(up + encoder, up + 2 * encoder)


NETWORKS = {"mlp": mlp, "cnn": cnn, "lstm": lstm, "gru": gru, "transformer": transformer}


class OfRecordingsOptions(Options):
    """The block of one of these networks."""

    kind: str = Field("mlp", description="which one")


class OfRecordings(Network):
    """One of the networks above; a scenario says recordings:OfRecordings."""

    Options = OfRecordingsOptions

    def build(self, input_shape: Sequence[int]) -> Trunk:
        assert isinstance(self.options, OfRecordingsOptions) and tuple(input_shape) == SHAPE
        return NETWORKS[self.options.kind]()[0]
