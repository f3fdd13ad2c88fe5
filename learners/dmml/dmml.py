"""Decentralized multi-modal learning (DMML-KD, Sections II-A to II-C); see docs/learners/dmml_kd.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import networkx as nx
import torch

from learners.aggregation import mix, surviving_weights
from learners.costs import CostTable, cost_table
from learners.data.dataset import Share
from learners.dmml.energy import most_iterations, round_flops
from learners.dmml.evaluation import evaluate
from learners.dmml.local_update import Moments, Trained, iterations_per_epoch, local_update
from learners.dmml.options import BatteryOptions, DMMLOptions, FusionOptions, TrainingOptions
from learners.dmml.plan import LossWeights, TrainingPlan
from learners.models.choice import Architecture, GeneratorShape, build, choose
from learners.state import State, modality_parts, numbers, take, trainable, vector
from learners.task import Samples, Task, load_task
from netsim.jobs.job import TrainingJob
from netsim.learning import Budget, Learner, Message, Metric, Setup, Workload
from netsim.options import Options
from netsim.streams import derive_seed
from netsim.topology.mixing import metropolis_weights

LOSSES = {
    "loss_task": "cross-entropy of the fused prediction in training, mean over the round's iterations",
    "loss_total": "what training minimised (eq. 12), mean over the round's iterations",
}
JUDGEMENTS = {
    "accuracy": "test accuracy; per modality it is that of the modality's own logits (eq. 27)",
    "loss_test": "cross-entropy of the fused prediction on the test samples",
}
VARIATIONS = {
    "variation": "relative change of a modality's extractor by the whole round, ‖W_t − W_{t−1}‖/‖W_t‖ (eq. 18)",
    "variation_local": "φ_kk: the same by the device's own training, ‖w_t − W_{t−1}‖/‖W_t‖",
}

COMMON = ""
"""The key of what all devices share, where modalities are keys."""


class DMML(Learner):
    """Decentralized multi-modal learning: train on the task's loss, exchange models with neighbours, mix.

    A device trains the parts of the modalities that it owns, sends them to the neighbours that own them too,
    and mixes what arrives with Metropolis-Hastings weights of the graph that the part's owners form.
    """

    Options: ClassVar[type[Options]] = DMMLOptions
    METRICS: ClassVar[Mapping[str, str]] = {**LOSSES, **VARIATIONS, **JUDGEMENTS}

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        options = self._training_options
        self._task: Task | None = load_task(setup, options.modalities)
        shapes = self._task.input_shapes
        self._architecture = Architecture(
            networks=choose(options.networks, shapes, self._task.dataset.modalities),
            input_shapes=shapes,
            class_count=len(self._task.dataset.classes),
            decomposed=not isinstance(options, FusionOptions) or options.architecture == "decomposed",
            generator=self._generator_shape(),
        )
        with torch.random.fork_rng(devices=[]):  # the same first weights everywhere
            torch.manual_seed(derive_seed(setup.seed, "initial weights"))
            model = build(self._architecture)
        self._trainable = {part: trainable(module) for part, module in model.parts().items()}
        self._costs: CostTable = cost_table(model, shapes, options.batch_size, setup.costs)
        self._counted = {part: numbers(tensors) for part, tensors in take(model.parts()).items()}
        model.net.to(setup.torch_device)
        if model.generator:
            model.generator.to(setup.torch_device)
        self._initial: State = take(model.parts())
        self._members = self._deal(self._task, None)
        self._held = {k: len(share.samples) for k, share in enumerate(self._task.shares)}
        self._owners = _owners(self._task.shares, self._task.modalities)

        self._data_facts = {
            "name": self._task.dataset.name,
            "surrogate": self._task.dataset.surrogate,
            "modalities": list(self._task.modalities),
            "classes": list(self._task.dataset.classes),
            "test_samples": len(self._task.dataset.test),
        }

        self._samples: dict[int, Samples] = {}
        self._aggregate: dict[int, State] = {}
        self._local: dict[int, tuple[int, State]] = {}
        self._moments: dict[int, Moments] = {}
        self._total: dict[int, int] = {}

    # What the three algorithms differ in.

    @property
    def _training_options(self) -> TrainingOptions:
        options = self.setup.options
        assert isinstance(options, TrainingOptions)
        return options

    def _generator_shape(self) -> GeneratorShape | None:
        return None

    def _training_plan(self, round: int = 1) -> TrainingPlan:
        options = self._training_options
        return TrainingPlan(
            LossWeights(), options.learning_rate, options.batch_size, self.setup.evaluation.batch_size
        )

    def _generator_iterations(self) -> int:
        return 0

    def _iterations(self, device: int, round: int, total: int) -> dict[str, int]:
        """N^m of ``device``: without balance every modality takes part in every iteration."""
        return {m: total for m in self._members[device].modalities}

    def _deal(self, task: Task, graph: nx.Graph | None) -> dict[int, Share]:
        """Who trains, on what; ``graph`` is None until the network stands."""
        return {k: share for k, share in enumerate(task.shares) if share.modalities}

    # The hooks.

    def owners(self) -> Mapping[str, frozenset[int]]:
        """See :meth:`netsim.learning.Learner.owners`."""
        return self._owners

    def sample_counts(self) -> Mapping[int, int]:
        """See :meth:`netsim.learning.Learner.sample_counts`."""
        return self._held

    def facts(self) -> Mapping[str, Any]:
        """Data set, sizes and costs, for the run's metadata."""
        return {
            "data": self._data_facts,
            "iterations_per_round": {k: self._iteration_limit(k) for k in sorted(self._members)},
            "samples": {k: len(share.samples) for k, share in sorted(self._members.items())},
            "numbers_by_part": self._counted,
            "costs_stated": self.setup.costs.stated is not None,
            "flops_per_iteration": dict(self._costs.flops),
            "common_flops": self._costs.common_flops,
            "generator_forward_flops": self._costs.generator_forward_flops,
            "generator_flops": self._costs.generator_flops,
            "bits": dict(self._costs.bits),
            "common_bits": self._costs.common_bits,
        }

    def begin(self, graph: nx.Graph) -> None:
        """Find the mixing weights, give each device its data and the first model."""
        super().begin(graph)
        assert self._task is not None, "begin() is called once"
        device = self.setup.torch_device
        self._members = self._deal(self._task, graph)
        holders = {COMMON: list(self._members)} | {
            m: [k for k, share in self._members.items() if m in share.modalities]
            for m in self._task.modalities
        }
        self._weights = {key: metropolis_weights(graph.subgraph(nodes)) for key, nodes in holders.items()}
        for k, share in self._members.items():
            self._samples[k] = self._task.samples(share.samples, share.modalities, device)
            self._aggregate[k] = {part: self._initial[part] for part in self._parts(share.modalities)}
        rows = self._task.test_rows(self.setup.evaluation.samples, self.setup.seed)
        self._test = self._task.samples(rows, self._task.modalities, device)
        self._test_samples: dict[tuple[str, ...], Samples] = {}
        self._task = None  # the devices have their copies; a data set is large

    def workload(self, device: int, round: int, budget: Budget) -> Workload:
        """N^m iterations of each modality and the generator's, as many as the battery allows (eq. 20)."""
        if device not in self._members:
            return Workload()
        total = self._affordable(device, budget)
        iterations = self._iterations(device, round, total)
        self._total[device] = total
        return Workload(
            iterations,
            round_flops(self._device_costs(device), iterations, total, self._generator_iterations()),
        )

    def training_job(self, device: int, round: int, workload: Workload) -> TrainingJob | None:
        """The local update; see :func:`learners.dmml.local_update.local_update`."""
        if device not in self._members:
            return None
        inputs = {
            "architecture": self._architecture.restricted_to(self._members[device].modalities),
            "state": self._aggregate[device],
            "moments": self._moments.get(device, {}),
            "samples": self._samples[device],
            "iterations": dict(workload.iterations),
            "total_iterations": self._total[device],
            "plan": self._training_plan(round),
            "seed": derive_seed(self.setup.seed, "training", device, round),
            "torch_device": self.setup.torch_device,
        }
        return TrainingJob(local_update, inputs, kept=frozenset({"samples"}))

    def apply(self, device: int, round: int, result: Trained | None) -> Sequence[Metric]:
        """The local update's model becomes what the device will send; its losses are reported."""
        if result is None:
            return ()
        self._local[device] = (round, result.state)
        if self._training_options.optimizer_state == "keep":
            self._moments[device] = result.moments
        return [Metric(name, value) for name, value in result.losses.items()]

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[Message]:
        """To each neighbour, the modalities that both own (Algorithm 1, line 11) and the common parts."""
        if device not in self._members:
            return ()
        state = self._trained(device, round)
        return [
            Message(n, self._bits(shared), {part: state[part] for part in self._parts(shared)})
            for n in neighbours
            if n in self._members
            for shared in [self._shared(device, n)]
        ]

    def combine(self, device: int, round: int, arrived: Mapping[int, Any]) -> Sequence[Metric]:
        """Eqs. (13) and (15), part by part; the weight of a neighbour that was not heard stays at home."""
        if device not in self._members:
            return ()
        local, previous = self._trained(device, round), self._aggregate[device]
        heard: dict[int, State] = {**arrived, device: local}
        aggregate = {}
        for key in (*self._members[device].modalities, COMMON):
            holders = {
                k: state for k, state in heard.items() if key == COMMON or modality_parts(key)[0] in state
            }
            weights = surviving_weights(self._weights[key][device], device, holders)
            for part in modality_parts(key) if key else self._common_parts():
                aggregate[part] = mix({k: state[part] for k, state in holders.items()}, weights, device)
        self._aggregate[device] = aggregate
        return self._variations(device, heard, previous, aggregate)

    def evaluation_job(self, device: int, round: int) -> TrainingJob | None:
        """Judge the aggregated model, after every so many rounds and after the last."""
        evaluation = self.setup.evaluation
        if device not in self._members or (round % evaluation.every and round != self.setup.rounds):
            return None
        modalities = self._members[device].modalities
        samples = self._test_samples.setdefault(
            modalities,
            Samples({m: self._test.inputs[m] for m in modalities}, self._test.labels, self._test.transforms),
        )
        inputs = {
            "architecture": self._architecture.restricted_to(modalities),
            "state": self._aggregate[device],
            "samples": samples,
            "batch_size": evaluation.batch_size,
            "torch_device": self.setup.torch_device,
        }
        return TrainingJob(evaluate, inputs, kept=frozenset({"samples"}))

    def judge(self, device: int, round: int, result: Mapping[str, float]) -> Sequence[Metric]:
        """Fused and per-modality accuracy, and the fused loss."""
        metrics = [Metric("loss_test", result["loss"])]
        for name, value in result.items():
            metric, _, modality = name.partition("/")
            if metric == "accuracy":
                metrics.append(Metric(metric, value, modality))
        return metrics

    # What the hooks are made of.

    def _trained(self, device: int, round: int) -> State:
        """w_{k,t}; a device whose training was cut off still has what it began with."""
        trained_in, state = self._local.get(device, (0, self._aggregate[device]))
        return state if trained_in == round else self._aggregate[device]

    def _variations(
        self, device: int, heard: Mapping[int, State], previous: State, aggregate: State
    ) -> list[Metric]:
        """Eq. (18): how far the round has moved each modality's extractor, weights only."""
        metrics = []
        for m in self._members[device].modalities:
            after = self._extractor(aggregate, m)
            before = self._extractor(previous, m)
            own = self._extractor(heard[device], m)
            norm = torch.linalg.vector_norm(after)
            moved = torch.linalg.vector_norm(torch.stack([after - before, own - before]), dim=1) / norm
            for name, value in zip(VARIATIONS, moved.tolist(), strict=True):
                metrics.append(Metric(name, value, m))
        return metrics

    def _extractor(self, state: State, modality: str) -> torch.Tensor:
        """The trainable weights of w^m as one vector, without BatchNorm's statistics."""
        part = f"trunk/{modality}"
        return vector(state[part], self._trainable[part])

    def _iteration_limit(self, device: int) -> int:
        """N_k: as stated, or as many full mini-batches as the local epochs have."""
        if self._costs.iterations is not None:
            return self._costs.iterations
        options = self._training_options
        samples = len(self._members[device].samples)
        return options.local_epochs * iterations_per_epoch(samples, options.batch_size)

    def _affordable(self, device: int, budget: Budget) -> int:
        """N^max of a coming round (Section IV-A)."""
        options, limit = self._training_options, self._iteration_limit(device)
        if not (isinstance(options, BatteryOptions) and options.spare_battery):
            return limit
        costs, modalities = self._device_costs(device), self._members[device].modalities
        fixed_flops = round_flops(costs, {}, 0, self._generator_iterations())
        one_more = round_flops(costs, dict.fromkeys(modalities, 1), 1, 0)
        sending_j = 0.0
        for n, joules in budget.joules_per_bit.items():
            if options.energy_bits == "paper_eq20":
                sending_j += joules * self._bits(modalities)
            elif n in self._members:
                sending_j += joules * self._bits(self._shared(device, n))
        return most_iterations(
            limit,
            budget.joules_per_flop * sum(one_more.values()),
            budget.joules_per_flop * sum(fixed_flops.values()) + sending_j,
            budget.remaining_j,
        )

    def _device_costs(self, device: int) -> CostTable:
        """Costs of the device's mini-batches, smaller than the others' if it has fewer samples than one."""
        batch_size = self._training_options.batch_size
        scale = min(1.0, len(self._members[device].samples) / batch_size)
        if self.setup.costs.stated is not None or scale == 1.0:
            return self._costs
        return self._costs.with_smaller_batches(scale)

    def _shared(self, device: int, other: int) -> tuple[str, ...]:
        theirs = self._members[other].modalities
        return tuple(m for m in self._members[device].modalities if m in theirs)

    def _bits(self, modalities: Iterable[str]) -> float:
        return sum(self._costs.bits[m] for m in modalities) + self._costs.common_bits

    def _parts(self, modalities: Iterable[str]) -> list[str]:
        return [part for m in modalities for part in modality_parts(m)] + self._common_parts()

    def _common_parts(self) -> list[str]:
        return ["common", "generator"] if self._architecture.generator else ["common"]


def _owners(shares: Sequence[Share], modalities: Sequence[str]) -> dict[str, frozenset[int]]:
    return {m: frozenset(k for k, share in enumerate(shares) if m in share.modalities) for m in modalities}
