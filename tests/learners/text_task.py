"""A data set of tokens that a test can make, and two networks that begin with a look-up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from learners.data.dataset import DataSource, MultimodalDataset
from learners.networks.network import Network, Trunk
from netsim.core.options import Options
from netsim.core.streams import stream

CLASSES, WORDS, LENGTH = 4, 50, 20


class Sentences(DataSource):
    """Sentences of 20 words; the class decides which word is frequent."""

    MODALITIES = ("text",)

    def check(self) -> None:
        pass

    def load(self, seed: int, cache_dir: Path, say: Callable[[str], None]) -> MultimodalDataset:
        """Tokens, int64 [480 + 120, 20]."""
        random, labels = stream(seed, "sentences"), np.arange(600) % CLASSES
        words = random.integers(0, WORDS, (600, LENGTH))
        words = np.where(random.random((600, LENGTH)) < 0.3, labels[:, None] * 3 + 1, words)
        return MultimodalDataset(
            "sentences",
            tuple("abcd"),
            {"text": torch.from_numpy(words)},
            torch.from_numpy(labels),
            np.zeros(600, dtype=np.int64),
            np.arange(480),
            np.arange(480, 600),
        )


class Reader(Trunk):
    """A look-up, then a recurrent layer or nothing, and the mean over the words through a linear layer."""

    def __init__(self, units: int, recurrent: bool) -> None:
        super().__init__()
        self.look_up, self.feature_count = nn.Embedding(WORDS, units), units
        self.rnn = nn.GRU(units, units, batch_first=True) if recurrent else None
        self.out = nn.Linear(units, units)

    def forward(self, x: Tensor) -> Tensor:
        words = self.look_up(x)
        if self.rnn is not None:
            words, _ = self.rnn(words)
        return torch.relu(self.out(words.mean(1)))


class ReadingOptions(Options):
    """The block of such a network."""

    units: int = Field(16, description="numbers of a word, and features")
    recurrent: bool = Field(False, description="whether a GRU reads the words")


class Reading(Network):
    """A network for sentences; a scenario says text_task:Reading."""

    Options = ReadingOptions

    def build(self, input_shape: Sequence[int]) -> Trunk:
        assert isinstance(self.options, ReadingOptions)
        return Reader(self.options.units, self.options.recurrent)
