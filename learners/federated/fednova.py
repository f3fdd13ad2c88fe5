"""FedNova (Wang et al. 2020): a client's step counts the same however many small steps it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from learners.federated.aggregate import Rule, normalised_averaging
from learners.federated.fedavg import FedAvg
from learners.federated.options import FedNovaOptions
from learners.federated.promises import Upload
from learners.federated.samples import Client
from learners.federated.weights import effective_steps
from netsim.core.options import Options


class FedNova(FedAvg):
    """w ← w − τ_eff Σ p_i (w − w_i)/‖a_i‖₁, each part as if its holders were all the clients there are.

    τ_eff is Σ p_i ‖a_i‖₁, and with a proximal term Σ p_i τ_i, as in the authors' code.
    """

    Options: ClassVar[type[Options]] = FedNovaOptions

    def _rule(self, round: int, uploads: Mapping[int, Upload]) -> Rule:
        options = self._options
        assert isinstance(options, FedNovaOptions)
        norms = {k: upload.result.normaliser for k, upload in uploads.items()}
        steps = {k: float(upload.result.steps) for k, upload in uploads.items()}
        amounts = steps if options.mu else norms
        return normalised_averaging(
            self._data_weights, norms, lambda weights: effective_steps(weights, amounts)
        )

    def _upload_numbers(self, client: Client) -> int:
        """τ_i, from which the server has ‖a_i‖₁."""
        return 1
