"""DMML-KD with training balance (DMML-KD, Sections III and IV, Algorithms 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from learners.algorithms.dmml_kd import DMMLKD
from learners.training.costs import BITS_PER_NUMBER
from learners.training.decomposed.balance import balance, gamma, influence, mean_variation
from learners.training.decomposed.metrics import BALANCE
from learners.training.decomposed.options import DMMLKDBalanceOptions
from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed
from netsim.learner import Cost, Metric, Report, Setup, Step

if TYPE_CHECKING:
    from netsim.core.budget import Budget
    from netsim.core.options import Options
    from netsim.work.graph import TaskGraph
    from netsim.work.job import Inputs

Coefficients = Mapping[str, Mapping[int, float]]
"""ξ_{k,k'}/(φ_{k,k'} + ε) by modality and sender k'."""


class BalanceReport(NamedTuple):
    """The report of a device to the cluster head (Algorithm 3, line 15).

    Attributes:
        limit: N^max_{k,t+1}.
        coefficients: ξ_{k,k'}/(φ_{k,k'} + ε) by modality and sender k'; a future of it until it is asked for.
    """

    limit: int
    coefficients: Any


class Sent(NamedTuple):
    """The content of a device's messages.

    Attributes:
        parts: Its model.
        iterations: N^m of its round, which goes with the model where φ is taken per iteration.
    """

    parts: Any
    iterations: Mapping[str, int]


class Balance(NamedTuple):
    """The part of a device's state that its next report is made of.

    Attributes:
        iterations: N^m of the local update since the last aggregation; empty where there was none.
        size: How many coefficients it has.
        coefficients: Those of the last round, a future.
        known: Those per iteration that it knew last of each sender, a future.
    """

    iterations: Mapping[str, int]
    size: int
    coefficients: Any
    known: Any


class PerIteration(NamedTuple):
    """Coefficients with φ per iteration.

    Attributes:
        coefficients: Of the senders that were heard.
        known: The last known ones of all senders.
    """

    coefficients: Coefficients
    known: Coefficients


