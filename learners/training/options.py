"""Options that learners with mini-batches share."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from learners.training.schedules import ScheduleChoice
from netsim.core.options import Options

LastBatch = Literal["keep", "drop"]
"""Use of the samples that an epoch's full mini-batches leave over: a smaller mini-batch, or none."""

LAST_BATCH = (
    "what becomes of the samples that an epoch's full batches leave over: a smaller batch, or nothing"
)
"""Description of ``last_batch``."""

Optimizer = Literal["sgd", "adam", "adamw"]

Loss = Literal["cross_entropy", "mse", "mae", "huber"]
"""What is minimised: of classes, or of real numbers."""


class InitialOptions(Options):
    """Weights that training starts from; a file's name alone means all of it."""

    file: Path = Field(
        description="weights by name: .safetensors, as `models` keeps them, or a file of PyTorch such as torchvision's"
    )
    into: str = Field(
        "",
        description="the module that the file's names are in, such as trunks.image.net; empty: the whole network",
    )
    only: tuple[str, ...] = Field(
        (), description="parts that are taken, by the beginnings of their names in the network; none: all"
    )


def _file(value: Any) -> Any:
    return {"file": value} if isinstance(value, str | Path) else value


class StartOptions(Options):
    """Weights that training starts from, and parts that it leaves alone."""

    initial: Annotated[InitialOptions | None, BeforeValidator(_file)] = Field(
        None, description="weights to start from: a file, or a block; null: drawn from the seed"
    )
    frozen: tuple[str, ...] = Field(
        (),
        description="parts that stay as they begin, by the beginnings of their names, such as trunks.image: neither "
        "trained nor sent, and no cost is charged for either",
    )

    def start_facts(self) -> dict[str, Any]:
        """Return what a run's metadata say of what it starts from."""
        found: dict[str, Any] = {"frozen": list(self.frozen)} if self.frozen else {}
        if self.initial is not None:
            digest = hashlib.sha256(self.initial.file.read_bytes()).hexdigest()
            found["initial"] = {"file": self.initial.file.name, "sha256": digest}
        return found


class OptimizerOptions(StartOptions):
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
