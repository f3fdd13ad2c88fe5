"""Decentralized multi-modal learning (DMML-KD, Sections II-A to II-C); see docs/learners/dmml_kd.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import networkx as nx
import torch

from learners.data.dataset import Share
from learners.dmml import evaluation, local_update
from learners.dmml.batches import batch_sizes, iterations_per_epoch
from learners.dmml.energy import most_iterations, round_flops
from learners.dmml.local_update import Trained
from learners.dmml.mixture import Mixture, Parcel, Sent
from learners.dmml.options import BatteryOptions, DMMLOptions, FusionOptions, TrainingOptions
from learners.dmml.plan import LocalWorkload, LossWeights, TrainingPlan
from learners.dmml.stackable import evaluation_obstacle, training_obstacle
from learners.dmml.stacked_update import local_updates
from learners.networks.architecture import Architecture, GeneratorShape, build
from learners.networks.choice import choose
from learners.training.costs import CostTable, activation_bytes, cost_table, passes_facts, training_bytes
from learners.training.evaluation import judgements
from learners.training.mixing import surviving_weights
from learners.training.optimizers import Memories, Rule
from learners.training.state import Part, Row, State, gather, modality_parts, numbers, state_bytes, take
from learners.training.task import Task, load_task
from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.streams import derive_seed
from netsim.former.learning import Inbox, Learner, Message, Workload
from netsim.learner import Metric, Setup
from netsim.work.job import Stack, TrainingJob
from netsim.work.torch_device import require_memory
from netsim.world.budget import Budget
from netsim.world.topology.mixing import metropolis_weights

LOSSES = {
    "loss_task": "cross-entropy of the prediction in training, mean over the round's iterations",
    "loss_total": "what training minimised (eq. 12), mean over the round's iterations",
}
JUDGEMENTS = {
    "accuracy": "test accuracy; per modality it is that of the modality's own logits (eq. 27)",
    "loss_test": "cross-entropy of the prediction on the test samples",
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
    looks_ahead: ClassVar[bool] = True
    movable: ClassVar[bool] = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        options = self._training_options
        self._task: Task | None = load_task(setup, options.modalities)
        shapes = self._task.input_shapes
        self._architecture = Architecture(
            networks=choose(options.networks, shapes, self._task.dataset.modalities),
            input_shapes=shapes,
            class_count=len(self._task.dataset.classes),
            decomposed=self._decomposes(self._task.modalities),
            generator=self._generator_shape(),
        )
        with torch.random.fork_rng(devices=[]):  # the same first weights everywhere
            torch.manual_seed(derive_seed(setup.seed, "initial weights"))
            model = build(self._architecture)
        samples = self._task.examples()
        self._costs: CostTable = cost_table(model, samples, options.batch_size, setup.costs)
        self._activations = {m: activation_bytes(model.net.trunks[m], x) for m, x in samples.items()}
        self._kept = {m: activation_bytes(model.net.trunks[m], x, once=True) for m, x in samples.items()}
        self._kept_by_generator = 0.0
        if model.generator:
            layers = (model.generator.hidden, model.generator.output)
            self._kept_by_generator = sum(
                activation_bytes(layer, torch.zeros(2, layer.in_features)) for layer in layers
            )
        self._counted = {part: numbers(tensors) for part, tensors in take(model.parts()).items()}
        model.net.to(setup.torch_device)
        if model.generator:
            model.generator.to(setup.torch_device)
        dtype = torch.float64 if setup.precision == "float64" else torch.float32
        self._initial: State = take(model.parts(), dtype)
        self._members = self._deal(self._task, None)
        self._held = {k: len(share.samples) for k, share in enumerate(self._task.shares)}
        self._owners = _owners(self._task.shares, self._task.modalities)

        self._data_facts = self._task.facts
        self._architectures: dict[tuple[str, ...], Architecture] = {}
        self._aggregate: dict[int, State] = {}
        self._sent: dict[tuple[int, int], Sent] = {}
        self._memories: dict[int, Memories] = {}
        self._parcels: dict[int, tuple[tuple[int, ...], list[tuple[tuple[int, ...], float, list[str]]]]] = {}
        self._plans: dict[int, TrainingPlan] = {}
        self._workloads: dict[int, LocalWorkload] = {}
        self._stacks: dict[tuple[str, int, int], Stack] = {}
        self._mixtures: dict[tuple[str, tuple[int, ...]], Mixture] = {}

    # What the three algorithms differ in.

    @property
    def _training_options(self) -> TrainingOptions:
        options = self.setup.options
        assert isinstance(options, TrainingOptions)
        return options

    def _generator_shape(self) -> GeneratorShape | None:
        return None

    def _decomposes(self, modalities: Sequence[str]) -> bool:
        """Whether features are split in two; of one modality, with no generator to learn from, both halves are one."""
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
        options = self._training_options
        return Rule(options.optimizer, options.learning_rate, options.momentum)

    def _generator_iterations(self) -> int:
        return 0

    def _iterations(self, device: int, round: int, total: int) -> dict[str, int]:
        """N^m of ``device``: without balance every modality takes part in every iteration."""
        return {m: total for m in self._members[device].modalities}

    def _deal(self, task: Task, graph: nx.Graph | None) -> dict[int, Share]:
        """Who trains, on what; ``graph`` is None until the network stands."""
        return {k: _trained_on(k, share) for k, share in enumerate(task.shares) if share.modalities}

    # The hooks.

    def owners(self) -> Mapping[str, frozenset[int]]:
        """See :meth:`netsim.learner.Learner.owners`."""
        return self._owners

    def sample_counts(self) -> Mapping[int, int]:
        """See :meth:`netsim.learner.Learner.sample_counts`."""
        return self._held

    def training_memory_bytes(self, device: int) -> float:
        """Memory that the device's local update takes [byte]; see :func:`learners.training.costs.training_bytes`.

        All parts with their gradients, and the optimizers' memories of earlier rounds, the generator's Adam included.
        Of the activations the larger: those of the extractors, or those of the generator, which trains after them.
        """
        share = self._members.get(device)
        if share is None:
            return 0.0
        needed = 0.0
        for part in self._parts(share.modalities):
            layout = self._initial[part].layout
            remembered = 2 if part == "generator" else len(self._rule.memories)
            needed += training_bytes(layout.weights, layout.size - layout.weights, remembered, 0.0, 0)
        full = self._training_options.batch_size
        batch = min(full, len(share.samples))  # what the generator makes up is as many as a full mini-batch
        return needed + max(
            batch * sum(self._kept[m] for m in share.modalities), full * self._kept_by_generator
        )

    def facts(self) -> Mapping[str, Any]:
        """Data set, sizes and costs, for the run's metadata."""
        return {
            "data": self._data_facts,
            "iterations_per_round": {k: self._iteration_limit(k) for k in sorted(self._members)},
            "samples": {k: len(share.samples) for k, share in sorted(self._members.items())},
            "numbers_by_part": self._counted,
            "costs_stated": self.setup.costs.stated is not None,
            "flops_per_iteration": dict(self._costs.flops),
            **passes_facts(self._costs.passes),
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
            self._aggregate[k] = {part: self._initial[part] for part in self._parts(share.modalities)}
        # Each device's model, its successor under way, what it sent, and what its optimizer remembers.
        held = sum(state_bytes(state) for state in self._aggregate.values())
        require_memory(
            (3 + len(self._rule.memories)) * held,
            self.setup.memory_bytes,
            f"the models of {len(self._members)} devices",
            "use fewer devices (devices.count) or smaller networks (learner.networks), or allow more",
        )
        self._store = self._task.store(device, self._members)
        rows = self._task.test_rows(self.setup.evaluation.samples, self.setup.seed)
        self._test_rows = torch.as_tensor(rows, dtype=torch.int64)
        self._task = None  # the store has the data; where the work is done elsewhere, it is there only

    def workload(self, device: int, round: int, budget: Budget) -> Workload:
        """N^m iterations of each modality and the generator's, as many as the battery allows (eq. 20)."""
        if device not in self._members:
            return Workload()
        total = self._affordable(device, budget)
        iterations = self._iterations(device, round, total)
        # Most devices do the same round after round.
        known = self._workloads.get(device)
        if known is None or known.total_iterations != total or known.iterations != iterations:
            costs = self._device_costs(device, total)
            flops = round_flops(costs, iterations, total, self._generator_iterations())
            known = self._workloads[device] = LocalWorkload(iterations, flops, total)
        return known

    def training_job(self, device: int, round: int, workload: Workload) -> TrainingJob | None:
        """The local update; see :func:`learners.dmml.local_update.local_update`."""
        if device not in self._members:
            return None
        assert isinstance(workload, LocalWorkload)
        architecture = self._restricted(self._members[device].modalities)
        plan = self._plans.get(round) or self._plans.setdefault(round, self._training_plan(round))
        inputs = {
            "architecture": architecture,
            "state": self._aggregate[device],
            "memories": self._memories.get(device, {}),
            "store": self._store,
            "device": device,
            "iterations": workload.iterations,
            "total_iterations": workload.total_iterations,
            "plan": plan,
            "seed": derive_seed(self.setup.seed, "training", device, round),
            "torch_device": self.setup.torch_device,
        }
        batch = min(plan.batch_size, len(self._members[device].samples))
        stack = self._stack(device, architecture, plan, batch)
        return TrainingJob(local_update.local_update, inputs, frozenset({"store"}), stack)

    def apply(self, device: int, round: int, result: Trained | None) -> Sequence[Metric]:
        """The local update's model becomes what the device sends; its losses are reported."""
        if result is None:
            return ()
        self._sent_in(device, round).state = result.state
        if self._training_options.optimizer_state == "keep":
            self._memories[device] = result.memories
        return [Metric(name, result.losses[name]) for name in self.METRICS if name in result.losses]

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[Message]:
        """To each neighbour, the modalities that both own (Algorithm 1, line 11) and the common parts.

        The payload says whose model of which round; what is in it is known after ``apply``.
        """
        if device not in self._members:
            return ()
        sent = self._sent_in(device, round)
        return [
            Message(receivers, bits, Parcel(sent, parts))
            for receivers, bits, parts in self._parcels_to(device, tuple(neighbours))
        ]

    def combine(self, device: int, round: int, arrived: Mapping[int, Any]) -> Sequence[Metric]:
        """Eqs. (13) and (15) for one device; see :meth:`combine_all`."""
        return self.combine_all([Inbox(device, round, arrived)])[0]

    def combine_all(self, inboxes: Sequence[Inbox]) -> Sequence[Sequence[Metric]]:
        """Eqs. (13) and (15), part by part; the weight of a neighbour that was not heard stays at home.

        Of each part that devices share, one product of the matrix ξ with the bank of all that was sent.
        """
        metrics: dict[tuple[int, int], list[Metric]] = {(box.device, box.round): [] for box in inboxes}
        for round in sorted({inbox.round for inbox in inboxes}):
            arrived = {
                inbox.device: inbox.arrived
                for inbox in inboxes
                if inbox.round == round and inbox.device in self._members
            }
            # Whoever hears an earlier model of a sender, late, mixes alone: others may hear its newest.
            late = {
                k for k, senders in arrived.items() if any(s.sent.round != round for s in senders.values())
            }
            together = {k: senders for k, senders in arrived.items() if k not in late}
            for group in (together, *({k: arrived[k]} for k in sorted(late))):
                found = self._combine(round, group)
                metrics |= {(device, round): values for device, values in found.items()}
        return [metrics[inbox.device, inbox.round] for inbox in inboxes]

    def _combine(self, round: int, arrived: Mapping[int, Mapping[int, Parcel]]) -> dict[int, list[Metric]]:
        """What :meth:`combine_all` does for the devices of one round, by receiver."""
        # Whole models by sender: each receiver takes the parts that both own, and no others were sent.
        states = {k: self._trained(k, round) for k in arrived}
        everybody_here = len(states) == len(self._members)
        for senders in () if everybody_here else arrived.values():
            for k in senders.keys() - states.keys():
                state = senders[k].sent.state
                assert state is not None, "nothing arrives before its sender's job is done"
                states[k] = state
        everybody = self._weights[COMMON]
        complete = all(len(senders) + 1 == len(everybody[k]) for k, senders in arrived.items())
        aggregate: dict[int, dict[str, Part]] = {k: {} for k in arrived}
        metrics: dict[int, list[Metric]] = {k: [] for k in arrived}
        for key in (COMMON, *self._owners):
            devices = [k for k in arrived if key == COMMON or key in self._members[k].modalities]
            if not devices:
                continue
            mixture = self._mixture(key, devices, arrived, complete)
            for part in modality_parts(key) if key else self._common_parts():
                layout = self._initial[part].layout
                if not layout.size:  # the extractor of inputs that are taken as they are
                    for k in devices:
                        aggregate[k][part] = states[k][part]
                    continue
                bank = gather([states[k][part].row for k in mixture.senders])
                mixed = mixture.mixing(bank)
                if layout.sent < layout.size:  # integer counters are the receiver's own
                    mixed[:, layout.sent :] = bank[[mixture.place[k] for k in devices], layout.sent :]
                for row, k in enumerate(devices):
                    aggregate[k][part] = Part(Row(mixed, row), layout)
                if key and part == modality_parts(key)[0] and layout.weights:
                    before = gather([self._aggregate[k][part].row for k in devices])
                    weights = slice(layout.weights)
                    self._measure_extractors(
                        key, mixture, before[:, weights], bank[:, weights], mixed[:, weights], metrics
                    )
        self._aggregate.update(aggregate)
        for k in arrived:
            self._sent.pop((k, round), None)
        return metrics

    def evaluation_job(self, device: int, round: int) -> TrainingJob | None:
        """Judge the aggregated model, after every so many rounds and after the last."""
        settings = self.setup.evaluation
        if device not in self._members or (round % settings.every and round != self.setup.rounds):
            return None
        modalities = self._members[device].modalities
        architecture = self._restricted(modalities)
        inputs = {
            "architecture": architecture,
            "state": self._aggregate[device],
            "store": self._store,
            "rows": self._test_rows,
            "batch_size": settings.batch_size,
            "seed": derive_seed(self.setup.seed, "evaluation", device, round),
            "torch_device": self.setup.torch_device,
        }
        stack = self._stack(device, architecture, None, settings.batch_size)
        return TrainingJob(evaluation.evaluate, inputs, frozenset({"store", "rows"}), stack)

    def judge(self, device: int, round: int, result: Mapping[str, float]) -> Sequence[Metric]:
        """Fused accuracy and loss, and each modality's accuracy where there are several."""
        return judgements(result, self._architecture.networks)

    def forget(self, round: int) -> None:
        """Promises that nobody combines any more."""
        self._sent = {key: sent for key, sent in self._sent.items() if key[1] > round}

    def learnt(self) -> tuple[dict[int, State], dict[int, Memories]]:
        """Models, and what optimizers remember, by device."""
        return self._aggregate, self._memories

    def take_home(self, learnt: tuple[dict[int, State], dict[int, Memories]]) -> None:
        """Models, and what optimizers remember, by device."""
        self._aggregate, self._memories = learnt

    # What the hooks are made of.

    def _restricted(self, modalities: tuple[str, ...]) -> Architecture:
        if modalities not in self._architectures:
            self._architectures[modalities] = self._architecture.restricted_to(modalities)
        return self._architectures[modalities]

    def _stack(
        self, device: int, architecture: Architecture, plan: TrainingPlan | None, batch_size: int
    ) -> Stack:
        """How jobs like this device's are done together: training by ``plan``, or evaluation if there is none."""
        known = (architecture.text, id(plan), batch_size)
        if known not in self._stacks:
            label = "+".join(architecture.networks)
            row_bytes = self._bytes(device, batch_size, trains=plan is not None)
            if plan is not None:
                key = f"training {architecture.text} {plan} {batch_size}"
                self._stacks[known] = Stack(
                    key,
                    local_updates,
                    local_update.shortened,
                    row_bytes,
                    f"training {label}",
                    self._iteration_limit(device),
                    training_obstacle,
                )
            else:
                key = f"evaluation {architecture.text} {batch_size}"
                self._stacks[known] = Stack(
                    key,
                    evaluation.evaluate_stacked,
                    evaluation.shortened,
                    row_bytes,
                    f"evaluation {label}",
                    -(-len(self._test_rows) // batch_size),
                    evaluation_obstacle,
                )
        return self._stacks[known]

    def _sent_in(self, device: int, round: int) -> Sent:
        """w_{k,t} for whoever gets it: a promise until the job is done."""
        return self._sent.setdefault((device, round), Sent(round))

    def _trained(self, device: int, round: int) -> State:
        """w_{k,t}; a device whose training was cut off still has what it began with."""
        sent = self._sent.get((device, round))
        return sent.state if sent is not None and sent.state is not None else self._aggregate[device]

    def _mixture(
        self, key: str, devices: Sequence[int], arrived: Mapping[int, Mapping[int, Parcel]], complete: bool
    ) -> Mixture:
        """Who mixes whose parts with which weights; the same every round while everybody is heard."""
        known = (key, tuple(devices))
        if complete and known in self._mixtures:
            return self._mixtures[known]
        mixture = Mixture.of({k: surviving_weights(self._weights[key][k], k, arrived[k]) for k in devices})
        if complete:
            self._mixtures[known] = mixture
        return mixture

    def _measure_extractors(
        self,
        modality: str,
        mixture: Mixture,
        before: torch.Tensor,
        sent: torch.Tensor,
        after: torch.Tensor,
        metrics: Mapping[int, list[Metric]],
    ) -> None:
        """Eq. (18): how far the round has moved each device's extractor, weights only.

        Args:
            modality: Whose extractors.
            mixture: How they were mixed.
            before: W_{k,t-1} of each receiver [receivers, weights].
            sent: w_{k',t} of each sender [senders, weights].
            after: W_{k,t} of each receiver [receivers, weights].
            metrics: By receiver, to be added to.
        """
        own = sent[[mixture.place[k] for k in mixture.rows]]
        norm = torch.linalg.vector_norm(after, dim=1)
        for name, new in zip(VARIATIONS, (after, own), strict=True):
            moved = torch.linalg.vector_norm(new - before, dim=1) / norm
            for k, value in zip(mixture.rows, moved.tolist(), strict=True):
                metrics[k].append(Metric(name, value, modality))

    def _bytes(self, device: int, batch_size: int, trains: bool) -> float:
        """Memory of one row of a stack [byte]: state, gradients and optimizer, and a batch with what it leads to."""
        activations = batch_size * sum(self._activations[m] for m in self._members[device].modalities)
        copies = 2 + len(self._rule.memories) if trains else 1
        return copies * state_bytes(self._aggregate[device]) + (3 if trains else 1) * activations

    def _iteration_limit(self, device: int) -> int:
        """N_k: as stated, or as many mini-batches as the local epochs have."""
        if self._costs.iterations is not None:
            return self._costs.iterations
        options = self._training_options
        samples = len(self._members[device].samples)
        return options.local_epochs * iterations_per_epoch(samples, options.batch_size, options.last_batch)

    def _affordable(self, device: int, budget: Budget) -> int:
        """N^max of a coming round (Section IV-A)."""
        options, limit = self._training_options, self._iteration_limit(device)
        if not (isinstance(options, BatteryOptions) and options.spare_battery):
            return limit
        modalities = self._members[device].modalities
        sending_j = 0.0
        for n, joules in budget.joules_per_bit.items():
            if options.energy_bits == "paper_eq20":
                sending_j += joules * self._bits(modalities)
            elif n in self._members:
                sending_j += joules * self._bits(self._shared(device, n))

        def needed_j(total: int) -> float:
            costs, iterations = self._device_costs(device, total), dict.fromkeys(modalities, total)
            flops = round_flops(costs, iterations, total, self._generator_iterations())
            return budget.joules_per_flop * sum(flops.values()) + sending_j

        return most_iterations(limit, needed_j, budget.remaining_j)

    def _device_costs(self, device: int, total: int) -> CostTable:
        """Costs of the device's mini-batches in a round of so many: of one of mean size.

        What is stated is stated for an iteration, whatever its size.
        """
        if self.setup.costs.stated is not None or not total:
            return self._costs
        options, samples = self._training_options, len(self._members[device].samples)
        seen = sum(batch_sizes(samples, options.batch_size, total, options.last_batch))
        full = total * options.batch_size
        return self._costs if seen == full else self._costs.with_smaller_batches(seen / full)

    def _shared(self, device: int, other: int) -> tuple[str, ...]:
        theirs = self._members[other].modalities
        return tuple(m for m in self._members[device].modalities if m in theirs)

    def _parcels_to(
        self, device: int, neighbours: tuple[int, ...]
    ) -> list[tuple[tuple[int, ...], float, list[str]]]:
        """What ``device`` sends to whom: receivers that share the same modalities with it, size [bit], parts."""
        known = self._parcels.get(device)
        if known is None or known[0] != neighbours:
            groups: dict[tuple[str, ...], list[int]] = {}
            for n in neighbours:
                if n in self._members:
                    groups.setdefault(self._shared(device, n), []).append(n)
            parcels = [(tuple(to), self._bits(ms), self._parts(ms)) for ms, to in groups.items()]
            known = self._parcels[device] = (neighbours, parcels)
        return known[1]

    def _bits(self, modalities: Iterable[str]) -> float:
        return sum(self._costs.bits[m] for m in modalities) + self._costs.common_bits

    def _parts(self, modalities: Iterable[str]) -> list[str]:
        return [part for m in modalities for part in modality_parts(m)] + self._common_parts()

    def _common_parts(self) -> list[str]:
        return ["common", "generator"] if self._architecture.generator else ["common"]


def _trained_on(device: int, share: Share) -> Share:
    """The complete samples of ``share``: the fused loss needs every modality that the device owns.

    Raises:
        ScenarioError: There is none.
    """
    if not share.absent:
        return share
    if len(share.complete) == 0:
        raise ScenarioError(
            f"partition: none of device {device}'s {len(share.samples)} samples has all of "
            f"{', '.join(share.modalities)}, and this learner trains on complete samples only. "
            "Raise partition.kept or partition.min_samples, or use another seed."
        )
    return Share(share.complete, share.modalities)


def _owners(shares: Sequence[Share], modalities: Sequence[str]) -> dict[str, frozenset[int]]:
    return {m: frozenset(k for k, share in enumerate(shares) if m in share.modalities) for m in modalities}
