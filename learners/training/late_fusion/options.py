"""Learners through a server that send parameters, and their options, without PyTorch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from learners.networks.choice import NetworkChoice
from learners.training.compression import WHOLE, CompressorChoice
from learners.training.late_fusion.server_optimizers import NONE, ServerOptimizerChoice
from learners.training.options import LAST_BATCH, LastBatch, Loss, Optimizer, OptimizerOptions
from learners.training.privacy import PrivacyOptions
from netsim.core.entry import Entry
from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.staleness import StalenessOptions

Sign = Literal["clip", "abs", "signed"]


class FederatedOptions(OptimizerOptions):
    """Training of clients and their weights: shared by all learners that average.

    Batch size, momentum and weight decay are those of FedHGB, Section VI-A; its step size of 1.25e-4 is meant for
    1000 rounds of 300 steps.
    """

    networks: dict[str, NetworkChoice] = Field(
        default={},
        description="network of each modality by name, with its options; small defaults for the rest",
    )
    modalities: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="use only these modalities; devices that own none sit out"
    )
    head_hidden: PositiveInt | None = Field(
        default=None,
        description="units of the hidden layers of each modality's head (one) and of the fused head (two); null: 512. "
        "With one modality there is one head, with one hidden layer of so many units; null: with none",
    )
    local_epochs: PositiveInt = Field(
        default=1, description="passes over a device's data per round; costs.stated.iterations overrides it"
    )
    epochs_range: tuple[PositiveInt, PositiveInt] | None = Field(
        default=None,
        description="fewest and most passes; each device draws anew each round, instead of local_epochs",
    )
    local_steps: PositiveInt | None = Field(
        default=None, description="optimizer steps per round, the same for every device, instead of epochs"
    )
    batch_size: PositiveInt = Field(default=24, description="samples per step")
    last_batch: LastBatch = Field(default="keep", description=LAST_BATCH)
    optimizer: Optimizer = Field(
        default="sgd", description="optimizer of a client; what it remembers is forgotten as a round begins"
    )
    learning_rate: float = Field(default=0.01, ge=0, description="step size η of the optimizer")
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="momentum of optimizer sgd; it is forgotten as a round begins"
    )
    weight_decay: float = Field(default=1e-3, ge=0, description="weight decay of the optimizer")
    aggregation_weights: Literal["samples", "uniform", "per_step"] = Field(
        default="samples",
        description="how much a client counts: by its training samples n, all the same, or by n/‖a‖, with FedNova's "
        "size ‖a‖ of its work; BatchNorm's statistics are averaged by n, or all the same",
    )
    validation_share: float = Field(
        default=0.2, ge=0, lt=1, description="part of its samples that each device holds out of training"
    )
    on_nan: Literal["stop", "drop"] = Field(
        default="stop",
        description="where a device's training diverges: stop the run, or leave the device out of the aggregation",
    )

    @model_validator(mode="after")
    def _one_length(self) -> FederatedOptions:
        if self.epochs_range is not None:
            if self.epochs_range[0] > self.epochs_range[1]:
                raise ValueError(
                    f"epochs_range: must be [fewest, most] (got {list(self.epochs_range)}); turn it round"
                )
            if self.local_steps is not None:
                raise ValueError("epochs_range: cannot be used with local_steps; leave one of them out")
        return self

    @model_validator(mode="after")
    def _has_a_size_of_work(self) -> FederatedOptions:
        needs = self.aggregation_weights == "per_step" or isinstance(self, FedNovaOptions)
        if needs and self.optimizer != "sgd":
            raise ValueError(
                f"optimizer: the size of a client's work, ‖a‖, is known of sgd only (got {self.optimizer!r}); use sgd, "
                "or fedavg with aggregation_weights samples"
            )
        return self


class LossOptions(FederatedOptions):
    """Training of all heads alike, or of the fused one alone; of classes, or of real numbers."""

    loss: Loss = Field(
        default="cross_entropy",
        description="what is minimised: cross_entropy of classes; of labels that are real numbers mse, mae, or huber "
        "(a square up to an error of 1, then a line)",
    )
    losses: Literal["mean", "fused"] = Field(
        default="mean",
        description="what is minimised: the mean of all heads' losses, as FedHGB does while its weights are equal, "
        "or the fused head's alone, and then modalities have no head of their own",
    )


class ServerStepOptions(Options):
    """The step of a server that waits for its clients."""

    server_optimizer: ServerOptimizerChoice = Field(
        default=NONE,
        description="what the server makes of the mean of its clients' weights: none (it is the new model), fedavgm, "
        "fedadam, fedyogi, fedadagrad",
    )


class MixOptions(Options):
    """Exchange without a server."""

    mix_every: PositiveInt = Field(
        default=1,
        description="without a server: devices send and average after every so many rounds, and train on alone in "
        "between (local SGD)",
    )


class LocalOptions(Options):
    """Layers of each device's own."""

    local: tuple[str, ...] = Field(
        default=(),
        description="what stays on each device, neither sent nor averaged: bn (batch normalisation, as FedBN), head "
        "(the classifiers, as FedPer), or beginnings of names such as trunk/image.layers.0; then each device's own "
        "model is evaluated, after its training",
    )


