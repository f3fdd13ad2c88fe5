"""Hierarchical gradient blending (FedHGB, Algorithm 1) and its two halves, M-GB and C-GB."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from learners.algorithms.fedavg import DROPPED, EVALUATION, LOSSES, WITH_SERVER, FedAvg
from learners.networks.late_fusion import FUSION
from learners.training.late_fusion.aggregate import aggregate, averaging
from learners.training.late_fusion.averaging import Averaging, Combined
from learners.training.late_fusion.local_update import subset_size
from learners.training.late_fusion.options import FedHGBOptions, Sign
from learners.training.late_fusion.weights import (
    Behaviour,
    Blend,
    blend,
    blended,
    effective_number,
    expected,
    shares,
    votes,
)
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
    "effective_clients": "1/Σp²: so many clients with equal weights would average out as much noise (eq. 14)",
    "effective_share": "that number over the number of clients that were aggregated, 1/(K Σp²)",
    "not_generalising": "share of the round's clients whose ΔG in eq. (14) is not above zero",
    "blending_floor_hits": "how many ΔO of the round were below blending_floor and taken as that",
    "blending_fallbacks": "how often nothing could be told apart and weights were uniform: clients, and the server",
}
NOTHING_KNOWN = Behaviour(0.0, math.inf)
"""Of a client that could not measure: it has no weight where others could."""
PSEUDO_OBSERVATIONS = 2.0
"""So many rounds of the population's mean are added to a client's own where expectations are estimated (ours)."""
FEW = 0.25
"""Where a smaller share of the clients counts, mean over the rounds, a run ends with a warning: K/4 clients."""

Heads = Mapping[str, Behaviour]
"""What a client measured in a round, by head."""


@dataclass(frozen=True)
class Blending(Averaging):
    """Algorithm 1, lines 9 and 10: the model by eq. (14) and z by eq. (15).

    The paper's own rule knows the present round of each client. With a longer window and pseudo-observations ΔG and
    ΔO² are the estimated expectations of Theorem 1.

    Attributes:
        heads: Whether z follows eqs. (13) and (15), or stays 1/(M + 1).
        clients: Whether p follows eq. (14), or is 1/K.
        sign: What a risen validation loss counts for.
        floor: Smallest ΔO that is told from none [loss units].
        lift: Added to every ΔG [loss units].
        window: Of how many of a client's own rounds, the last ones, the means are.
        prior: Pseudo-observations of the population's mean.
    """

    heads: bool
    clients: bool
    sign: Sign
    floor: float
    lift: float
    window: int
    prior: float

    def blend(self, round: int, before: Model, uploads: Mapping[int, Upload]) -> Combined:
        """Return the server's next model; see :meth:`Averaging.blend`."""
        if not (self.heads or self.clients):
            return super().blend(round, before, uploads)
        memory = self._remembered(before.memory or {}, uploads)
        opinions = self._opinions({k: memory[k] for k in uploads if k in memory})
        found = self._clients({k: memory[k] for k in opinions}, opinions)

        def weigh(holders: Sequence[int]) -> Blend[int]:
            """Return how much these clients count, p: eq. (14) or 1/K."""
            if not self.clients:
                return Blend(shares(dict.fromkeys(holders, 1.0)), 0, False)
            known = {k: found.get(k, NOTHING_KNOWN) for k in holders}
            return blend(known, self.sign, self.floor, self.lift)

        rule = averaging(lambda holders: weigh(holders).weights)
        updates = {k: upload.update for k, upload in uploads.items()}
        parts = aggregate(before.parts, updates, rule, self.weigh)
        z = before.head_weights
        if self.heads:
            z = voted(z, [one.weights for one in opinions.values()])
        weights = weigh(list(uploads))
        told: list[Blend[Any]] = [*opinions.values(), weights]
        effective = effective_number(weights.weights.values())
        metrics = [
            *(Metric("modality_weight", own, "" if head == FUSION else head) for head, own in z.items()),
            Metric("client_weight_max", max(weights.weights.values())),
            Metric("effective_clients", effective),
            Metric("effective_share", effective / len(uploads)),
            Metric("blending_floor_hits", float(sum(one.floored for one in told))),
            Metric("blending_fallbacks", float(sum(one.uniform for one in told))),
        ]
        if found:
            lost = sum(one.generalisation <= 0 for one in found.values())
            metrics.append(Metric("not_generalising", lost / len(found)))
        return Combined(parts, z, metrics, memory)

    def _remembered(
        self, before: Mapping[int, Sequence[Heads]], uploads: Mapping[int, Upload]
    ) -> dict[int, Sequence[Heads]]:
        """Return each client's last rounds in which it could measure, this one last if it could in this one."""
        now = {k: upload.trained.behaviours for k, upload in uploads.items()}
        measured = {k: [*before.get(k, ()), own][-self.window :] for k, own in now.items() if own}
        return {**{k: own for k, own in before.items() if k not in now}, **measured}

    def _opinions(self, observed: Mapping[int, Sequence[Heads]]) -> dict[int, Blend[str]]:
        """Return z^k of each client over the heads that it has just measured, eq. (13), or uniform."""
        if not self.heads:
            return {
                k: Blend(dict.fromkeys(own[-1], 1 / len(own[-1])), 0, False) for k, own in observed.items()
            }
        estimates = {
            head: expected(
                {
                    k: [one[head] for one in own if head in one]
                    for k, own in observed.items()
                    if head in own[-1]
                },
                self.prior,
            )
            for head in {head: None for own in observed.values() for head in own[-1]}
        }
        return {
            k: blend({head: estimates[head][k] for head in own[-1]}, self.sign, self.floor, self.lift)
            for k, own in observed.items()
        }

    def _clients(
        self, observed: Mapping[int, Sequence[Heads]], opinions: Mapping[int, Blend[str]]
    ) -> dict[int, Behaviour]:
        """Return ΔG^k and ΔO^k of each client's blended loss, with the z^k of now also for the rounds before."""
        told = {
            k: [blended(opinions[k].weights, one) for one in own if opinions[k].weights.keys() <= one.keys()]
            for k, own in observed.items()
        }
        return expected(told, self.prior) if told else {}


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

    @property
    def _expects(self) -> bool:
        return self._hgb.blending_estimate == "expected"

    def _method(self) -> Averaging:
        plain, options = super()._method(), self._hgb
        return Blending(
            plain.amounts,
            plain.drops,
            self.blends_heads,
            self.blends_clients,
            options.blending_sign,
            options.blending_floor,
            options.lift,
            options.blending_window if self._expects else 1,
            PSEUDO_OBSERVATIONS if self._expects else 0.0,
        )

    def _make_plan(self) -> LocalPlan:
        return replace(super()._make_plan(), measured=self._hgb.measured_share if self._measures else None)

    def notes(self, means: Mapping[str, float]) -> Sequence[str]:
        """Warn of an aggregation that few clients have a say in."""
        share = means.get("effective_share", 1.0)
        if share >= FEW:
            return ()
        return [
            f"learner: in a round {means['effective_clients']:.1f} clients counted, {100 * share:.0f} % of those that "
            "answered (eq. 14; metric effective_clients); let them measure on more samples (learner.validation_share, "
            "measured_share), take smaller or fewer steps (learner.learning_rate, local_epochs), or set "
            "learner.blending_estimate: expected"
        ]

    def _head_weights(self, work: TaskGraph, round: int, model: Model, client: Client) -> Any:
        heads = self._federation.architecture.heads(client.modalities)
        return work.together(own_shares, {"z": model.head_weights, "heads": heads}, round)

    def _upload_numbers(self, client: Client) -> int:
        """Algorithm 1, line 7: z^k of each head, ΔG^k and ΔO^k, as far as they are used.

        For expectations the server works z^k out, from ΔG and ΔO of each head.
        """
        heads = len(self._federation.architecture.heads(client.modalities))
        if self._expects and self.blends_heads:
            return 2 * heads
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
