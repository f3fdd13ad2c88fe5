"""Settings of a local update, besides a model, samples and a seed: small, frozen and picklable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from learners.training.optimizers import Rule

if TYPE_CHECKING:
    from learners.training.batches import LastBatch
    from learners.training.late_fusion.options import FederatedOptions
    from learners.training.privacy import PrivacyOptions
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
        private: Privacy of each sample, or None: gradients of samples are shortened, and noise is added to their sum.
        bf16: Whether forward passes compute in bfloat16 where PyTorch holds that to be safe.
    """

    batch_size: int
    rule: Rule
    last_batch: LastBatch = "keep"
    measured: float | None = None
    evaluation_batch_size: int = 256
    stops: bool = False
    private: PrivacyOptions | None = None
    bf16: bool = False

    @classmethod
    def of(cls, options: FederatedOptions, setup: Setup) -> LocalPlan:
        """Return what a scenario's ``options`` say; nothing is measured."""
        privacy = getattr(options, "privacy", None)
        return cls(
            options.batch_size,
            Rule.of(options, proximal=getattr(options, "mu", 0.0)),
            options.last_batch,
            evaluation_batch_size=setup.evaluation.batch_size,
            stops=options.on_nan == "stop",
            private=privacy if privacy and privacy.mode == "sample" else None,
            bf16=setup.precision == "bf16",
        )