class CompressionOptions(Options):
    """Fewer bits for what a device sends."""

    compression: CompressorChoice = Field(
        default=WHOLE,
        description="what a device makes of the change that it sends: none (each number as it is), top_k, random_k, "
        "quantise, sign; without a server devices gossip by CHOCO then. What a server sends is not compressed",
    )


class SendingOptions(CompressionOptions):
    """Noise and fewer bits for what a device sends."""

    privacy: PrivacyOptions | None = Field(
        default=None,
        description="differential privacy of what devices send: shortened and with noise, ε in the records; null: none",
    )


class FedAvgOptions(SendingOptions, ServerStepOptions, MixOptions, LocalOptions, LossOptions):
    """The block of a ``fedavg`` learner."""


def check_place(options: Options, has_server: bool) -> None:
    """Refuse options that are a server's where there is none, and the other way round.

    Raises:
        ScenarioError: There are some.
    """
    if not has_server and getattr(options, "server_optimizer", NONE) != NONE:
        raise ScenarioError(
            "learner.server_optimizer: without an edge server nobody can use it; set protocol: server_rounds, or leave "
            "it out"
        )
    if has_server and getattr(options, "mix_every", 1) > 1:
        raise ScenarioError(
            "learner.mix_every: is about devices without an edge server; under a server use local_epochs, or protocol: "
            "decentralized_rounds"
        )
    said = getattr(options, "compression", WHOLE).options
    if not has_server and said.get("error_feedback"):
        raise ScenarioError(
            "learner.compression.error_feedback: without an edge server devices gossip by CHOCO, which sends later "
            "what a message leaves out; leave it out, or set protocol: server_rounds"
        )
    if has_server and "gossip_step" in said:
        raise ScenarioError(
            "learner.compression.gossip_step: is about devices without an edge server; leave it out, or set protocol: "
            "decentralized_rounds"
        )


FEDAVG = Entry(
    "learners.algorithms.fedavg:FedAvg",
    FedAvgOptions,
    "Each client trains on its own samples, and what comes of it is averaged (McMahan et al. 2017).",
    suits=frozenset({"decentralized", "server", "asynchronous", "hierarchical"}),
)


class FedProxOptions(FedAvgOptions):
    """The block of a ``fedprox`` learner."""

    mu: float = Field(default=0.01, ge=0, description="weight μ of the proximal term (μ/2)‖w − w⁰‖²")


FEDPROX = Entry(
    "learners.algorithms.fedprox:FedProx",
    FedProxOptions,
    "FedAvg of clients that minimise their loss plus (μ/2)‖w − w⁰‖², w⁰ being what they received.",
    suits=frozenset({"decentralized", "server", "asynchronous", "hierarchical"}),
)


class WeighedOptions(LossOptions):
    """Learners that weigh clients by their work, or their models, themselves."""

    aggregation_weights: Literal["samples", "uniform"] = Field(
        default="samples",
        description="how much a client counts where its data counts: by its training samples, or all the same; "
        "BatchNorm's statistics are averaged so by every method",
    )


class FedNovaOptions(SendingOptions, ServerStepOptions, LocalOptions, WeighedOptions):
    """The block of a ``fednova`` learner."""

    mu: float = Field(default=0.0, ge=0, description="weight μ of a proximal term (μ/2)‖w − w⁰‖²")


FEDNOVA = Entry(
    "learners.algorithms.fednova:FedNova",
    FedNovaOptions,
    "The server takes clients' changes per step, not per round; see :class:`NormalisedAveraging`.",
    suits=frozenset({"server", "asynchronous"}),
)


class FedAttOptions(SendingOptions, ServerStepOptions, WeighedOptions):
    """The block of a ``fedatt`` learner."""

    attention_step: float = Field(
        default=1.2,
        ge=0,
        description="step ε of the server; the authors' 1.2 goes beyond the clients' models",
    )
    noise: float = Field(
        default=0.0,
        ge=0,
        description="standard deviation of noise on the server's weights; the authors' is 1e-3",
    )


FEDATT = Entry(
    "learners.algorithms.fedatt:FedAtt",
    FedAttOptions,
    "The server goes towards its clients, layer by layer; see :class:`Attention`.",
    suits=frozenset({"server", "asynchronous"}),
)


class ControlOptions(Options):
    """Plain SGD, of whose steps the mean direction is known."""

    optimizer: Literal["sgd"] = Field(
        default="sgd", description="optimizer of a device: sgd, for its steps' mean direction is needed"
    )
    learning_rate: float = Field(default=0.01, gt=0, description="step size η of the optimizer")
    momentum: float = Field(
        default=0.0, ge=0, lt=1, description="momentum of it; it is forgotten as a round begins"
    )


class ScaffoldOptions(ControlOptions, WeighedOptions):
    """The block of a ``scaffold`` learner."""

    aggregation_weights: Literal["samples", "uniform"] = Field(
        default="uniform",
        description="how much a client counts, also its control variate: all the same, as in the paper, or by samples",
    )
    server_learning_rate: float = Field(default=1.0, gt=0, description="step size η_g of the server")


