"""Options that learners with mini-batches share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from learners.training.schedules import ScheduleChoice
from netsim.core.options import Options

LastBatch = Literal["keep", "drop"]
"""Use of the samples that an epoch's full mini-batches leave over: a smaller mini-batch, or none."""

LAST_BATCH = (
    "what becomes of the samples that an epoch's full batches leave over: a smaller batch, or nothing"
)
"""Description of ``last_batch``."""

Optimizer = Literal["sgd", "adam", "adamw"]


class OptimizerOptions(Options):
    """Steps of a local update; learners have defaults of their own."""

    optimizer: Optimizer = Field(default="sgd", description="optimizer of a local update")
    learning_rate: float = Field(default=0.01, gt=0, description="step size η of the optimizer")
    schedule: ScheduleChoice = Field(
        default=ScheduleChoice.model_construct(name="constant"),
        description="how the step size changes from round to round: constant, step, cosine, warm_up, inverse",
    )
    momentum: float = Field(default=0.0, ge=0, lt=1, description="momentum of optimizer sgd")
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        description="weight decay: this factor times the weights is added to the gradient, or with adamw to the step "
        "before it is multiplied by the step size",
    )
    clip_norm: float | None = Field(
        default=None,
        gt=0,
        description="longest gradient of a step: the gradient of all a device's weights together is shortened to this "
        "norm; null: never",
    )
