"""DMML, DMML-KD, DMML-KD with training balance and their references, and their options, without PyTorch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from learners.networks.choice import NetworkChoice
from learners.training.late_fusion.options import CompressionOptions
from learners.training.late_fusion.options import check_place as check_place
from learners.training.options import LAST_BATCH, LastBatch, Optimizer, OptimizerOptions
from netsim.core.entry import Entry
from netsim.core.options import Options


class TrainingOptions(OptimizerOptions):
    """Training of a device: shared by all learners that train a multi-modal network."""

    networks: dict[str, NetworkChoice] = Field(
        default={},
        description="network of each modality by name, with its options; small defaults for the rest",
    )
    modalities: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="use only these modalities; devices that own none sit out"
    )
    optimizer: Optimizer = Field(default="adam", description="optimizer of the network; the paper's is Adam")
    learning_rate: float = Field(default=5e-4, gt=0, description="the optimizer's step size, η")
    batch_size: PositiveInt = Field(default=16, description="samples per iteration")
    last_batch: LastBatch = Field(default="keep", description=LAST_BATCH)
    local_epochs: PositiveInt = Field(
        default=1, description="passes over a device's data per round; costs.stated.iterations overrides it"
    )
    optimizer_state: Literal["keep", "reset"] = Field(
        default="keep",
        description="whether what the optimizer remembers lives on from round to round (it is never sent)",
    )


class FusionOptions(TrainingOptions):
    """Fusion of modalities where no generator needs them decomposed."""

    architecture: Literal["decomposed", "concat"] = Field(
        default="decomposed",
        description="the network of the paper's Fig. 4, or of its Fig. 3; with one modality there is nothing to fuse: "
        "the network is a trunk with one classifier",
    )


class BatteryOptions(Options):
    """Treatment of a device's battery."""

    spare_battery: bool = Field(
        default=False, description="do fewer iterations where the battery would not last for all of them"
    )
    energy_bits: Literal["sent", "paper_eq20"] = Field(
        default="sent",
        description="bits in the energy forecast: those really sent, or every modality to every neighbour",
    )


class DMMLOptions(CompressionOptions, FusionOptions, BatteryOptions):
    """The block of a ``dmml`` learner."""


DMML = Entry(
    "learners.algorithms.dmml:DMML",
    DMMLOptions,
    "Decentralized multi-modal learning: train on the task's loss, exchange models with neighbours, mix.",
    suits=frozenset({"decentralized", "server", "hierarchical"}),
)


class DMMLKDOptions(CompressionOptions, TrainingOptions, BatteryOptions):
    """The block of a ``dmml_kd`` learner."""

    alpha_sim: float = Field(default=1.0, ge=0, description="weight α1 of the similarity loss (eq. 6)")
    alpha_cls: float = Field(default=1.0, ge=0, description="weight α2 of the auxiliary loss (eq. 8)")
    alpha_dif: float = Field(default=1.0, ge=0, description="weight α3 of the difference loss (eq. 9)")
    alpha_kd: float = Field(default=1.0, ge=0, description="weight α4 of the distillation loss (eq. 16)")
    alpha_kd_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="what α4 is multiplied by from round to round: in round t it is α4 decay^(t−1)",
    )
    beta: float = Field(
        default=1.0, ge=0, description="weight β of the distance in the generator's loss (eq. 14)"
    )
    difference: Literal["dsn", "raw"] = Field(
        default="dsn", description="eq. (9) as its source computes it, or as printed"
    )
    distillation: Literal["literal", "fedgen"] = Field(
        default="literal", description="eq. (16) as printed, or in its source's direction"
    )
    distillation_in_first_round: bool = Field(
        default=False, description="whether round 1 learns from the generator, which nobody has trained yet"
    )
    generator_learning_rate: float = Field(
        default=1e-4, gt=0, description="Adam's step size for the generator, η^G"
    )
    generator_iterations: int = Field(
        default=50, ge=0, description="iterations of the generator per round, N̂"
    )
    generator_hidden: PositiveInt = Field(default=512, description="hidden units of the generator")
    noise_size: PositiveInt = Field(default=64, description="length of the generator's noise z")


DMML_KD = Entry(
    "learners.algorithms.dmml_kd:DMMLKD",
    DMMLKDOptions,
    "DMML whose features are decomposed and guided by a generator that the devices learn together.",
    suits=frozenset({"decentralized", "server", "hierarchical"}),
)


class DMMLKDBalanceOptions(DMMLKDOptions):
    """The block of a ``dmml_kd_balance`` learner."""

    spare_battery: bool = Field(
        default=True, description="do fewer iterations where the battery would not last for all of them"
    )
    epsilon: float = Field(default=1e-8, gt=0, description="ε of the balance metric γ (eq. 19)")
    variation: Literal["round", "iteration"] = Field(
        default="round",
        description="φ over the sender's whole round, as printed in eq. (18), or divided by its iterations",
    )
    variation_reference: Literal["none", "first"] = Field(
        default="none",
        description="φ as it is, or relative to the modality's own mean φ of the first round",
    )
    coordination: Literal["sent", "free"] = Field(
        default="sent",
        description="reports to the cluster head and its decisions are sent, 32 bits a number, or free (paper)",
    )


DMML_KD_BALANCE = Entry(
    "learners.algorithms.dmml_kd_balance:DMMLKDBalance",
    DMMLKDBalanceOptions,
    "DMML-KD that trains fast modalities less often, as a cluster head decides after every round.",
    suits=frozenset({"decentralized"}),
)