SCAFFOLD = Entry(
    "learners.algorithms.scaffold:Scaffold",
    ScaffoldOptions,
    "Clients correct their gradients by c − c_i, what the server and they know of the mean gradient and their own.",
    suits=frozenset({"server"}),
)


class TrackingOptions(ControlOptions, MixOptions, LocalOptions, LossOptions):
    """The block of a ``gradient_tracking`` learner."""

    aggregation_weights: Literal["uniform"] = Field(
        default="uniform", description="devices count as their links have it (Metropolis-Hastings weights)"
    )


GRADIENT_TRACKING = Entry(
    "learners.algorithms.gradient_tracking:GradientTracking",
    TrackingOptions,
    "Devices send their model and their tracker of the mean gradient, and mix both (GT-SGD; DIGing).",
    suits=frozenset({"decentralized"}),
)


class RandomWalkOptions(LossOptions):
    """The block of a ``random_walk`` learner."""

    transition: Literal["metropolis", "uniform"] = Field(
        default="metropolis",
        description="where the model goes next: metropolis (it stays for a round now and then, and comes to all "
        "devices equally often in the long run), or uniform (to any neighbour; those with many have it more often)",
    )


RANDOM_WALK = Entry(
    "learners.algorithms.random_walk:RandomWalk",
    RandomWalkOptions,
    "One model walks over the links: whoever has it trains it and passes it on to a neighbour.",
    suits=frozenset({"decentralized"}),
)


class FedHGBOptions(CompressionOptions, FederatedOptions):
    """The block of a ``fedhgb``, ``mgb`` or ``cgb`` learner."""

    aggregation_weights: Literal["samples", "uniform"] = Field(
        default="uniform", description="how much a client counts in the average of BatchNorm's statistics"
    )
    validation_share: float = Field(
        default=0.2, gt=0, lt=1, description="part of its samples that each device holds out of training"
    )
    measured_share: float = Field(
        default=0.4,
        gt=0,
        le=1,
        description="part S of training and held-out samples that losses are measured on",
    )
    blending_sign: Sign = Field(
        default="clip",
        description="what a risen validation loss counts for: nothing, as much as a fallen one, or against",
    )
    blending_floor: float = Field(
        default=1e-2, gt=0, description="smallest ΔO that is told from none [loss units]"
    )
    blending_estimate: Literal["round", "expected"] = Field(
        default="round",
        description="ΔG and ΔO² in the weights: those of the round, as Algorithm 1 has it, or estimates of their "
        "expectations, as Theorem 1 has it: means over a client's last rounds and two pseudo-observations of the "
        "mean over all clients",
    )
    blending_window: PositiveInt = Field(
        default=10, description="rounds of a client's own, the last ones, that expected is a mean over"
    )
    lift: float = Field(
        default=0.0,
        ge=0,
        description="added to every ΔG before weights are made of it, so that who gains a little less than nothing "
        "counts for little instead of nothing [loss units]; not in the paper",
    )


FEDHGB = Entry(
    "learners.algorithms.fedhgb:FedHGB",
    FedHGBOptions,
    "Heads are weighed by how they generalise and overfit (eqs. 13, 15), and so are clients (eq. 14).",
    suits=frozenset({"server", "asynchronous"}),
)
MGB = Entry(
    "learners.algorithms.fedhgb:MGB",
    FedHGBOptions,
    "Only the heads are blended; all clients count the same.",
    suits=frozenset({"server", "asynchronous"}),
)
CGB = Entry(
    "learners.algorithms.fedhgb:CGB",
    FedHGBOptions,
    "Only the clients are blended; all heads count the same.",
    suits=frozenset({"server", "asynchronous"}),
)


class LateOptions(SendingOptions, WeighedOptions, StalenessOptions):
    """Treatment of models that began with an older version than the server's present one."""

    mu: float = Field(default=0.0, ge=0, description="weight μ of a proximal term (μ/2)‖w − w⁰‖²")


class FedAsyncOptions(LateOptions):
    """The block of a ``fedasync`` learner."""

    mixing: float = Field(default=0.6, gt=0, le=1, description="weight α of a model that is not stale")


FEDASYNC = Entry(
    "learners.algorithms.asynchronous:FedAsync",
    FedAsyncOptions,
    "The server moves towards each upload as it comes, less the later it is; see :class:`Moving`.",
    suits=frozenset({"server", "asynchronous"}),
)


class FedBuffOptions(LateOptions):
    """The block of a ``fedbuff`` learner; how many uploads fill the buffer is for the protocol to say."""

    server_learning_rate: float = Field(default=1.0, gt=0, description="step size η_g of the server")


FEDBUFF = Entry(
    "learners.algorithms.asynchronous:FedBuff",
    FedBuffOptions,
    "The server adds up a bufferful of changes, late ones for less; see :class:`Buffered`.",
    suits=frozenset({"server", "asynchronous"}),
)
