"""Learners by distillation, and their options, without PyTorch."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PositiveInt, field_validator, model_validator

from learners.data.choice import DataChoice
from learners.networks.choice import NetworkChoice
from learners.training.distillation.graphs import Choice, Named
from learners.training.options import LAST_BATCH, LastBatch, Optimizer, OptimizerOptions
from learners.training.schedules import ScheduleChoice
from netsim.core.entry import Entry

Disagreement = Literal["sl", "kl", "l1"]
MOST_HEADS = 8


class DistillationOptions(OptimizerOptions):
    """Options that all learners by distillation have."""

    networks: dict[str, NetworkChoice] = Field(
        default={},
        description="network of the modality by name, with its options, for devices whose class has none of its own",
    )
    modalities: tuple[str] | None = Field(
        default=None, description="the one modality to use, where the data has several"
    )
    last_batch: LastBatch = Field(default="keep", description=LAST_BATCH)


class MHDOptions(DistillationOptions):
    """The block of an ``mhd`` learner; numbers are those of the paper's Section 4.1 where it has them."""

    auxiliary_heads: int = Field(
        default=4,
        ge=1,
        le=MOST_HEADS,
        description="auxiliary heads m besides the main one; none if nu_aux is 0",
    )
    nu_emb: float = Field(default=1.0, ge=0, description="weight ν_emb of the distance of embeddings (eq. 2)")
    nu_aux: float = Field(
        default=3.0, ge=0, description="weight ν_aux of the auxiliary heads' distillation (eqs. 4 and 5)"
    )
    embedding_size: PositiveInt | None = Field(
        default=None,
        description="width that a learnt linear map brings embeddings to; null: they have one width as they are",
    )
    confidence: Literal["max", "random"] = Field(
        default="max",
        description="whom a sample's target comes from: the most confident candidate, or any of them",
    )
    local_steps: PositiveInt = Field(
        default=200, description="optimizer steps of a round, S_P: devices exchange once a round"
    )
    batch_size: PositiveInt = Field(default=512, description="private samples per step")
    public_batch_size: PositiveInt | None = Field(
        default=None, description="public samples per step; null: as many as private ones"
    )
    learning_rate: float = Field(default=0.1, gt=0, description="step size η at the start")
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="momentum of optimizer sgd, kept from round to round"
    )
    schedule: ScheduleChoice = Field(
        default=ScheduleChoice.model_construct(name="cosine"),
        description="how the step size changes from step to step: cosine (to zero in the last round), constant, step, "
        "warm_up, inverse",
    )
    targets: PositiveInt = Field(default=1, description="checkpoints or teachers per step, Δ")
    pool_size: PositiveInt | None = Field(
        default=None, description="checkpoints that a device keeps, N_P; null: as many as there are devices"
    )
    transport: Literal["checkpoint", "predictions"] = Field(
        default="checkpoint",
        description="what is sent: a teacher's parameters once a round, or its predictions for the next round's public "
        "samples",
    )
    top_k: PositiveInt = Field(
        default=5,
        description="classes of each prediction that are sent; the rest is spread evenly over the others",
    )
    graph: Choice | Annotated[dict[PositiveInt, Choice], Field(min_length=1)] = Field(
        default="neighbours",
        description="who learns from whom: neighbours, complete, islands, cycle, baseline, pairs [teacher, student], "
        "or any of these by the round that it begins with",
    )
    island_size: int = Field(default=2, ge=2, description="devices of an island")
    public: DataChoice | None = Field(
        default=None,
        description="data set whose training samples everybody has, without labels; null: partition.public_share",
    )

    @field_validator("graph", mode="before")
    @classmethod
    def _is_a_graph(cls, value: Any) -> Any:
        """Raise one sentence about a word that is no graph, instead of one for each form that a graph can have."""
        if isinstance(value, dict) and not all(isinstance(one, int) and one >= 1 for one in value):
            raise ValueError(f"rounds are counted from 1 (got {', '.join(map(repr, value)) or 'none'})")
        for one in value.values() if isinstance(value, dict) else [value]:
            pairs = isinstance(one, list | tuple) and all(map(_is_pair, one))
            if not pairs and one not in get_args(Named):
                near = difflib.get_close_matches(str(one), get_args(Named), n=1)
                hint = f"Did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"must be {', '.join(get_args(Named))}, pairs [teacher, student], or any of these by the round "
                    f"that it begins with (got {one!r}). {hint}".rstrip()
                )
        return value

    @model_validator(mode="after")
    def _fits(self) -> MHDOptions:
        if isinstance(self.graph, dict) and 1 not in self.graph:
            raise ValueError(
                f"graph: must say which graph round 1 has (begins with round {min(self.graph)}); add 1: ..."
            )
        return self


MHD = Entry(
    "learners.algorithms.mhd:MHD",
    MHDOptions,
    "Multi-headed distillation: each auxiliary head learns from heads one lower, its own and others', on public data.",
    network_per_device=True,
    suits=frozenset({"decentralized"}),
)


