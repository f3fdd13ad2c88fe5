"""Settings of a local update, besides a model, samples and a seed: small, frozen and picklable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from learners.training.optimizers import Rule

if TYPE_CHECKING:
    from learners.training.batches import LastBatch
    from learners.training.late_fusion.options import FederatedOptions
    from netsim.learner import Setup


@dataclass(frozen=True)
class LocalPlan:
    """Settings of a client's training.

    Attributes:
        batch_size: Samples per step.
        rule: The optimizer, which remembers nothing as a round begins.
        last_batch: What becomes of the samples that an epoch's full mini-batches leave over.
        measured: S, which part of the training and of the validation samples each head's loss is measured on before
            and after; None to measure nothing.
        evaluation_batch_size: Samples per forward pass where nothing is trained.
        stops: Whether a training that diverges ends the run.
        bf16: Whether forward passes compute in bfloat16 where PyTorch holds that to be safe.
    """

    batch_size: int
    rule: Rule
    last_batch: LastBatch = "keep"
    measured: float | None = None
    evaluation_batch_size: int = 256
    stops: bool = False
    bf16: bool = False

    @classmethod
    def of(cls, options: FederatedOptions, setup: Setup) -> LocalPlan:
        """Return what a scenario's ``options`` say; nothing is measured."""
        return cls(
            options.batch_size,
            Rule.of(options, proximal=getattr(options, "mu", 0.0)),
            options.last_batch,
            evaluation_batch_size=setup.evaluation.batch_size,
            stops=options.on_nan == "stop",
            bf16=setup.precision == "bf16",
        )
