"""Decentralized multi-modal learning (DMML-KD, Sections II-A to II-C); see docs/learners/dmml_kd.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import networkx as nx
import torch

from learners.training.decomposed.device_costs import DeviceCosts
from learners.training.decomposed.metrics import EVALUATED, LOSSES, VARIATIONS
from learners.training.decomposed.mixture import Neighbourhood
from learners.training.decomposed.model import SharedModel, module_of
from learners.training.decomposed.options import (
    BatteryOptions,
    DMMLOptions,
    FusionOptions,
    TrainingOptions,
    check_place,
)
from learners.training.decomposed.plan import LocalCost, LossWeights, TrainingPlan
from learners.training.decomposed.server import amounts_by_part, averaged, merged, received
from learners.training.decomposed.tasks import Tasks
from learners.training.evaluation import judge_of, with_judged
from learners.training.optimizers import Rule
from learners.training.task import Task, complete_share, load_task
from netsim.learner import Cost, Kept, Learner, Message, Setup, Step
from netsim.work.future import Future, Shared

if TYPE_CHECKING:
    from learners.networks.architecture import GeneratorShape
    from netsim.core.budget import Budget
    from netsim.core.options import Options
    from netsim.work.graph import TaskGraph


class DeviceState(NamedTuple):
    """The state of a device. The server's state is its parts alone.

    Attributes:
        parts: Its model: W_{k,t} after aggregation, w_{k,t} after training.
        memories: What its optimizers remember; it is never sent.
        before: W_{k,t-1}, between training and aggregation; None where nothing has been trained since.
        balance: What training balance needs to know; see :mod:`learners.algorithms.dmml_kd_balance`.
        memory: What it remembers of compressed messages.
    """

    parts: Any
    memories: Any
    before: Any = None
    balance: Any = None
    memory: Any = None


class DMML(Learner):
    """Decentralized multi-modal learning: train on the task's loss, exchange models with neighbours, mix.

    A device trains the parts of the modalities that it owns, sends them to the neighbours that own them too,
    and mixes what arrives with Metropolis-Hastings weights of the graph that the part's owners form. With an edge
    server devices exchange the same parts with it, and it averages each over those that sent it.
    """

    Options: ClassVar[type[Options]] = DMMLOptions
    METRICS: ClassVar[Mapping[str, str]] = {**LOSSES, **VARIATIONS, **EVALUATED}
    SUITS = frozenset({"decentralized", "server", "hierarchical"})
    limits_steps = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        check_place(setup.options, setup.has_server)
        self.METRICS = with_judged(self.METRICS, setup.evaluation)  # type: ignore[misc]
        self._task: Task | None = load_task(setup, self._training_options.modalities)
        self._factor_after = self._training_options.schedule.factors(setup.rounds)
        self._modalities = self._task.modalities
        self._model = SharedModel(
            setup, self._task, self._decomposes(self._task.modalities), self._generator_shape()
        )
        self._shares = {
            k: complete_share(k, share) for k, share in enumerate(self._task.shares) if share.modalities
        }
        if (codec := self._model.codec) and codec.gossips:
            # Copies of neighbours' models need every message, in order.
            self.takes_late = self.takes_motion = False
            self.bound_by = "learner.compression"
        self._device_costs = DeviceCosts(
            self._model, self._shares, self._training_options, self._generator_iterations()
        )
        self._held = {k: len(share.samples) for k, share in enumerate(self._task.shares)}
        self._data_facts = self._task.facts
        self._parcels: dict[int, tuple[tuple[int, ...], list[Message]]] = {}
        self._plans: dict[int, TrainingPlan] = {}
        self._costs: dict[int, LocalCost] = {}
        self._met: dict[int, Mapping[int, Sequence[int]]] = {}

    # What the three algorithms differ in.

    @property
    def _training_options(self) -> TrainingOptions:
        options = self.setup.options
        assert isinstance(options, TrainingOptions)
        return options

    def _generator_shape(self) -> GeneratorShape | None:
        return None

    def _decomposes(self, modalities: Sequence[str]) -> bool:
        """Return whether features are split in two; of one modality, with no generator, both halves are one."""
        options = self._training_options
        return not isinstance(options, FusionOptions) or (
            options.architecture == "decomposed" and len(modalities) > 1
        )

    def _training_plan(self, round: int = 1) -> TrainingPlan:
        options = self._training_options
        return TrainingPlan(
            LossWeights(),
            self._rule,
            options.batch_size,
            self.setup.evaluation.batch_size,
            options.last_batch,
            bf16=self.setup.precision == "bf16",
        )

    @property
    def _rule(self) -> Rule:
        return Rule.of(self._training_options)

    def _generator_iterations(self) -> int:
        return 0

    def _iterations(self, device: int, total: int, plan: Any) -> dict[str, int]:
        """Return N^m of ``device``: without balance every modality takes part in every iteration."""
        return dict.fromkeys(self._shares[device].modalities, total)

    def _bits(self, modalities: Sequence[str]) -> float:
        """Return the size of a message with the parts of ``modalities`` [bit]."""
        return self._model.sent_bits(modalities)

    _epsilon: float | None = None
    """ε of the balance metric; None where there is no balance."""

    # What it is built from.

    def owners(self) -> Mapping[str, frozenset[int]]:
        """Return which devices own each modality."""
        return {
            m: frozenset(k for k, share in self._shares.items() if m in share.modalities)
            for m in self._modalities
        }

    def sample_counts(self) -> Mapping[int, int]:
        """Return what each device holds; with a server those that train nothing hold nothing."""
        held = self._held
        return {k: held[k] for k in self._shares} if self.setup.has_server else held

    def training_memory_bytes(self, device: int) -> float:
        """Return the memory of a local update; see :meth:`SharedModel.training_memory_bytes`."""
        share = self._shares.get(device)
        if share is None:
            return 0.0
        full = self._training_options.batch_size
        batch = min(full, len(share.samples))
        return self._model.training_memory_bytes(share.modalities, batch, full, self._rule)

    def facts(self) -> Mapping[str, Any]:
        """Return data set, sizes and costs, for the run's metadata."""
        return {
            "data": self._data_facts,
            "iterations_per_round": {k: self._device_costs.iteration_limit(k) for k in sorted(self._shares)},
            "samples": {k: len(share.samples) for k, share in sorted(self._shares.items())},
            **self._model.facts(),
        }

    def prepare(self, graph: nx.Graph) -> None:
        """Find the mixing weights, and bring the data to where the work is done."""
        super().prepare(graph)
        assert self._task is not None, "prepare() is called once"
        modalities = {k: share.modalities for k, share in self._shares.items()}
        if not self.setup.has_server:
            self._neighbourhood = Shared(Neighbourhood(graph, modalities, self._modalities))
        self._model.require_memory(list(modalities.values()), self._rule, self.setup.memory_bytes)
        store = self._task.store(self.setup.torch_device, self._shares)
        rows = self._task.test_rows(self.setup.evaluation.samples, self.setup.seed)
        labels = {k: self._task.dataset.labels[share.samples] for k, share in self._shares.items()}
        judge = judge_of(self.setup.evaluation, self._task.dataset.classes, labels)
        self._tasks = Tasks(self.setup, self._model, store, torch.as_tensor(rows, dtype=torch.int64), judge)
        self._task = None  # the store has the data; where the work is done elsewhere, it is there only

    def meets(self, node: int, round: int, neighbours: Mapping[int, Sequence[int]]) -> None:
        """Note whose weights the next aggregation has."""
        self._met[node] = neighbours

    # What a node does.

    def first(self, work: TaskGraph, node: int) -> Step:
        """Return the first weights, the same everywhere."""
        if self.setup.is_server(node):
            parts = self._model.first(self._modalities)
            return Step(parts, parts)
        share = self._shares.get(node)
        return Step(DeviceState(self._model.first(share.modalities), {}) if share else None)

    def cost(self, node: int, round: int, peers: Sequence[int], budget: Budget, plan: Any) -> Cost:
        """Return N^m iterations of each modality and the generator's, as many as the battery allows (eq. 20).

        The server's sums are two FLOPs per number of each participant, as if all had answered.
        """
        if self.setup.is_server(node):
            asked = sum(self._model.sent_numbers(self._modalities_of(k)) for k in peers)
            return Cost({}, {"aggregation": 2.0 * asked})
        if node not in self._shares:
            return Cost()
        total = budget.at_most(self._affordable(node, budget))
        iterations = self._iterations(node, total, plan)
        known = self._costs.get(node)  # most devices do the same round after round
        if known is None or known.total_iterations != total or known.iterations != iterations:
            flops = self._device_costs.flops(node, iterations, total)
            if self._model.codec is not None:
                flops["compression"] = self._model.compression_flops(self._shares[node].modalities)
            known = self._costs[node] = LocalCost(iterations, flops, total)
        return known

    def messages(
        self, node: int, round: int, receivers: Sequence[int], together: bool = False
    ) -> Sequence[Message]:
        """Return what goes to whom: the modalities that both own (Algorithm 1, line 11) and the common parts.

        The server has all modalities.
        """
        if together:
            owned = [m for m in self._modalities if any(m in self._modalities_of(k) for k in receivers)]
            return [Message(tuple(receivers), self._model.bits(owned))]
        if not self._modalities_of(node):
            return ()
        known = self._parcels.get(node)
        if known is None or known[0] != tuple(receivers):
            groups: dict[tuple[str, ...], list[int]] = {}
            for n in receivers:
                if self._modalities_of(n):
                    groups.setdefault(self._shared(node, n), []).append(n)
            bits = self._model.bits if self.setup.is_server(node) else self._bits
            parcels = [Message(tuple(to), bits(shared)) for shared, to in groups.items()]
            known = self._parcels[node] = (tuple(receivers), parcels)
        return known[1]

    def train(self, work: TaskGraph, node: int, round: int, state: Any, cost: Cost) -> Step:
        """Order the local update; see :func:`learners.training.decomposed.local_update.local_update`."""
        if node not in self._shares:
            return Step(state, state)
        assert isinstance(cost, LocalCost)
        modalities, plan = self._shares[node].modalities, self._plan(round)
        pace = self._factor_after(round - 1)
        trained = self._tasks.train(
            work, node, round, modalities, state.parts, state.memories, cost, plan, pace
        )
        memories: Any = trained["memories"] if self._training_options.optimizer_state == "keep" else {}
        sent, memory = self._tasks.sent(work, node, round, modalities, state, trained)
        new = DeviceState(trained["state"], memories, state.parts, state.balance, memory)
        return Step(new, sent, trained["metrics"])

    def aggregate(
        self, work: TaskGraph, node: int, round: int, state: Any, arrived: Mapping[int, Any]
    ) -> Step:
        """Order the mixing with neighbours' parts (eqs. 13 and 15), or the server's mean, or what it sent.

        The weight of a neighbour that was not heard stays at home.
        """
        return self.aggregate_weighed(work, node, round, state, arrived, {})

    def aggregate_weighed(
        self,
        work: TaskGraph,
        node: int,
        round: int,
        state: Any,
        arrived: Mapping[int, Any],
        factors: Mapping[int, float],
    ) -> Step:
        """Order the same, where neighbours' parts count for less than ξ by their ``factors``."""
        if self.setup.is_server(node):
            return self._average(work, round, state, arrived)
        if node not in self._shares:
            return Step(state)
        if self.setup.has_server:
            (sent,) = arrived.values()
            inputs = {"own": state.parts, "sent": sent}
            parts = work.together(received, inputs, round)
            return Step(DeviceState(parts, state.memories, memory=state.memory))
        mixed, memory = self._mix(work, node, round, state, arrived, factors)
        return Step(DeviceState(mixed["parts"], state.memories, memory=memory), metrics=mixed["metrics"])

    def merge(
        self,
        work: TaskGraph,
        node: int,
        round: int,
        state: Any,
        arrived: Mapping[int, Any],
        devices: Mapping[int, Sequence[int]],
    ) -> Step:
        """Order the mean of edge servers' models by samples; see :func:`learners.training.merging.merged`."""
        shares = self._shares
        inputs = {
            "own": state,
            "arrived": arrived,
            "amounts": amounts_by_part(
                devices,
                {k: len(share.samples) for k, share in shares.items()},
                {k: self._model.parts(share.modalities) for k, share in shares.items()},
            ),
        }
        return Step(work.together(merged, inputs, round))

    def evaluate(self, work: TaskGraph, node: int, round: int, state: Any) -> Future | None:
        """Order the evaluation of the aggregated model: the server's, or without one every device's."""
        if self.setup.is_server(node):
            return self._tasks.evaluate(work, node, round, self._modalities, state)
        if self.setup.has_server or node not in self._shares:
            return None
        return self._tasks.evaluate(work, node, round, self._shares[node].modalities, state.parts)

    def model(self, node: int, state: Any) -> Kept | None:
        """Return the model of a device, or of the server; the generator's tensors are beside the network's."""
        if node == self.setup.server:
            modalities, parts = self._modalities, state
        elif self.setup.server is None and node in self._shares:
            modalities, parts = self._shares[node].modalities, state.parts
        else:
            return None
        return self._model.kept(parts, modalities)

    @classmethod
    def module(cls, network: Mapping[str, Any], tensors: Mapping[str, Any]) -> Any:
        """Return the network of a model that was kept, without a generator; its ``logits`` are those of evaluation."""
        return module_of(network, tensors)

    # What these are made of.

    def _mix(
        self,
        work: TaskGraph,
        device: int,
        round: int,
        state: DeviceState,
        arrived: Mapping[int, Any],
        factors: Mapping[int, float],
    ) -> tuple[Future, Any]:
        """Order aggregation among neighbours; return a future of its result, and what is remembered of messages."""
        how = {
            "before": state.parts if state.before is None else state.before,
            "factors": factors,
            "neighbourhood": self._neighbourhood,
            "met": self._met.get(device),
            "epsilon": self._epsilon,
        }
        modalities = self._shares[device].modalities
        return self._tasks.mixed(work, device, round, modalities, state, arrived, how)

    def _average(self, work: TaskGraph, round: int, parts: Any, arrived: Mapping[int, Any]) -> Step:
        if not arrived:
            return Step(parts)
        inputs = {
            "own": parts,
            "arrived": arrived,
            "samples": {k: len(self._shares[k].samples) for k in arrived},
            "modalities": self._modalities,
        }
        new = work.together(averaged, inputs, round)
        return Step(new["parts"], new["parts"], new["metrics"])

    def _plan(self, round: int) -> TrainingPlan:
        """Return how local updates of ``round`` go: one object for all rounds that go alike."""
        if round not in self._plans:
            plan = self._training_plan(round)
            self._plans[round] = next((known for known in self._plans.values() if known == plan), plan)
        return self._plans[round]

    def _affordable(self, device: int, budget: Budget) -> int:
        """Return N^max of a coming round (Section IV-A)."""
        options = self._training_options
        if not (isinstance(options, BatteryOptions) and options.spare_battery) or math.isinf(
            budget.remaining_j
        ):
            return self._device_costs.iteration_limit(device)
        modalities = self._shares[device].modalities
        sending_j = budget.joules_per_flop * self._model.compression_flops(modalities)
        for n, joules in budget.joules_per_bit.items():
            if options.energy_bits == "paper_eq20":
                sending_j += joules * self._bits(modalities)
            elif self._modalities_of(n):
                sending_j += joules * self._bits(self._shared(device, n))
        return self._device_costs.affordable(device, budget.joules_per_flop, sending_j, budget.remaining_j)

    def _modalities_of(self, node: int) -> tuple[str, ...]:
        """Return the modalities that ``node`` owns; a server has all."""
        if self.setup.is_server(node):
            return tuple(self._modalities)
        return self._shares[node].modalities if node in self._shares else ()

    def _shared(self, node: int, other: int) -> tuple[str, ...]:
        """Return the modalities that both own."""
        theirs = self._modalities_of(other)
        return tuple(m for m in self._modalities_of(node) if m in theirs)
