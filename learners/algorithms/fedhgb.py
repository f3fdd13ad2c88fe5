"""Hierarchical gradient blending (FedHGB, Algorithm 1) and its two halves, M-GB and C-GB."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from learners.algorithms.fedavg import DROPPED, EVALUATION, LOSSES, WITH_SERVER, FedAvg
from learners.networks.late_fusion import FUSION
from learners.training.late_fusion.aggregate import Rule, averaging
from learners.training.late_fusion.averaging import Averaging, Combined
from learners.training.late_fusion.local_update import Trained, subset_size
from learners.training.late_fusion.options import FedHGBOptions, Sign
from learners.training.late_fusion.report import behaviours
from learners.training.late_fusion.weights import Behaviour, Blend, blend, blended, shares, votes
from netsim.learner import Metric

if TYPE_CHECKING:
    from learners.training.late_fusion.exchange import Model, Upload
    from learners.training.late_fusion.federation import Client
    from learners.training.late_fusion.plan import LocalPlan
    from netsim.core.options import Options
    from netsim.work.graph import TaskGraph

BEHAVIOURS = {
    "generalisation": "ΔG: how far a head's validation loss has fallen in a client's round; the fused head's has no "
    "modality",
    "overfitting": "ΔO: how far the gap from a head's training loss to its validation loss has widened in that round",
}
BLENDING = {
    "modality_weight": "z: how much a head's loss counts in the next round (eq. 15); the fused head's has no modality",
    "client_weight_max": "largest weight p of a client in the round's aggregation (eq. 14)",
    "blending_floor_hits": "how many ΔO of the round were below blending_floor and taken as that",
    "blending_fallbacks": "how often nothing could be told apart and weights were uniform: clients, and the server",
}
NOTHING_KNOWN = Behaviour(0.0, math.inf)
"""Of a client that could not measure: it has no weight where others could."""


@dataclass(frozen=True)
class Blending(Averaging):
    """Algorithm 1, lines 9 and 10: the model by eq. (14) and z by eq. (15).

    Attributes:
        heads: Whether z follows eqs. (13) and (15), or stays 1/(M + 1).
        clients: Whether p follows eq. (14), or is 1/K.
        sign: What a risen validation loss counts for.
        floor: Smallest ΔO that is told from none [loss units].
    """

    heads: bool
    clients: bool
    sign: Sign
    floor: float

    def blend(self, round: int, before: Model, uploads: Mapping[int, Upload]) -> Combined:
        """Return the server's next model; see :meth:`Averaging.blend`."""
        plain = super().blend(round, before, uploads)
        if not (self.heads or self.clients):
            return plain
        opinions = {k: self.opinion(upload.trained) for k, upload in uploads.items()}
        z = before.head_weights
        if self.heads:
            z = voted(z, [one.weights for one in opinions.values() if one is not None])
        weights = self._client_weights(uploads, list(uploads))
        told = [one for one in (*opinions.values(), weights) if one is not None]
        return Combined(
            plain.parts,
            z,
            [
                *(Metric("modality_weight", own, "" if head == FUSION else head) for head, own in z.items()),
                Metric("client_weight_max", max(weights.weights.values())),
                Metric("blending_floor_hits", float(sum(one.floored for one in told))),
                Metric("blending_fallbacks", float(sum(one.uniform for one in told))),
            ],
        )

    def rule(self, round: int, uploads: Mapping[int, Upload]) -> Rule:
        """Return the next numbers of a part; see :meth:`Averaging.rule`."""
        return averaging(lambda holders: self._client_weights(uploads, holders).weights)

    def opinion(self, trained: Trained) -> Blend[str] | None:
        """Return z^k of a client, eq. (13), or uniform; None if it has measured nothing."""
        measured = behaviours(trained)
        if not measured:
            return None
        if not self.heads:
            return Blend(dict.fromkeys(measured, 1 / len(measured)), 0, False)
        return blend(measured, self.sign, self.floor)

    def _client_weights(self, uploads: Mapping[int, Upload], devices: Sequence[int]) -> Blend[int]:
        """Return how much these clients count, p: eq. (14) or 1/K."""
        if not self.clients:
            return Blend(shares(dict.fromkeys(devices, 1.0)), 0, False)
        found = {}
        for k in devices:
            trained = uploads[k].trained
            opinion = self.opinion(trained)
            found[k] = NOTHING_KNOWN if opinion is None else blended(opinion.weights, behaviours(trained))
        return blend(found, self.sign, self.floor)


