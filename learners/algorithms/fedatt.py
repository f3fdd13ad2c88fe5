"""FedAtt (Ji et al. 2019): layer by layer, a client counts more the farther it has gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from learners.algorithms.fedavg import WITH_SERVER, FedAvg
from learners.training.batches import random_numbers
from learners.training.late_fusion.aggregate import Rule, attention
from learners.training.late_fusion.averaging import Averaging
from learners.training.late_fusion.options import FedAttOptions
from netsim.core.streams import derive_seed

if TYPE_CHECKING:
    from learners.training.late_fusion.exchange import Upload
    from netsim.core.options import Options


@dataclass(frozen=True)
class Attention(Averaging):
    """w ← w − ε Σ α_k (w − w_k) with α from a softmax over distances, for each named tensor; samples do not count.

    Attributes:
        step: ε.
        noise: Standard deviation of noise on the new weights.
        seed: The run's, for the noise.
    """

    step: float
    noise: float
    seed: int

    def rule(self, round: int, uploads: Mapping[int, Upload]) -> Rule:
        """Return the next numbers of a part; see :meth:`Averaging.rule`."""
        if not self.noise:
            return attention(self.step)
        generator = random_numbers(derive_seed(self.seed, "attention noise", round))

        def noise(weights: Tensor) -> Tensor:
            return self.noise * torch.randn(weights.shape, generator=generator).to(weights)

        return attention(self.step, noise)


class FedAtt(FedAvg):
    """The server goes towards its clients, layer by layer; see :class:`Attention`."""

    Options: ClassVar[type[Options]] = FedAttOptions
    SUITS = WITH_SERVER

    def _method(self) -> Averaging:
        plain, options = super()._method(), self._options
        assert isinstance(options, FedAttOptions)
        return Attention(
            plain.amounts,
            plain.drops,
            options.attention_step,
            options.noise,
            self.setup.seed,
            optimizer=plain.optimizer,
        )
