"""Settings of a local update, besides a model, samples and a seed: small, frozen and picklable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from learners.training.optimizers import Rule

if TYPE_CHECKING:
    from learners.training.batches import LastBatch


@dataclass(frozen=True)
class LocalPlan:
    """Settings of a client's training.

    Attributes:
        batch_size: Samples per step.
        learning_rate: η of SGD.
        last_batch: What becomes of the samples that an epoch's full mini-batches leave over.
        momentum: ρ; the velocity is zero as a round begins.
        weight_decay: Added to the gradient, times the weights.
        proximal: μ of FedProx's term (μ/2)‖w − w⁰‖².
        measured: S, which part of the training and of the validation samples each head's loss is measured on before
            and after; None to measure nothing.
        evaluation_batch_size: Samples per forward pass where nothing is trained.
        stops: Whether a training that diverges ends the run.
        bf16: Whether forward passes compute in bfloat16 where PyTorch holds that to be safe.
    """

    batch_size: int
    learning_rate: float
    last_batch: LastBatch = "keep"
    momentum: float = 0.0
    weight_decay: float = 0.0
    proximal: float = 0.0
    measured: float | None = None
    evaluation_batch_size: int = 256
    stops: bool = False
    bf16: bool = False

    @property
    def rule(self) -> Rule:
        """Return the optimizer."""
        return Rule("sgd", self.learning_rate, self.momentum, self.weight_decay, self.proximal)
