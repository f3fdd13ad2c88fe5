"""Multi-headed distillation (Zhmoginov et al., CVPR 2023); see docs/learners/mhd.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import networkx as nx
import torch
from torch import Tensor

from learners.training.batches import batch_sizes, mini_batches, random_numbers
from learners.training.costs import BITS_PER_NUMBER, BYTES_PER_NUMBER
from learners.training.distillation.graphs import Teachers, in_round, teachers
from learners.training.distillation.mhd_update import MANY, MHDPlan, Pool, Told, Wanted, update
from learners.training.distillation.options import MOST_HEADS, MHDOptions
from learners.training.distillation.per_device import DeviceModels, PerDeviceLearner
from learners.training.distillation.public import load_public
from learners.training.optimizers import Rule
from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed, stream
from netsim.learner import Cost, Message, Metric, Setup, Step
from netsim.work.future import Future, Shared
from netsim.work.torch_device import require_memory

if TYPE_CHECKING:
    from learners.training.distillation.evaluation import Evaluated
    from netsim.core.budget import Budget
    from netsim.core.options import Options
    from netsim.work.graph import TaskGraph
    from netsim.work.job import Inputs

Entry = TypeVar("Entry")
HEADS = ("main", *(f"aux{k}" for k in range(1, MOST_HEADS + 1)))


class MHD(PerDeviceLearner):
    """Multi-headed distillation: each auxiliary head learns from heads one lower, its own and others', on public data.

    The main head learns from private labels only. Who learns from whom is a directed graph over the radio's links; a
    round is S_P steps, and once a round each device gets a checkpoint of one of its teachers for its pool, or its
    teachers' predictions for the public samples of its next round.
    """

    Options: ClassVar[type[Options]] = MHDOptions
    METRICS: ClassVar[Mapping[str, str]] = {
        "loss_task": "cross-entropy of the main head on private samples, mean over the round's steps",
        "loss_emb": "squared distance of normalised embeddings to the teachers', sum over teachers, mean over steps",
        "loss_aux": "cross-entropy of the auxiliary heads to their targets, sum over heads, mean over steps",
        "loss_total": "what training minimised, mean over the round's steps",
        **{
            f"remote_{head}": f"part of the public samples whose target for head {head} came from another device"
            for head in HEADS[1:]
        },
        "accuracy": "test accuracy of the last auxiliary head; of the main head where there is no other",
        "loss_test": "cross-entropy of the main head on the test samples",
        **{
            f"beta_priv_{head}": f"β_priv of head {head}: on the device's own mix of classes"
            for head in HEADS
        },
        **{f"beta_sh_{head}": f"β_sh of head {head}: on all classes alike" for head in HEADS},
    }

    takes_motion: bool = False  # students plan ahead whom they will hear

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        options = self._options
        self.takes_late = (
            options.transport == "checkpoint"
        )  # predictions are those of one round's public samples
        self._devices = DeviceModels(setup, options.networks, options.modalities)
        self._devices.build((len(self._devices.classes),) * (1 + self._auxiliary_heads), self._embedding_size)
        self._check_embeddings()
        assert self._devices.task is not None
        self._public = load_public(options.public, self._devices.task, self._devices.modality, setup)
        self._public_batch = min(options.public_batch_size or options.batch_size, len(self._public.rows))
        self._slots = setup.device_count if options.pool_size is None else options.pool_size
        self._distils = options.nu_aux > 0 or options.nu_emb > 0
        if options.transport == "checkpoint" and options.targets > self._slots:
            raise ScenarioError(
                f"learner.targets: must be at most the checkpoints of a pool, {self._slots} (got {options.targets})"
            )
        self._planned: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._wishes: dict[int, tuple[int, dict[int, Wanted]]] = {}

    @property
    def _options(self) -> MHDOptions:
        options = self.setup.options
        assert isinstance(options, MHDOptions)
        return options

    @property
    def _auxiliary_heads(self) -> int:
        """Return the number of auxiliary heads: with ν_aux = 0 nobody trains them, and there are none."""
        return self._options.auxiliary_heads if self._options.nu_aux else 0

    @property
    def _embedding_size(self) -> int | None:
        """Width of the embeddings' map, which nobody trains where ν_emb = 0; None where there is none."""
        return self._options.embedding_size if self._options.nu_emb else None

    def _check_embeddings(self) -> None:
        """Embeddings can be compared where they have one width."""
        options = self._options
        widths = {k: one.net().trunk.feature_count for k, one in self._devices.architectures.items()}
        if options.nu_emb and options.embedding_size is None and len(set(widths.values())) > 1:
            listed = ", ".join(
                f"{self._devices.architectures[k].network.name}: {widths[k]}"
                for k in sorted({width: k for k, width in reversed(widths.items())}.values())
            )
            raise ScenarioError(
                f"learner.nu_emb: embeddings of different widths cannot be compared ({listed}); set nu_emb: 0, or let "
                "each device learn a linear map to a common width with learner.embedding_size"
            )

    # What everybody can work out for everybody.

    def _teachers(self, round: int) -> Teachers:
        """Return the graph of ``round``."""
        return in_round(self._graphs, round)

    def _teacher_chosen(self, student: int, round: int) -> int | None:
        """Draw whose checkpoint ``student`` gets after ``round``, of its teachers' all alike; none after the last."""
        own = self._teachers(round)[student]
        if not own or round >= self.setup.rounds or not self._distils:
            return None
        return own[int(stream(self.setup.seed, "teacher", student, round).integers(len(own)))]

    def _with_new(self, pool: tuple[Entry, ...], new: Entry, student: int, round: int) -> tuple[Entry, ...]:
        """Return the pool after ``round``, in which ``new`` has taken the place of any other, or a free one."""
        if len(pool) < self._slots:
            return (*pool, new)
        slot = int(stream(self.setup.seed, "slot", student, round).integers(self._slots))
        return (*pool[:slot], new, *pool[slot + 1 :])

    def _planned_pool(self, student: int, round: int) -> tuple[int, ...]:
        """Return whose checkpoints are in the pool as ``round`` begins, if all have arrived."""
        at, pool = self._planned.get(student, (0, ()))
        if at > round or at == 0:
            at, pool = 1, self._first_pool(student)
        for t in range(at, round):
            chosen = self._teacher_chosen(student, t)
            if chosen is not None:
                pool = self._with_new(pool, chosen, student, t)
        self._planned[student] = (round, pool)
        return pool

    def _first_pool(self, student: int) -> tuple[int, ...]:
        """Draw whose first models the pool begins with; they follow from the run's seed, so they need not be sent."""
        own = self._teachers(1)[student]
        if not own or not self._distils:
            return ()
        draws = stream(self.setup.seed, "pool", student).integers(len(own), size=self._slots)
        return tuple(own[int(draw)] for draw in draws)

    def _public_places(self, student: int, round: int) -> Tensor:
        """Draw the public samples of each step of a round, int64 [steps, B]; all batches are full."""
        seed, steps = derive_seed(self.setup.seed, "public", student, round), self._options.local_steps
        return torch.stack(mini_batches(len(self._public.rows), self._public_batch, steps, seed, "drop"))

    def _picks(self, student: int, round: int, among: int) -> Tensor:
        """Draw which of ``among`` teach in each step, none twice in a step; int64 [steps, Δ]."""
        count = min(self._options.targets, among)
        generator = random_numbers(derive_seed(self.setup.seed, "targets", student, round))
        steps = self._options.local_steps
        return torch.rand(steps, among, generator=generator).argsort(1)[:, :count]

    def _wanted(self, teacher: int, round: int) -> dict[int, Wanted]:
        """Return what students want of ``teacher`` after ``round``, for their next one; nothing after the last.

        A round's workload, messages and training ask for the same.
        """
        known, found = self._wishes.get(teacher, (0, {}))
        if known != round:
            found = self._wishes_of_students(teacher, round)
            self._wishes[teacher] = (round, found)
        return found

    def _wishes_of_students(self, teacher: int, round: int) -> dict[int, Wanted]:
        if round >= self.setup.rounds or not self._distils:
            return {}
        found = {}
        for student, own in self._teachers(round + 1).items():
            if teacher in own and student in self._devices.samples:
                picks = self._picks(student, round + 1, len(own))
                steps = (picks == own.index(teacher)).any(1).nonzero().squeeze(1)
                if len(steps):
                    places = self._public_places(student, round + 1)[steps]
                    found[student] = Wanted(tuple(steps.tolist()), places)
        return found

    # The hooks.

    def training_memory_bytes(self, device: int) -> float:
        """Training, and the pool of checkpoints where there is one."""
        if device not in self._devices.samples:
            return 0.0
        options = self._options
        batch = min(options.batch_size, len(self._devices.samples[device])) + self._public_batch
        own = self._devices.memory_bytes(device, len(Rule.of(options).memories), batch)
        largest = max(self._devices.costs(k).numbers for k in self._devices.samples)
        return own + (BYTES_PER_NUMBER * largest * self._slots if options.transport == "checkpoint" else 0)

    def facts(self) -> Mapping[str, Any]:
        """Data, networks, public samples and costs, for the run's metadata."""
        return {
            **self._devices.facts(),
            "public": self._public.facts,
            "pool_size": self._slots,
        }

    def prepare(self, graph: nx.Graph) -> None:
        """Find out who learns from whom; fill the pools with first models."""
        super().prepare(graph)
        options = self._options
        given = options.graph if isinstance(options.graph, dict) else {1: options.graph}
        self._graphs = {
            first: teachers(choice, graph, options.island_size) for first, choice in given.items()
        }
        self._graphs = {  # whoever has no samples trains nothing that could be learnt from
            first: {k: tuple(t for t in own if t in self._devices.samples) for k, own in one.items()}
            for first, one in self._graphs.items()
        }
        held = self._devices.states_bytes()
        kept = self._slots if options.transport == "checkpoint" else 0
        require_memory(
            (4 + kept) * held,
            self.setup.memory_bytes,
            f"the models of {len(self._devices.samples)} devices and of their pools",
            "use fewer devices (devices.count), smaller pools (learner.pool_size) or smaller networks, or allow more",
        )
        self._devices.place()
        self._public_set = Shared(self._public.placed_with(self._devices.store))

    def first(self, work: TaskGraph, node: int) -> Step:
        """Return the device's first model, and a pool of its teachers' first models."""
        if node not in self._devices.samples:
            return Step()
        pool = self._first_pool(node) if self._options.transport == "checkpoint" else ()
        models = tuple((teacher, self._devices.initial(teacher)) for teacher in pool)
        return Step({"model": self._devices.initial(node), "memories": {}, "pool": models, "told": ()})

    def cost(self, node: int, round: int, peers: Sequence[int], budget: Budget, plan: Any) -> Cost:
        """Steps on private and public samples, and asking the teachers: those in the pool, or for its students.

        Forward passes of a pool's checkpoints are counted as if all that were sent had arrived.
        """
        if node not in self._devices.samples:
            return Cost()
        options, costs = self._options, self._devices.costs(node)
        steps = options.local_steps
        own = len(self._devices.samples[node])
        seen = sum(batch_sizes(own, options.batch_size, steps, options.last_batch))
        flops = {"private": seen * costs.step()}
        if self._distils:
            auxiliary = range(1, 1 + options.auxiliary_heads) if options.nu_aux else ()
            step = costs.step(auxiliary, embedding=options.nu_emb > 0)
            flops["public"] = steps * self._public_batch * step
            if options.transport == "checkpoint":
                pool = self._planned_pool(node, round)
                asked = self._picks(node, round, len(pool)).flatten().tolist() if pool else []
                forward = math.fsum(self._devices.costs(pool[slot]).forward for slot in asked)
                flops["teachers"] = self._public_batch * forward
            else:
                answered = sum(asked.places.numel() for asked in self._wanted(node, round).values())
                flops["predictions"] = answered * costs.forward
        return Cost({self._devices.modality: steps}, flops)

    def train(self, work: TaskGraph, node: int, round: int, state: Any, cost: Cost) -> Step:
        """Order the local update; see :func:`learners.training.distillation.mhd_update.update`.

        A divergence stops the run.
        """
        if node not in self._devices.samples:
            return Step()
        options, plan = self._options, self._plan()
        by_checkpoint = options.transport == "checkpoint"
        inputs = {
            **self._devices.common(),
            "architecture": self._devices.architectures[node],
            "state": state["model"],
            "memories": state["memories"],
            "device": node,
            "public": self._public_set,
            "places": self._public_places(node, round),
            "teachers": self._pool(node, round, state["pool"]) if by_checkpoint else Told(state["told"]),
            "wanted": {} if by_checkpoint else self._wanted(node, round),
            "first_step": (round - 1) * options.local_steps,
            "plan": plan,
            "seed": derive_seed(self.setup.seed, "training", node, round),
        }
        trained = work.do(update, inputs, round, self._stack(node, plan, MANY, options.local_steps))
        trained = self._finite(work, trained, f"the training of device {node}", round)
        new = {**state, "model": trained["state"], "memories": trained["memories"]}
        return Step(new, trained["state" if by_checkpoint else "predictions"], trained["metrics"])

    def _plan(self) -> MHDPlan:
        options = self._options
        return MHDPlan(
            options.batch_size,
            options.nu_emb,
            options.nu_aux,
            options.confidence == "random",
            Rule.of(options),
            options.schedule,
            self.setup.rounds,
            options.local_steps,
            options.top_k,
            options.last_batch,
            self.setup.precision == "bf16",
        )

    def _pool(self, device: int, round: int, models: Sequence[tuple[int, Any]]) -> Pool:
        options = self._options
        slots = tuple((self._devices.architectures[teacher], model) for teacher, model in models)
        picks = (
            self._picks(device, round, len(slots)) if slots else torch.empty(options.local_steps, 0).long()
        )
        return Pool(slots, picks, self._auxiliary_heads, options.nu_emb > 0)

    def messages(
        self, node: int, round: int, receivers: Sequence[int], together: bool = False
    ) -> Sequence[Message]:
        """Return its parameters to the students that are to get them, or its predictions to those that need them."""
        if node not in self._devices.samples:
            return ()
        students = [k for k in receivers if k in self._devices.samples]
        if self._options.transport == "checkpoint":
            chosen = tuple(k for k in students if self._teacher_chosen(k, round) == node)
            return [Message(chosen, self._devices.costs(node).bits)] if chosen else ()
        wanted = self._wanted(node, round)
        return [Message((k,), self._prediction_bits(node, wanted[k])) for k in students if k in wanted]

    def _prediction_bits(self, device: int, wanted: Wanted) -> float:
        """Return the size of k values of each sample and head, their classes, and the embedding where it is used [bit].

        Which samples are meant everybody knows from the run's seed.
        """
        options, classes = self._options, len(self._devices.classes)
        number = BITS_PER_NUMBER + math.ceil(math.log2(classes))
        bits = options.auxiliary_heads * min(options.top_k, classes) * number if options.nu_aux else 0
        if options.nu_emb:
            trunk = self._devices.architectures[device].net().trunk
            bits += BITS_PER_NUMBER * (options.embedding_size or trunk.feature_count)
        return float(wanted.places.numel() * bits)

    def aggregate(
        self, work: TaskGraph, node: int, round: int, state: Any, arrived: Mapping[int, Any]
    ) -> Step:
        """Put a new checkpoint in the place of another in the pool, or keep predictions for the next round."""
        if node not in self._devices.samples:
            return Step()
        if self._options.transport == "predictions":
            return Step({**state, "told": tuple(predictions[node] for predictions in arrived.values())})
        pool = state["pool"]
        for teacher, model in arrived.items():
            pool = self._with_new(pool, (teacher, model), node, round)
        return Step({**state, "pool": pool})

    @classmethod
    def module(cls, network: Mapping[str, Any], tensors: Mapping[str, Any]) -> Any:
        """Return the network of a model that was kept; its last auxiliary head is judged, as in evaluation."""
        net: Any = super().module(network, tensors)
        net.judged = -1
        return net

    def evaluate(self, work: TaskGraph, node: int, round: int, state: Any) -> Future | None:
        """Order the evaluation of all heads, after every so many rounds and after the last."""
        if node not in self._devices.samples or not self._is_evaluated(round):
            return None
        found = self._evaluated(work, node, round, self._devices.architectures[node], state["model"])
        shares = self._devices.label_shares(node)
        return work.together(head_metrics, {"evaluated": found, "label_shares": shares}, round)


def head_metrics(inputs: Sequence[Inputs]) -> list[list[Metric]]:
    """Return accuracy, loss, and β_priv and β_sh of every head, from what was evaluated and shares of the classes."""
    return [_of_heads(one["evaluated"], one["label_shares"]) for one in inputs]


def _of_heads(found: Evaluated, own: Sequence[float]) -> list[Metric]:
    alike = [1.0] * len(own)
    metrics = [Metric("accuracy", found.accuracy(-1)), Metric("loss_test", found.loss), *found.judged]
    for head in range(len(found.correct)):
        metrics.append(Metric(f"beta_priv_{HEADS[head]}", found.weighted_accuracy(own, head)))
        metrics.append(Metric(f"beta_sh_{HEADS[head]}", found.weighted_accuracy(alike, head)))
    return metrics