class DMMLKDBalance(DMMLKD):
    """DMML-KD that trains fast modalities less often, as a cluster head decides after every round.

    A modality whose weights hardly move has little left to learn; it skips iterations until the metric γ of all
    modalities agrees, which also saves the energy of the skipped ones.
    """

    Options: ClassVar[type[Options]] = DMMLKDBalanceOptions
    METRICS: ClassVar[Mapping[str, str]] = {**DMMLKD.METRICS, **BALANCE}
    SUITS = frozenset({"decentralized"})
    coordinated = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if self._model.codec is not None:
            raise ScenarioError(
                "learner.compression: dmml_kd_balance measures how far neighbours' models are, and needs them as they "
                "are; use dmml_kd, or compression none"
            )
        self._first_variations: dict[str, float] = {}

    @property
    def _training_options(self) -> DMMLKDBalanceOptions:
        options = self.setup.options
        assert isinstance(options, DMMLKDBalanceOptions)
        return options

    @property
    def _epsilon(self) -> float:  # type: ignore[override]
        return self._training_options.epsilon

    @property
    def _counts_iterations(self) -> bool:
        """Return whether φ is taken per iteration."""
        return self._training_options.variation == "iteration"

    def _iterations(self, device: int, total: int, plan: Any) -> dict[str, int]:
        """Return N^m_{k,t}: as decided; N^max in the first round, and where no decision has arrived."""
        iterations = super()._iterations(device, total, plan)
        return {m: min(total, plan.get(m, total)) for m in iterations} if plan else iterations

    def _bits(self, modalities: Sequence[str]) -> float:
        """Return the size of a message; where φ is taken per iteration it says how many there were [bit]."""
        return super()._bits(modalities) + (
            self._size_bits(len(modalities)) if self._counts_iterations else 0
        )

    def train(self, work: TaskGraph, node: int, round: int, state: Any, cost: Cost) -> Step:
        """Order the local update, and note how often each modality takes part in it."""
        step = super().train(work, node, round, state, cost)
        if step.state is None:
            return step
        kept = state.balance or Balance({}, 0, {}, {})
        trained = step.state._replace(balance=kept._replace(iterations=cost.iterations))
        return step._replace(state=trained, outbox=Sent(step.outbox, cost.iterations))

    def aggregate(
        self, work: TaskGraph, node: int, round: int, state: Any, arrived: Mapping[int, Any]
    ) -> Step:
        """Order the mixing as in DMML, and φ_{k,k'} of everybody who was heard."""
        if state is None:
            return Step(state)
        mixed, _ = self._mix(work, node, round, state, {k: sent.parts for k, sent in arrived.items()}, {})
        kept = state.balance or Balance({}, 0, {}, {})
        senders = {node: kept.iterations, **{k: sent.iterations for k, sent in arrived.items()}}
        coefficients, known = mixed["coefficients"], kept.known
        if self._counts_iterations:
            inputs = {"coefficients": coefficients, "iterations": senders, "known": known}
            counted = work.together(per_iteration, inputs, round)
            coefficients, known = counted["coefficients"], counted["known"]
        balance = Balance({}, self._count(node, tuple(arrived)), coefficients, known)
        return Step(
            state._replace(parts=mixed["parts"], before=None, balance=balance), metrics=mixed["metrics"]
        )

    def _count(self, device: int, senders: Sequence[int]) -> int:
        """Return how many coefficients ``device`` has of itself and ``senders``."""
        hood = self._neighbourhood.value
        return sum(
            len(hood.heard(m, device, senders, self._met.get(device)))
            for m in self._shares[device].modalities
            if self._model.initial[f"trunk/{m}"].layout.weights
        )

    def report(self, work: TaskGraph, device: int, round: int, state: Any, budget: Budget) -> Report:
        """Return N^max of the next round, as the battery allows, and ξ/(φ + ε)."""
        if state is None:
            return Report(0.0, None)
        report = BalanceReport(self._affordable(device, budget), state.balance.coefficients)
        return Report(self._size_bits(1 + state.balance.size), report)

    def decide(
        self, work: TaskGraph, head: int, round: int, reports: Mapping[int, Any]
    ) -> tuple[Mapping[int, Report], Sequence[Metric]]:
        """Return what Algorithm 2 makes of the reports; the clock waits for what was learnt."""
        known: dict[int, BalanceReport] = {
            k: report for k, report in sorted(work.value(dict(reports)).items()) if report is not None
        }
        weights = {}
        for m in self._model.costs.flops:
            coefficients = {k: r.coefficients[m] for k, r in known.items() if m in r.coefficients}
            owners = [k for k in known if m in self._shares[k].modalities]
            if coefficients and owners:
                weights[m] = self._relative(m, influence(coefficients, owners))
        limits = {k: r.limit for k, r in known.items()}
        result = balance(
            limits,
            {k: self._shares[k].modalities for k in known},
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

    def _relative(self, modality: str, weights: dict[int, float]) -> dict[int, float]:
        """Return S of ``modality``, with φ in units of the first one that the heads saw if the scenario says so."""
        if self._training_options.variation_reference == "none" or not any(weights.values()):
            return weights
        first = self._first_variations.setdefault(modality, mean_variation(weights))
        return {k: first * weight for k, weight in weights.items()}

    def _size_bits(self, count: int) -> float:
        return float(BITS_PER_NUMBER * count) if self._training_options.coordination == "sent" else 0.0


def per_iteration(inputs: Sequence[Inputs]) -> list[PerIteration]:
    """Return ξ/(φ/N + ε) ≈ N ξ/φ with each sender's own N; where that was 0, the last one known.

    Args:
        inputs: Of each device: ``coefficients`` of the round; ``iterations``, N^m by sender; and what was ``known``.
    """
    found = []
    for one in inputs:
        now: dict[str, dict[int, float]] = {}
        known = {m: dict(row) for m, row in one["known"].items()}
        for m, row in one["coefficients"].items():
            memory = known.setdefault(m, {})
            for k, value in row.items():
                used = one["iterations"][k].get(m, 0)
                if used > 0:
                    memory[k] = used * value
                if k in memory:
                    now.setdefault(m, {})[k] = memory[k]
        found.append(PerIteration(now, known))
    return found