def _is_pair(value: Any) -> bool:
    """Return whether ``value`` is two numbers of devices."""
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(one, int) for one in value)


class FedMDOptions(DistillationOptions):
    """The block of a ``fedmd`` learner; numbers are those of the authors' code where it has them."""

    public: DataChoice | None = Field(
        default=None,
        description="data set whose labelled training samples everybody has; null: partition.public_share",
    )
    label_space: Literal["union", "shared", "private"] = Field(
        default="union",
        description="classes of the networks: private and public ones in one head; the same ones; or a head for the "
        "public ones that is used in the first round only",
    )
    public_epochs: int = Field(
        default=20, ge=0, description="passes over the public samples before the first exchange"
    )
    private_epochs: int = Field(
        default=25, ge=0, description="passes over its own samples after that, before the first exchange"
    )
    alignment_samples: PositiveInt = Field(
        default=5000, description="public samples of a round that scores are exchanged on"
    )
    digest_epochs: int = Field(default=1, ge=0, description="passes over these with the consensus as target")
    revisit_epochs: int = Field(default=4, ge=0, description="passes over its own samples after that")
    public_batch_size: PositiveInt = Field(
        default=128, description="samples per step on public data, first round"
    )
    digest_batch_size: PositiveInt = Field(
        default=256, description="samples per step of the digest, and per forward pass"
    )
    batch_size: PositiveInt = Field(default=32, description="samples per step on its own data")
    optimizer: Optimizer = Field(
        default="adam", description="optimizer; digest and own data have one each, kept between rounds"
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="step size η of both optimizers")


FEDMD = Entry(
    "learners.algorithms.fedmd:FedMD",
    FedMDOptions,
    "Parties learn public labels, then their own; each round they digest the mean of all parties' public scores.",
    network_per_device=True,
    suits=frozenset({"decentralized", "server"}),
)


GLOBAL = NetworkChoice(name="cnn")
"""The server's network where the scenario names none; the paper does not say which it used."""


class FedZKTOptions(DistillationOptions):
    """The block of a ``fedzkt`` learner; numbers are those of the paper's Section IV-A for its small data sets."""

    initialisation: Literal["glorot", "pytorch"] = Field(
        default="glorot",
        description="how first weights are drawn: as the paper, or as each layer's own default",
    )
    local_epochs: PositiveInt = Field(default=5, description="passes over a device's data per round, T_l")
    batch_size: PositiveInt = Field(default=256, description="samples per step on a device")
    optimizer: Optimizer = Field(
        default="sgd", description="optimizer of a device; what it remembers is forgotten as a round begins"
    )
    l2: float = Field(
        default=1.0, ge=0, description="weight λ of ‖w − w⁰‖², w⁰ being what the device received (eq. 9)"
    )
    loss: Disagreement = Field(
        default="sl", description="what generator and global model play for: sl, kl or l1 (eqs. 3 to 5)"
    )
    global_network: NetworkChoice | None = Field(
        default=None, description="the server's network; null: cnn of (32, 64) channels and 128 features"
    )
    distillation_iterations: PositiveInt = Field(
        default=200, description="iterations n_D of the game, and of the transfer back"
    )
    student_steps: PositiveInt = Field(
        default=1, description="steps of the global model for each of the generator"
    )
    server_batch_size: int = Field(default=256, ge=2, description="made-up samples per step on the server")
    server_learning_rate: float = Field(
        default=0.01, gt=0, description="step size η_S of SGD, of the global model and of the transfer back"
    )
    server_momentum: float = Field(default=0.0, ge=0, lt=1, description="momentum of it")
    generator_learning_rate: float = Field(
        default=1e-3, gt=0, description="step size η_G of Adam for the generator"
    )
    rate_drop: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="factor on the server's step sizes at a half and at three quarters of the rounds",
    )
    noise_size: PositiveInt = Field(default=100, description="length of the generator's noise z")
    generator_channels: tuple[PositiveInt, PositiveInt] = Field(
        default=(128, 64), description="channels of the generator's two stages"
    )
    transfer: Literal["active", "all"] = Field(
        default="active",
        description="whose models learn from the global one: this round's participants, or all",
    )
    student_statistics: Literal["keep", "update", "eval"] = Field(
        default="keep",
        description="BatchNorm of device models in the transfer back: the batch's statistics and running ones left "
        "alone, or updated, or the running ones used",
    )
    on_nan: Literal["stop", "drop"] = Field(
        default="stop",
        description="where training diverges: stop the run, or go on with the models from before",
    )


FEDZKT = Entry(
    "learners.algorithms.fedzkt:FedZKT",
    FedZKTOptions,
    "Zero-shot knowledge transfer: parameters go up, and come back distilled, each device's in its own shape.",
    network_per_device=True,
    suits=frozenset({"server"}),
)
