"""The server's next model, as a value that a task is handed: what FedAvg does, and the others do differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from learners.networks.state import Part, Row
from learners.training.late_fusion.aggregate import Rule, aggregate, averaging
from learners.training.late_fusion.server_optimizers import NONE, ServerOptimizerChoice
from learners.training.late_fusion.weights import shares
from learners.training.merging import amounts_by_part, merged
from netsim.learner import Metric

if TYPE_CHECKING:
    from learners.networks.state import State
    from learners.training.late_fusion.exchange import Model, Upload
    from learners.training.late_fusion.local_layers import Columns
    from learners.training.late_fusion.options import FederatedOptions
    from learners.training.late_fusion.server_optimizers import Memory, ServerOptimizer

__all__ = ["Averaging", "Combined", "PerStep", "amounts_by_part", "combine", "merged"]


class Combined(NamedTuple):
    """The model of a node after its round.

    Attributes:
        parts: Its model.
        head_weights: z.
        metrics: What was measured meanwhile.
        memory: What the node remembers of the others.
    """

    parts: State
    head_weights: Mapping[str, float]
    metrics: list[Metric]
    memory: Any = None


@dataclass(frozen=True)
class Averaging:
    """FedAvg: w ← Σ p_k w_k with p_k = n_k/Σn (McMahan et al. 2017, Algorithm 1).

    Attributes:
        amounts: n_k of each client.
        drops: Whether clients whose training diverged are left out, and counted.
        optimizer: The server's step.
        local: Places of numbers that clients keep to themselves, by part.
    """

    amounts: Mapping[int, float]
    drops: bool
    optimizer: ServerOptimizerChoice = field(default=NONE, kw_only=True)
    local: Columns | None = field(default=None, kw_only=True)

    def combine(self, round: int, before: Model, arrived: Mapping[int, Upload]) -> Combined:
        """Make the server's next model of what has ``arrived``; if that is nothing, it is the one ``before``."""
        uploads = {k: arrived[k] for k in sorted(arrived) if arrived[k].trained.finite}
        combined = Combined(before.parts, before.head_weights, [], before.memory)
        if uploads:
            combined = self.blend(round, before, uploads)
        dropped = self.dropped(len(arrived) - len(uploads))
        return combined._replace(metrics=[*combined.metrics, *dropped])

    def blend(self, round: int, before: Model, uploads: Mapping[int, Upload]) -> Combined:
        """Return the server's next model and z, from at least one upload."""
        updates = {k: upload.update for k, upload in uploads.items()}
        parts = aggregate(before.parts, updates, self.rule(round, uploads), self.weigh, self.local)
        if self.optimizer == NONE:
            return Combined(parts, before.head_weights, [])
        new, memory = stepped(self.optimizer.make(), before.parts, parts, before.memory or {})
        return Combined(new, before.head_weights, [], memory)

    def rule(self, round: int, uploads: Mapping[int, Upload]) -> Rule:
        """Return what becomes of trained numbers."""
        return averaging(self.weigh)

    def weigh(self, devices: Sequence[int]) -> dict[int, float]:
        """Return p_k of these clients by their data."""
        return shares({k: self.amounts[k] for k in devices})

    def dropped(self, count: int) -> list[Metric]:
        """Return the metric that so many clients were left out, where they can be."""
        return [Metric("dropped", float(count))] if self.drops else []


def stepped(
    optimizer: ServerOptimizer, before: State, mean: State, memory: Mapping[str, Memory]
) -> tuple[State, dict[str, Memory]]:
    """Return the server's model and memory by part, one step of ``optimizer`` from ``before`` towards the ``mean``.

    A part that nobody has sent rests. Running statistics are those of the mean.
    """
    parts, kept = dict(mean), dict(memory)
    for name, part in mean.items():
        if part is not before[name]:
            row = part.row.tensor.clone()
            weights, kept[name] = optimizer.step(before[name].weights, part.weights, memory.get(name, {}))
            row[: part.layout.weights] = weights
            parts[name] = Part(Row(row[None], 0), part.layout)
    return parts, kept


@dataclass(frozen=True)
class PerStep(Averaging):
    """FedAvg with p_k in proportion to n_k/‖a_k‖₁: the direction of FedNova, and a mean of the clients' models."""

    def rule(self, round: int, uploads: Mapping[int, Upload]) -> Rule:
        """Return what becomes of trained numbers."""
        amounts = {k: self.amounts[k] / upload.trained.normaliser for k, upload in uploads.items()}
        return averaging(lambda holders: shares({k: amounts[k] for k in holders}))


def averaging_of(options: FederatedOptions, amounts: Mapping[int, float], local: Columns) -> Averaging:
    """Return FedAvg's server as a scenario's ``options`` have it, with n_k of each client."""
    kind = PerStep if options.aggregation_weights == "per_step" else Averaging
    optimizer = getattr(options, "server_optimizer", NONE)
    return kind(amounts, options.on_nan == "drop", optimizer=optimizer, local=local)


def combine(inputs: Sequence[Mapping[str, Any]]) -> list[Combined]:
    """Do :meth:`Averaging.combine` of each ``method`` with the other inputs."""
    return [one["method"].combine(one["round"], one["before"], one["arrived"]) for one in inputs]
