"""FedNova (Wang et al. 2020): a client's step counts the same however many small steps it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from learners.federated.aggregate import Rule, normalised_averaging
from learners.federated.averaging import Averaging
from learners.federated.exchange import Upload
from learners.federated.fedavg import WITH_SERVER, FedAvg
from learners.federated.federation import Client
from learners.federated.options import FedNovaOptions
from learners.federated.weights import effective_steps
from netsim.core.options import Options


@dataclass(frozen=True)
class NormalisedAveraging(Averaging):
    """w ← w − τ_eff Σ p_i (w − w_i)/‖a_i‖₁, each part as if its holders were all the clients there are.

    Attributes:
        proximal: Whether there is a proximal term. τ_eff is Σ p_i ‖a_i‖₁ without one, and with one Σ p_i τ_i, as in the
            authors' code.
    """

    proximal: bool

    def rule(self, round: int, uploads: Mapping[int, Upload]) -> Rule:
        """See :meth:`Averaging.rule`."""
        norms = {k: upload.trained.normaliser for k, upload in uploads.items()}
        steps = {k: float(upload.trained.steps) for k, upload in uploads.items()}
        amounts = steps if self.proximal else norms
        return normalised_averaging(self.weigh, norms, lambda weights: effective_steps(weights, amounts))


class FedNova(FedAvg):
    """The server takes clients' changes per step, not per round; see :class:`NormalisedAveraging`."""

    Options: ClassVar[type[Options]] = FedNovaOptions
    SUITS = WITH_SERVER

    def _method(self) -> Averaging:
        plain, options = super()._method(), self._options
        assert isinstance(options, FedNovaOptions)
        return NormalisedAveraging(plain.amounts, plain.drops, options.mu > 0)

    def _upload_numbers(self, client: Client) -> int:
        """τ_i, from which the server has ‖a_i‖₁."""
        return 1
