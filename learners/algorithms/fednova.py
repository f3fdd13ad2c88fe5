"""FedNova (Wang et al. 2020): a client's step counts the same however many small steps it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from learners.algorithms.fedavg import WITH_SERVER, FedAvg
from learners.training.late_fusion.aggregate import Rule, normalised_averaging
from learners.training.late_fusion.averaging import Averaging
from learners.training.late_fusion.options import FedNovaOptions
from learners.training.late_fusion.weights import effective_steps

if TYPE_CHECKING:
    from learners.training.late_fusion.exchange import Upload
    from learners.training.late_fusion.federation import Client
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
        """Return the next numbers of a part; see :meth:`Averaging.rule`."""
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
        return NormalisedAveraging(
            plain.amounts, plain.drops, options.mu > 0, optimizer=plain.optimizer, local=plain.local
        )

    def _upload_numbers(self, client: Client) -> int:
        """Return one: τ_i, from which the server has ‖a_i‖₁."""
        return 1
