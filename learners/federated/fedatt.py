"""FedAtt (Ji et al. 2019): layer by layer, a client counts more the farther it has gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from learners.dmml.batches import random_numbers
from learners.federated.aggregate import Rule, attention
from learners.federated.fedavg import FedAvg
from learners.federated.options import FedAttOptions
from learners.federated.promises import Upload
from netsim.core.options import Options
from netsim.core.streams import derive_seed


class FedAtt(FedAvg):
    """w ← w − ε Σ α_k (w − w_k) with α from a softmax over distances, for each named tensor; samples do not count."""

    Options: ClassVar[type[Options]] = FedAttOptions

    def _rule(self, round: int, uploads: Mapping[int, Upload]) -> Rule:
        options = self._options
        assert isinstance(options, FedAttOptions)
        if not options.noise:
            return attention(options.attention_step)
        generator, size = (
            random_numbers(derive_seed(self.setup.seed, "attention noise", round)),
            options.noise,
        )

        def noise(weights: Tensor) -> Tensor:
            return size * torch.randn(weights.shape, generator=generator).to(weights)

        return attention(options.attention_step, noise)
