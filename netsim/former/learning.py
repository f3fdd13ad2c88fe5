"""The hooks of a learner: what to train, what to send, how to combine, how to judge.

A learner sees devices by number, rounds by number, and its own tensors; it sees no clock, no radio and
no SimPy. The simulator sees FLOPs, bits and opaque payloads; it sees no tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import networkx as nx

from netsim.core.options import NoOptions, Options
from netsim.learner import Metric, Report, Setup
from netsim.work.job import TrainingJob
from netsim.world.budget import Budget


@dataclass(frozen=True)
class Workload:
    """What a device will compute in one round.

    Attributes:
        iterations: Optimizer steps in which each modality takes part, by modality.
        flops: FLOPs by part of the work (a modality's extractor, the generator ...), in the convention
            of the scenario's ``costs`` block. Their sum is what the processor is charged.
    """

    iterations: Mapping[str, int] = field(default_factory=dict)
    flops: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def total_flops(self) -> float:
        """FLOPs of the whole round."""
        return float(sum(self.flops.values()))


class Message(NamedTuple):
    """What one device sends to others: a size that costs airtime and a payload that the radio never opens.

    Attributes:
        receivers: The devices that it is for; each gets a transfer of its own.
        size_bits: Its size [bit].
        payload: Whatever the learner needs on the other side. It must not change after it was handed over; a learner
            that looks ahead hands over a promise, which ``apply`` fulfils once.
    """

    receivers: tuple[int, ...]
    size_bits: float
    payload: Any = None


class Inbox(NamedTuple):
    """What arrived for a device in a round: payloads by sender, in the order of device numbers."""

    device: int
    round: int
    arrived: Mapping[int, Any]


class Learner(ABC):
    """An algorithm. Five methods make one: ``workload``, ``training_job``, ``apply``, ``messages``, ``combine``.

    Life of a round on one device, in this order: ``workload``, ``training_job``, ``apply`` with the job's
    result, ``messages``, ``combine`` with what arrived, ``evaluation_job``, ``judge``; then, for learners with
    ``coordinated = True``, ``report``, ``decide`` (on the cluster head) and ``accept``. Devices are in different
    rounds at the same simulated time, so nothing may be kept per learner that belongs to a device. Where a learner
    looks ahead, ``messages`` and the next ``workload`` may come before ``apply``, but ``report`` never does.

    Attributes:
        Options: The model of the learner's block in the scenario.
        METRICS: Every metric that the learner emits, with a line of explanation each.
        coordinated: Whether rounds end with reports to a cluster head and its decisions.
        looks_ahead: Whether ``workload`` and ``messages`` can be answered while the device's earlier training is still
            to be done: they depend on options, budget and decisions, and on nothing learnt. The simulation then
            runs ahead of the learning, and the training of a whole round is there to be done together.
        movable: Whether a copy of the learner in another process can do the work while this one answers: ``workload``
            and ``messages`` are asked here and, ``messages`` alone, there; everything else of a round there only.
            What ``training_job`` needs of ``workload`` must then be in the workload itself. In the end
            ``take_home`` is called here with what ``learnt`` gave there.
        network_per_device: Whether devices can have different networks, as ``Setup.networks`` says; not so where they
            exchange parameters.
        takes_late: Whether ``combine`` can use what a neighbour sent in an earlier round.
    """

    Options: ClassVar[type[Options]] = NoOptions
    METRICS: ClassVar[Mapping[str, str]] = {}
    coordinated: bool = False
    looks_ahead: ClassVar[bool] = False
    movable: ClassVar[bool] = False
    network_per_device: ClassVar[bool] = False
    takes_late: bool = True

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def owners(self) -> Mapping[str, frozenset[int]]:
        """Which devices own each modality; empty where the learner has no modalities."""
        return {}

    def sample_counts(self) -> Mapping[int, int]:
        """How many training samples each device holds; devices not named hold none."""
        return {}

    def facts(self) -> Mapping[str, Any]:
        """What belongs in the run's metadata: data set, whether it is a surrogate, counted FLOPs and bits ..."""
        return {}

    def training_memory_bytes(self, device: int) -> float:
        """What training takes on ``device`` [byte]; 0 where it is not known, or nothing is trained there.

        Weights, gradients, what the optimizer remembers, and what a mini-batch's forward pass keeps. Asked after
        ``begin``, of devices whose class says how much memory they have.
        """
        return 0.0

    def begin(self, graph: nx.Graph) -> None:
        """The network stands: ``graph`` has the devices as nodes and the links as edges."""
        self.graph = graph

    @abstractmethod
    def workload(self, device: int, round: int, budget: Budget) -> Workload:
        """What ``device`` will compute in ``round`` (1, 2, ...)."""

    @abstractmethod
    def training_job(self, device: int, round: int, workload: Workload) -> TrainingJob | None:
        """The real work behind ``workload``, with its inputs fixed now; None if there is none."""

    @abstractmethod
    def apply(self, device: int, round: int, result: Any) -> Sequence[Metric]:
        """The simulated computation has ended: the job's ``result`` becomes the device's state."""

    @abstractmethod
    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[Message]:
        """What ``device`` sends after training; each of its living ``neighbours`` gets one at most."""

    def acknowledged(self, device: int, round: int, delivered: Mapping[int, bool]) -> None:  # noqa: B027 (a hook)
        """All that ``device`` sent in ``round`` is over; ``delivered``, by receiver: an acknowledgement came back.

        Its cost is the scenario's ``radio.acknowledgement_bits``. It is told as soon as the device knows, which may be
        before ``apply`` and ``combine`` of this round and earlier ones are asked for. So note it by round. ``workload``
        and ``messages`` of later rounds may depend on it, and everything of later rounds where the protocol keeps no
        late messages.
        """

    @property
    def hears_acknowledgements(self) -> bool:
        """Whether :meth:`acknowledged` is of any use here."""
        return type(self).acknowledged is not Learner.acknowledged

    @abstractmethod
    def combine(self, device: int, round: int, arrived: Mapping[int, Any]) -> Sequence[Metric]:
        """Take in what ``arrived``: payloads by sender, in the order of device numbers.

        A payload is of the same round, unless the protocol keeps what came too late (``takes_late``).
        """

    def combine_all(self, inboxes: Sequence[Inbox]) -> Sequence[Sequence[Metric]]:
        """``combine`` for several devices, whose rounds may differ; override it where they can be done together."""
        return [self.combine(inbox.device, inbox.round, inbox.arrived) for inbox in inboxes]

    def evaluation_job(self, device: int, round: int) -> TrainingJob | None:
        """The real work of judging the device's model after ``round``; it costs no simulated time or energy."""
        return None

    def judge(self, device: int, round: int, result: Any) -> Sequence[Metric]:
        """Turn the evaluation job's ``result`` into metrics."""
        return ()

    def forget(self, round: int) -> None:  # noqa: B027 (a hook)
        """``round`` and those before it are over for everybody; nobody asks about them any more."""

    def learnt(self) -> Any:
        """All that was learnt, for another copy of this learner to take over; can be pickled."""
        raise NotImplementedError

    def take_home(self, learnt: Any) -> None:
        """Take over what another copy has ``learnt``."""
        raise NotImplementedError

    def report(self, device: int, round: int, budget: Budget) -> Report:
        """What ``device`` tells the cluster head after ``round``, with ``budget`` left for the next."""
        raise NotImplementedError

    def decide(
        self, head: int, round: int, reports: Mapping[int, Any]
    ) -> tuple[Mapping[int, Report], Sequence[Metric]]:
        """On the head: from all reports, what each device is told; and metrics of the network as a whole."""
        raise NotImplementedError

    def accept(self, device: int, round: int, decision: Any | None) -> None:  # noqa: B027 (a hook)
        """The head's decision for the next round has arrived; None if it never will (the head died)."""


class ServerLearner(Learner):
    """An algorithm whose devices learn through an edge server.

    The server is a node like the devices, with the number that follows theirs (:attr:`server`). In each of its rounds
    the server picks participants, and then, in this order: ``download`` (what the server sends to them); on each
    participant ``receive``, ``workload``, ``training_job``, ``apply``, ``messages`` (what it sends to the server: one
    message, for receiver :attr:`server`); on the server ``combine`` with what arrived, ``workload``,
    ``training_job`` and ``apply`` with :attr:`server` as the device (what it computes itself: a job, or FLOPs alone,
    or nothing), ``evaluation_job`` and ``judge``. A device's rounds are those of the server, except with an
    asynchronous protocol, where each device counts its own trainings; ``download`` and ``combine`` always take the
    server's round.

    Where a learner looks ahead, ``download`` hands out a promise of the model that ``combine`` of the round before will
    make, and ``messages`` one of what ``apply`` will be given. ``training_job`` is asked when what the
    device received is there, and must start from that: an asynchronous server may have moved on.

    Attributes:
        judges_devices: Whether ``evaluation_job`` is also asked for each device, right after its training.
        in_rounds_only: Whether all devices must be in the same round, so that an asynchronous server does not suit it.
    """

    judges_devices: ClassVar[bool] = False
    in_rounds_only: ClassVar[bool] = False

    @property
    def server(self) -> int:
        """The server's number."""
        return self.setup.device_count

    @abstractmethod
    def download(self, round: int, devices: Sequence[int], together: bool = False) -> Sequence[Message]:
        """What the server sends as ``round`` begins; each of ``devices`` gets one message at most.

        Where all are reached by one transmission, ``together``, this is one message with whatever any of them needs.
        """

    @abstractmethod
    def receive(self, device: int, round: int, payload: Any) -> None:
        """``payload`` has arrived on ``device``, which trains from it in its ``round``."""
