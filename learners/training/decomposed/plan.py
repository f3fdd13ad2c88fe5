"""Settings of a job, besides a state, samples and a seed: small, frozen and picklable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netsim.learner import Cost

if TYPE_CHECKING:
    from learners.training.batches import LastBatch
    from learners.training.optimizers import Rule


@dataclass(frozen=True)
class LossWeights:
    """Weights and forms of the losses of eq. (12); a loss of weight zero is not computed.

    Attributes:
        similarity: α1.
        auxiliary: α2.
        difference: α3.
        distillation: α4.
        difference_form: ``dsn`` or ``raw``.
        distillation_form: ``literal`` or ``fedgen``.
    """

    similarity: float = 0.0
    auxiliary: float = 0.0
    difference: float = 0.0
    distillation: float = 0.0
    difference_form: str = "dsn"
    distillation_form: str = "literal"


@dataclass(frozen=True)
class GeneratorTraining:
    """Training of the generator after the network: N̂ iterations of eq. (14)."""

    iterations: int
    rule: Rule
    beta: float


@dataclass(frozen=True)
class LocalCost(Cost):
    """A local update's cost; modalities take part in some or all of ``total_iterations`` N_k."""

    total_iterations: int = 0


@dataclass(frozen=True)
class TrainingPlan:
    """Settings of a local update.

    Attributes:
        losses: What is minimised.
        rule: The optimizer, with its step size η.
        batch_size: Samples per iteration.
        evaluation_batch_size: Samples per forward pass where nothing is trained.
        last_batch: What becomes of the samples that an epoch's full mini-batches leave over.
        generator: How the generator is trained; None where there is none.
        bf16: Whether forward passes compute in bfloat16 where PyTorch holds that to be safe.
    """

    losses: LossWeights
    rule: Rule
    batch_size: int
    evaluation_batch_size: int
    last_batch: LastBatch = "keep"
    generator: GeneratorTraining | None = None
    bf16: bool = False
