"""Hierarchical gradient blending (FedHGB, Algorithm 1) and its two halves, M-GB and C-GB."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from learners.federated.aggregate import Rule, averaging
from learners.federated.fedavg import DROPPED, JUDGEMENTS, LOSSES, FedAvg
from learners.federated.local_update import Trained, subset_size
from learners.federated.options import FedHGBOptions
from learners.federated.plan import LocalPlan
from learners.federated.promises import Upload, Version
from learners.federated.samples import Client
from learners.federated.weights import Behaviour, Blend, behaviour, blend, blended, shares, votes
from learners.networks.late_fusion import FUSION
from learners.training.state import State
from netsim.core.options import Options
from netsim.learner import Metric

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
"""Of a client that could not measure: it has no weight beside those that could."""


class FedHGB(FedAvg):
    """Heads are weighed by how they generalise and overfit (eqs. 13, 15), and so are clients (eq. 14).

    Attributes:
        blends_heads: Whether z follows eqs. (13) and (15), or stays 1/(M + 1).
        blends_clients: Whether p follows eq. (14), or is 1/K.
    """

    Options: ClassVar[type[Options]] = FedHGBOptions
    METRICS: ClassVar[Mapping[str, str]] = {**LOSSES, **BEHAVIOURS, **BLENDING, **DROPPED, **JUDGEMENTS}
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

    def _plan(self) -> LocalPlan:
        return replace(super()._plan(), measured=self._hgb.measured_share if self._measures else None)

    def _head_weights(self, version: Version, modalities: tuple[str, ...]) -> dict[str, float]:
        """What came as z for its own heads, divided by their sum: its steps are no smaller for those it lacks."""
        assert version.head_weights is not None
        own = {head: version.head_weights[head] for head in self._architecture.heads(modalities)}
        if math.isclose(math.fsum(own.values()), 0.0, abs_tol=1e-12):
            return dict.fromkeys(own, 1 / len(own))
        return shares(own)

    def _aggregate(
        self, round: int, before: Version, uploads: Mapping[int, Upload]
    ) -> tuple[State, Mapping[str, float] | None, list[Metric]]:
        """Algorithm 1, lines 9 and 10: the model by eq. (14) and z by eq. (15)."""
        state, heads, _ = super()._aggregate(round, before, uploads)
        if not self._measures:
            return state, heads, []
        assert heads is not None
        opinions = {k: self._opinion(upload.result) for k, upload in uploads.items()}
        if self.blends_heads:
            heads = _voted(heads, [one.weights for one in opinions.values() if one is not None])
        weights = self._client_weights(uploads, list(uploads))
        told = [one for one in (*opinions.values(), weights) if one is not None]
        return (
            state,
            heads,
            [
                *(Metric("modality_weight", z, "" if head == FUSION else head) for head, z in heads.items()),
                Metric("client_weight_max", max(weights.weights.values())),
                Metric("blending_floor_hits", float(sum(one.floored for one in told))),
                Metric("blending_fallbacks", float(sum(one.uniform for one in told))),
            ],
        )

    def _rule(self, round: int, uploads: Mapping[int, Upload]) -> Rule:
        return averaging(lambda holders: self._client_weights(uploads, holders).weights)

    def _client_weights(self, uploads: Mapping[int, Upload], devices: Sequence[int]) -> Blend[int]:
        """How much these clients count, p: eq. (14) or 1/K."""
        if not self.blends_clients:
            return Blend(shares(dict.fromkeys(devices, 1.0)), 0, False)
        behaviours = {}
        for k in devices:
            opinion, measured = self._opinion(uploads[k].result), _measured(uploads[k].result)
            behaviours[k] = NOTHING_KNOWN if opinion is None else blended(opinion.weights, measured)
        return blend(behaviours, self._hgb.blending_sign, self._hgb.blending_floor)

    def _opinion(self, trained: Trained) -> Blend[str] | None:
        """z^k of a client, eq. (13), or uniform; None if it has measured nothing."""
        measured = _measured(trained)
        if not measured:
            return None
        if not self.blends_heads:
            return Blend(dict.fromkeys(measured, 1 / len(measured)), 0, False)
        return blend(measured, self._hgb.blending_sign, self._hgb.blending_floor)

    def apply(self, device: int, round: int, result: Trained | None) -> Sequence[Metric]:
        """See :meth:`FedAvg.apply`; what the client has measured is reported too."""
        metrics = list(super().apply(device, round, result))
        for head, one in _measured(result).items() if result is not None else ():
            modality = "" if head == FUSION else head
            metrics.append(Metric("generalisation", one.generalisation, modality))
            metrics.append(Metric("overfitting", one.overfitting, modality))
        return metrics

    def _upload_numbers(self, client: Client) -> int:
        """Algorithm 1, line 7: z^k of each head, ΔG^k and ΔO^k, as far as they are used."""
        heads = len(self._architecture.heads(client.modalities))
        return heads * self.blends_heads + 2 * self.blends_clients

    def _download_numbers(self) -> int:
        """Algorithm 1, line 4: z."""
        return len(self._architecture.heads(self._architecture.modalities)) * self.blends_heads

    def _measured_samples(self, client: Client) -> int:
        """The subsets S of both kinds of samples, before and after."""
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


def _voted(before: Mapping[str, float], opinions: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Z by eq. (15); a head that none of the round's clients has keeps its share, and the others divide the rest.

    With z = 0 its clients would not train it when they are back, so it would never be heard of again.
    """
    held = [head for head in before if any(head in one for one in opinions)]
    found = votes(opinions, held)
    if found is None:
        return before
    rest = 1.0 - math.fsum(z for head, z in before.items() if head not in held)
    return {head: rest * found[head] if head in held else z for head, z in before.items()}


def _measured(trained: Trained) -> dict[str, Behaviour]:
    """ΔG and ΔO by head, where both are numbers."""
    found = {head: behaviour(before, trained.after[head]) for head, before in trained.before.items()}
    return {head: one for head, one in found.items() if all(map(math.isfinite, one))}
