"""DMML-KD with training balance (DMML-KD, Sections III and IV, Algorithms 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from learners.dmml.balance import balance, gamma, influence
from learners.dmml.dmml_kd import DMMLKD
from learners.dmml.mixture import Mixture
from learners.dmml.options import DMMLKDBalanceOptions
from learners.training.costs import BITS_PER_NUMBER
from netsim.core.options import Options
from netsim.core.streams import derive_seed
from netsim.learner import Metric, Report, Setup
from netsim.world.budget import Budget

BALANCE_METRICS = {
    "gamma": "γ of a modality in the coming round (eq. 19), with the iterations that Algorithm 2 decided",
    "gamma_full": "γ of a modality if nothing were cut, with N^max iterations everywhere",
    "balance_unreachable": "1 where a modality exceeds the slowest's γ with all its devices cut to zero, else 0",
}


@dataclass(frozen=True)
class BalanceReport:
    """What a device tells the cluster head (Algorithm 3, line 15).

    Attributes:
        limit: N^max_{k,t+1}.
        coefficients: ξ_{k,k'}/(φ_{k,k'} + ε) by modality and sender k'.
        iterations: N^m_{k,t} of the round that has ended; sent where φ is taken per iteration.
    """

    limit: int
    coefficients: Mapping[str, Mapping[int, float]]
    iterations: Mapping[str, int]


class DMMLKDBalance(DMMLKD):
    """DMML-KD that trains fast modalities less often, as a cluster head decides after every round.

    A modality whose weights hardly move has little left to learn; it skips iterations until the metric γ of all
    modalities agrees, which also saves the energy of the skipped ones.
    """

    Options: ClassVar[type[Options]] = DMMLKDBalanceOptions
    METRICS: ClassVar[Mapping[str, str]] = {**DMMLKD.METRICS, **BALANCE_METRICS}
    coordinated = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._coefficients: dict[int, dict[str, dict[int, float]]] = {}
        self._decided: dict[int, tuple[int, Mapping[str, int]]] = {}
        self._used: dict[int, Mapping[str, int]] = {}
        self._per_iteration: dict[tuple[str, int, int], float] = {}

    @property
    def _training_options(self) -> DMMLKDBalanceOptions:
        options = self.setup.options
        assert isinstance(options, DMMLKDBalanceOptions)
        return options

    def _iterations(self, device: int, round: int, total: int) -> dict[str, int]:
        """N^m_{k,t}: as decided; N^max in the first round, and where no decision has arrived."""
        iterations = super()._iterations(device, round, total)
        decided_for, decision = self._decided.get(device, (0, {}))
        if decided_for == round:
            iterations = {m: min(total, decision.get(m, total)) for m in iterations}
        self._used[device] = iterations
        return iterations

    def _measure_extractors(
        self,
        modality: str,
        mixture: Mixture,
        before: torch.Tensor,
        sent: torch.Tensor,
        after: torch.Tensor,
        metrics: Mapping[int, list[Metric]],
    ) -> None:
        """As in DMML, and φ_{k,k'} = ‖w_k',t − W_{k,t−1}‖/‖W_{k,t}‖ of everybody who was heard."""
        super()._measure_extractors(modality, mixture, before, sent, after, metrics)
        norms = torch.linalg.vector_norm(after, dim=1)
        for index, (k, weights) in enumerate(mixture.rows.items()):
            heard = sent[[mixture.place[other] for other in weights]]
            distances = torch.linalg.vector_norm(heard - before[index], dim=1)
            phi = dict(zip(weights, (distances / norms[index]).tolist(), strict=True))
            self._coefficients.setdefault(k, {})[modality] = {
                other: weights[other] / (phi[other] + self._training_options.epsilon) for other in weights
            }

    def report(self, device: int, round: int, budget: Budget) -> Report:
        """N^max of the next round, as the battery allows, and ξ/(φ + ε)."""
        if device not in self._members:
            return Report(0.0, None)
        report = BalanceReport(
            self._affordable(device, budget),
            dict(self._coefficients.get(device, {})),
            self._used.get(device, {}),
        )
        count = 1 + sum(len(senders) for senders in report.coefficients.values())
        if self._training_options.variation == "iteration":
            count += len(report.iterations)
        return Report(self._size_bits(count), report)

    def decide(
        self, head: int, round: int, reports: Mapping[int, Any]
    ) -> tuple[Mapping[int, Report], Sequence[Metric]]:
        """Algorithm 2 over the devices that have reported."""
        known: dict[int, BalanceReport] = {k: r for k, r in sorted(reports.items()) if r is not None}
        weights = {}
        for m in self._costs.flops:
            coefficients: Mapping[int, Mapping[int, float]] = {
                k: r.coefficients[m] for k, r in known.items() if m in r.coefficients
            }
            if self._training_options.variation == "iteration":
                coefficients = self._per_iteration_of(m, coefficients, known)
            owners = [k for k in known if m in self._members[k].modalities]
            if coefficients and owners:
                weights[m] = influence(coefficients, owners)
        limits = {k: r.limit for k, r in known.items()}
        result = balance(
            limits,
            {k: self._members[k].modalities for k in known},
            weights,
            {m: derive_seed(self.setup.seed, "balance", m, round) for m in weights},
        )
        metrics = []
        for m in weights:
            metrics += [
                Metric("gamma", gamma(result.iterations[m], weights[m]), m),
                Metric("gamma_full", gamma(limits, weights[m]), m),
                Metric("balance_unreachable", float(m in result.unreachable), m),
            ]
        decisions = {}
        for k in known:
            decision = {m: counts[k] for m, counts in result.iterations.items() if k in counts}
            decisions[k] = Report(self._size_bits(len(decision)), decision)
        return decisions, metrics

    def _per_iteration_of(
        self,
        modality: str,
        coefficients: Mapping[int, Mapping[int, float]],
        known: Mapping[int, BalanceReport],
    ) -> dict[int, dict[int, float]]:
        """ξ/(φ/N + ε) ≈ N ξ/φ, with each sender's own N of the round; where that was 0, the last one known."""
        result: dict[int, dict[int, float]] = {}
        for k, row in coefficients.items():
            for other, value in row.items():
                used = known[other].iterations.get(modality, 0) if other in known else 0
                if used > 0:
                    self._per_iteration[modality, k, other] = used * value
                if (modality, k, other) in self._per_iteration:
                    result.setdefault(k, {})[other] = self._per_iteration[modality, k, other]
        return result

    def accept(self, device: int, round: int, decision: Mapping[str, int] | None) -> None:
        """Keep the decision for the next round; without one the device trains as much as it can."""
        if decision is not None:
            self._decided[device] = (round + 1, decision)

    def _size_bits(self, count: int) -> float:
        return float(BITS_PER_NUMBER * count) if self._training_options.coordination == "sent" else 0.0
