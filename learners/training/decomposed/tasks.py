"""The work that devices order: local updates and evaluations, each with how it is done together with others like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from learners.networks.state import state_bytes
from learners.training.coding import Memory, compressed
from learners.training.decomposed import evaluation, local_update
from learners.training.decomposed.aggregate import aggregate, gossiped
from learners.training.decomposed.stackable import evaluation_obstacle, training_obstacle
from learners.training.evaluation import Judge, as_metrics
from netsim.core.streams import derive_seed
from netsim.work.future import Future, Shared
from netsim.work.job import Inputs, Stack

if TYPE_CHECKING:
    from learners.training.decomposed.model import SharedModel
    from learners.training.decomposed.plan import LocalCost, TrainingPlan
    from learners.training.task import Store
    from netsim.learner import Metric, Setup
    from netsim.work.graph import TaskGraph


class Told(NamedTuple):
    """A compressed model for neighbours.

    Attributes:
        parts: It, as they know it if they have heard everything.
        number: How many messages there were before.
        before: The model as they knew it then.
    """

    parts: Any
    number: int
    before: Any


class Tasks:
    """Orders local updates and evaluations of parts of one model."""

    def __init__(
        self,
        setup: Setup,
        model: SharedModel,
        store: Store,
        test_rows: torch.Tensor,
        judge: Judge | None = None,
    ) -> None:
        self.setup = setup
        self.model = model
        self._store, self._rows = Shared(store), Shared(test_rows)
        self._judge = judge and Shared(judge)
        self._test_samples = len(test_rows)
        self._names = tuple(model.architecture.networks)
        self._codec = Shared(model.codec) if model.codec else None
        self._first = Shared(model.initial)
        self._stacks: dict[
            tuple[tuple[str, ...], int | None, int], Stack
        ] = {}  # by modalities, plan, batch size

    def train(
        self,
        work: TaskGraph,
        device: int,
        round: int,
        modalities: tuple[str, ...],
        parts: object,
        memories: object,
        cost: LocalCost,
        plan: TrainingPlan,
        pace: float,
    ) -> Future:
        """Order a local update; return a future of :class:`learners.training.decomposed.local_update.Trained`."""
        inputs = {
            "architecture": self.model.restricted_to(modalities),
            "state": parts,
            "memories": memories,
            "store": self._store,
            "device": device,
            "iterations": cost.iterations,
            "total_iterations": cost.total_iterations,
            "plan": plan,
            "seed": derive_seed(self.setup.seed, "training", device, round),
            "torch_device": self.setup.torch_device,
            "pace": pace,
        }
        batch_size = min(plan.batch_size, len(self._store.value.shares[device]))
        stack = self._training_stack(modalities, plan, batch_size, max(1, cost.total_iterations))
        return work.do(local_update.local_update, inputs, round, stack)

    def sent(
        self,
        work: TaskGraph,
        device: int,
        round: int,
        modalities: tuple[str, ...],
        state: Any,
        trained: Future,
    ) -> tuple[Any, Memory | None]:
        """Return what a device that had ``state`` sends of what it has ``trained``, and its memory of messages."""
        if self._codec is None:
            return trained["state"], None
        codec, memory = self._codec.value, state.memory or Memory()
        # A server knows what it has sent itself.
        known = self._public(modalities, memory) if codec.gossips else state.parts
        inputs = {
            "codec": self._codec,
            "device": device,
            "round": round,
            "trained": trained,
            "known": known,
            "error": memory.error,
        }
        found = work.together(compressed, inputs, round)
        parts = found["trained"]["state"]
        if not codec.gossips:
            return parts, memory._replace(error=found["error"]) if codec.remembers else memory
        told = Told(parts, memory.number, known)
        return told, memory._replace(public=parts, number=memory.number + 1)

    def mixed(
        self,
        work: TaskGraph,
        device: int,
        round: int,
        modalities: tuple[str, ...],
        state: Any,
        arrived: Mapping[int, Any],
        how: Mapping[str, Any],
    ) -> tuple[Future, Memory | None]:
        """Order aggregation among neighbours, of whole models or of compressed ones; return the memory, too."""
        inputs = {"device": device, "parts": state.parts, "arrived": arrived, **how}
        if self._codec is None:
            return work.together(aggregate, inputs, round), None
        memory = state.memory or Memory()
        inputs |= {
            "own": state.parts,
            "parts": self._public(modalities, memory),
            "arrived": {k: told.parts for k, told in arrived.items()},
            "missed": {
                k: told.before for k, told in arrived.items() if told.number != memory.numbers.get(k, 0)
            },
            "copies": memory.copies,
            "first": self._first,
            "step": self._codec.value.step,
        }
        found = work.together(gossiped, inputs, round)
        numbers = {**memory.numbers, **{k: told.number + 1 for k, told in arrived.items()}}
        return found, memory._replace(copies=found["copies"], numbers=numbers)

    def _public(self, modalities: tuple[str, ...], memory: Memory) -> Any:
        """Return what neighbours know of a device: at first the model that all begin with."""
        return self.model.first(modalities) if memory.public is None else memory.public

    def evaluate(
        self, work: TaskGraph, node: int, round: int, modalities: tuple[str, ...], parts: object
    ) -> Future | None:
        """Order an evaluation, after every so many rounds and after the last; return a future of metrics."""
        settings = self.setup.evaluation
        if round % settings.every and round != self.setup.rounds:
            return None
        inputs = {
            "architecture": self.model.restricted_to(modalities),
            "state": parts,
            "store": self._store,
            "rows": self._rows,
            "batch_size": settings.batch_size,
            "seed": derive_seed(self.setup.seed, "evaluation", node, round),
            "torch_device": self.setup.torch_device,
            "judge": self._judge,
            "devices": tuple(self._store.value.shares) if node == self.setup.server else (node,),
        }
        stack = self._evaluation_stack(modalities, settings.batch_size)
        result = work.do(evaluation.evaluate, inputs, round, stack)
        return work.together(evaluated, {"result": result, "modalities": self._names}, round)

    def _training_stack(
        self, modalities: tuple[str, ...], plan: TrainingPlan, batch_size: int, steps: int
    ) -> Stack:
        """Return how local updates by ``plan``, one of few that live on, are done together.

        Full batches must have the same size.
        """
        known = (modalities, id(plan), batch_size)
        if known not in self._stacks:
            architecture = self.model.restricted_to(modalities)
            self._stacks[known] = Stack(
                f"training {architecture.text} {plan} {batch_size}",
                local_update.local_updates,
                local_update.shortened,
                # State, gradients and optimizer, and a batch with what it leads to.
                (2 + len(plan.rule.memories)) * self._state_bytes(modalities)
                + 3 * batch_size * self.model.activation_bytes(modalities),
                f"training {'+'.join(architecture.networks)}",
                steps,
                training_obstacle,
            )
        return self._stacks[known]

    def _evaluation_stack(self, modalities: tuple[str, ...], batch_size: int) -> Stack:
        """Return how evaluations are done together."""
        known = (modalities, None, batch_size)
        if known not in self._stacks:
            architecture = self.model.restricted_to(modalities)
            self._stacks[known] = Stack(
                f"evaluation {architecture.text} {batch_size}",
                evaluation.evaluate_stacked,
                evaluation.shortened,
                self._state_bytes(modalities) + batch_size * self.model.activation_bytes(modalities),
                f"evaluation {'+'.join(architecture.networks)}",
                -(-self._test_samples // batch_size),
                evaluation_obstacle,
            )
        return self._stacks[known]

    def _state_bytes(self, modalities: tuple[str, ...]) -> float:
        return state_bytes(self.model.first(modalities))


def evaluated(inputs: Sequence[Inputs]) -> list[list[Metric]]:
    """Return fused accuracy and loss, and each modality's accuracy where the task has several."""
    return [as_metrics(one["result"], one["modalities"]) for one in inputs]