class FedHGB(FedAvg):
    """Heads are weighed by how they generalise and overfit (eqs. 13, 15), and so are clients (eq. 14).

    Attributes:
        blends_heads: Whether z follows eqs. (13) and (15), or stays 1/(M + 1).
        blends_clients: Whether p follows eq. (14), or is 1/K.
    """

    Options: ClassVar[type[Options]] = FedHGBOptions
    METRICS: ClassVar[Mapping[str, str]] = {**LOSSES, **BEHAVIOURS, **BLENDING, **DROPPED, **EVALUATION}
    SUITS = WITH_SERVER
    blends_heads: ClassVar[bool] = True
    blends_clients: ClassVar[bool] = True

    @property
    def _hgb(self) -> FedHGBOptions:
        options = self._options
        assert isinstance(options, FedHGBOptions)
        return options

    @property
    def _measures(self) -> bool:
        return self.blends_heads or self.blends_clients

    def _method(self) -> Averaging:
        plain, options = super()._method(), self._hgb
        return Blending(
            plain.amounts,
            plain.drops,
            self.blends_heads,
            self.blends_clients,
            options.blending_sign,
            options.blending_floor,
        )

    def _make_plan(self) -> LocalPlan:
        return replace(super()._make_plan(), measured=self._hgb.measured_share if self._measures else None)

    def _head_weights(self, work: TaskGraph, round: int, model: Model, client: Client) -> Any:
        heads = self._federation.architecture.heads(client.modalities)
        return work.together(own_shares, {"z": model.head_weights, "heads": heads}, round)

    def _upload_numbers(self, client: Client) -> int:
        """Algorithm 1, line 7: z^k of each head, ΔG^k and ΔO^k, as far as they are used."""
        heads = len(self._federation.architecture.heads(client.modalities))
        return heads * self.blends_heads + 2 * self.blends_clients

    def _download_numbers(self) -> int:
        """Algorithm 1, line 4: z."""
        architecture = self._federation.architecture
        return len(architecture.heads(architecture.modalities)) * self.blends_heads

    def _measured_samples(self, client: Client) -> int:
        """Count the samples of the subsets S of both kinds, before and after."""
        if not self._measures:
            return 0
        share = self._hgb.measured_share
        return 2 * sum(subset_size(len(rows), share) for rows in (client.train, client.validation))


class MGB(FedHGB):
    """Only the heads are blended; all clients count the same."""

    blends_clients: ClassVar[bool] = False


class CGB(FedHGB):
    """Only the clients are blended; all heads count the same."""

    blends_heads: ClassVar[bool] = False


def own_shares(inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Divide ``z`` of a client's own ``heads`` by its sum, so that steps are no smaller for those that it lacks."""
    found = []
    for one in inputs:
        own = {head: one["z"][head] for head in one["heads"]}
        nothing = math.isclose(math.fsum(own.values()), 0.0, abs_tol=1e-12)
        found.append(dict.fromkeys(own, 1 / len(own)) if nothing else shares(own))
    return found


def voted(before: Mapping[str, float], opinions: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Z by eq. (15); a head that none of the round's clients has keeps its share, and the others divide the rest.

    With z = 0 its clients would not train it when they are back, so it would never be heard of again.
    """
    held = [head for head in before if any(head in one for one in opinions)]
    found = votes(opinions, held)
    if found is None:
        return before
    rest = 1.0 - math.fsum(z for head, z in before.items() if head not in held)
    return {head: rest * found[head] if head in held else z for head, z in before.items()}
