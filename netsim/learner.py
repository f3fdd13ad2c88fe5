"""The contract of a learner: what to train, what it costs, what to send, how to aggregate, how to evaluate.

A learner is a handful of functions. It owns no state: the state of a node is handed to it, and is a
:class:`~netsim.work.graph.Future` wherever it is the result of training. It sees nodes and rounds by number; it sees
no clock, no radio and no SimPy. The simulator sees FLOPs, bits and futures; it sees no tensor.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import networkx as nx

from netsim.core.budget import Budget
from netsim.core.options import NoOptions, Options

if TYPE_CHECKING:
    from netsim.work.graph import Future, TaskGraph

Method = TypeVar("Method", bound=Callable[..., Any])


def alike(method: Method) -> Method:
    """Mark a method of a learner: all devices answer it alike in a round, whatever else it is given.

    Rounds that are computed as arrays then ask it of one device, for all. What :meth:`Learner.messages` returns must be
    one message to all receivers there, and its size counts. A method that takes its place in a subclass is not marked.
    """
    method.alike = True  # type: ignore[attr-defined]
    return method


@dataclass(frozen=True)
class Cost:
    """The computing of a node in a round.

    Attributes:
        iterations: Optimizer steps in which each modality takes part, by modality.
        flops: FLOPs by part of the work (a modality's extractor, the generator ...), in the convention
            of the scenario's ``costs`` block. Their sum is what the processor is charged.
    """

    iterations: Mapping[str, int] = field(default_factory=dict)
    flops: Mapping[str, float] = field(default_factory=dict)

    @property
    def total_flops(self) -> float:
        """Return the FLOPs of the whole round."""
        return float(sum(self.flops.values()))


class Message(NamedTuple):
    """A message that a node sends after training: receivers and size. Its content is the node's outbox.

    Attributes:
        receivers: The nodes that it is for; each gets a transfer of its own.
        size_bits: Its size [bit].
    """

    receivers: tuple[int, ...]
    size_bits: float


class Step(NamedTuple):
    """A node after training or aggregation. All of it may still be in the future.

    Attributes:
        state: The node's new state: a future, or any arrangement of futures and values.
        outbox: What the node's messages contain from now on. Every receiver gets the same one, and takes from it what
            the size of its message stands for.
        metrics: A sequence of :class:`Metric`, or a future of one.
    """

    state: Any = None
    outbox: Any = None
    metrics: Any = ()


class Report(NamedTuple):
    """A report of a device to the cluster head after a round, or the head's decision for it.

    Attributes:
        size_bits: Its size [bit].
        payload: Its content.
    """

    size_bits: float
    payload: Any = None


class Metric(NamedTuple):
    """One measured value.

    Attributes:
        name: What was measured, one of the learner's ``METRICS``.
        value: The value.
        modality: The modality that it is about; empty where it is about all of them together.
    """

    name: str
    value: float
    modality: str = ""


class Kept(NamedTuple):
    """A node's model, as it is kept in files.

    Attributes:
        network: What :meth:`Learner.module` builds the network from, as JSON can have it.
        parts: Tensors by name, by the name of the module that they are in; may be futures.
    """

    network: Mapping[str, Any]
    parts: Any


@dataclass(frozen=True)
class Setup:
    """All that a learner is built from.

    Attributes:
        seed: The run's seed; derive from it with :func:`netsim.core.streams.derive_seed`.
        device_count: Devices are numbered 0 to ``device_count`` - 1.
        rounds: Rounds of the run.
        options: The learner's own block of the scenario, already checked against ``Learner.Options``.
        data: The data source built from the scenario's ``data`` block, or None.
        partition: The partition built from the scenario's ``partition`` block, or None.
        costs: The scenario's ``costs`` block.
        evaluation: The scenario's ``evaluation`` block.
        torch_device: Where the real work runs, in PyTorch's words: ``cpu``, ``cuda:0``.
        cache_dir: A folder that the learner may keep pre-processed data in.
        say: Tells the user something that takes time ("pre-processing 7,442 clips ...").
        precision: What it computes in: ``float32``, ``tf32``, ``bf16`` or ``float64``.
        memory_bytes: Memory that the real work may take [byte].
        networks: What the scenario's classes of devices say about networks, by device and modality: a name, or a block
            with a name and options, as written. Devices of classes that say nothing are not in it. Only learners with
            ``network_per_device`` ever find anything here.
        device_classes: The class of each device that has one.
        has_server: Whether the devices learn through an edge server.
    """

    seed: int
    device_count: int
    rounds: int
    options: Any
    data: Any
    partition: Any
    costs: Any
    evaluation: Any
    torch_device: str
    cache_dir: Path
    say: Callable[[str], None]
    precision: str = "float32"
    memory_bytes: float = math.inf
    networks: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    device_classes: Mapping[int, str] = field(default_factory=dict)
    has_server: bool = False

    @property
    def server(self) -> int | None:
        """Return the edge server's number, the one after the devices'; None where there is no server."""
        return self.device_count if self.has_server else None

    def is_server(self, node: int) -> bool:
        """Return whether ``node`` is the edge server; in a hierarchy, an edge server or the cloud."""
        return node >= self.device_count


def because_of(learner: Learner | type[Learner]) -> str:
    """Return the end of a sentence that says why ``learner`` cannot do something, if a key of the scenario is why."""
    return f" (because of {learner.bound_by})" if learner.bound_by else ""


class Learner(ABC):
    """An algorithm. Five methods make one: ``first``, ``cost``, ``messages``, ``train`` and ``aggregate``.

    A node is a device or the edge server. Under decentralized rounds a node's round is: ``cost`` and ``train``,
    ``messages`` to its neighbours, ``aggregate`` with what arrived, ``evaluate``. Under rounds of a server a device
    begins with ``aggregate`` of what the server sent, then ``cost``, ``train``, ``evaluate`` and ``messages`` to the
    server; the server begins with ``aggregate`` of what the devices sent, then ``cost``, ``train``, ``evaluate`` and,
    as the next round begins, ``messages`` to the devices. In a hierarchy there are several such servers, and the cloud
    begins with ``merge`` of what they sent.

    ``cost`` and ``messages`` give numbers and are answered at once. ``train``, ``aggregate`` and ``evaluate`` order
    work with ``work.do`` or ``work.together`` and give futures of its results. A learner that needs a learnt value in
    order to go on asks ``work.value`` for it; only there the clock waits. Nothing that belongs to a node may be kept
    in the learner, for nodes are in different rounds at the same simulated time.

    Attributes:
        Options: The model of the learner's block in the scenario.
        METRICS: Every metric that the learner emits, with a line of explanation each.
        SUITS: The families of protocols that the method can be run under: of ``decentralized``, ``server``,
            ``asynchronous`` (an edge server that does not wait) and ``hierarchical`` (edge servers below a cloud).
        coordinated: Whether rounds end with reports to a cluster head and its decisions (``report``, ``decide``).
        network_per_device: Whether devices can have different networks, as ``Setup.networks`` says; not so where they
            exchange parameters.
        takes_late: Whether ``aggregate`` can use what a neighbour sent in an earlier round.
        takes_motion: Whether it can learn where neighbours change from round to round.
        limits_steps: Whether ``cost`` has no more steps than ``budget.iterations`` (``budget.at_most``).
        bound_by: The key of the scenario that is why ``takes_late`` or ``takes_motion`` is not so, if one is.
    """

    Options: ClassVar[type[Options]] = NoOptions
    METRICS: ClassVar[Mapping[str, str]] = {}
    SUITS: ClassVar[frozenset[str]] = frozenset({"decentralized"})
    coordinated: bool = False
    network_per_device: ClassVar[bool] = False
    takes_late: bool = True
    takes_motion: bool = True
    limits_steps: bool = False
    bound_by: str = ""

    @classmethod
    def made_for(cls, given: Mapping[str, Any]) -> type[Learner]:
        """Return the class for a block with the options ``given``: this one, or one for what they name.

        Raises:
            ScenarioError: What they name is not there or does not fit; its text begins with the key.
        """
        return cls

    def __init__(self, setup: Setup) -> None:
        """Load data and build networks; the links are not there yet."""
        self.setup = setup

    def owners(self) -> Mapping[str, frozenset[int]]:
        """Return which devices own each modality; empty where the learner has no modalities."""
        return {}

    def sample_counts(self) -> Mapping[int, int]:
        """Return how many training samples each device holds; devices not named hold none."""
        return {}

    def facts(self) -> Mapping[str, Any]:
        """Return what belongs in the run's metadata: data set, surrogate or real, counted FLOPs and bits."""
        return {}

    def prepare(self, graph: nx.Graph) -> None:
        """Get ready for the first round on the network ``graph``: devices are its nodes, links its edges."""
        self.graph = graph

    def training_memory_bytes(self, device: int) -> float:
        """Return the memory that training takes on ``device`` [byte]; 0 where it is not known.

        Weights, gradients, optimizer state, and what a mini-batch's forward pass keeps. Asked after ``prepare``, of
        devices whose class says how much memory they have.
        """
        return 0.0

    def answers_alike(self, *questions: str) -> bool:
        """Return whether all devices answer these ``questions`` (names of methods) alike; see :func:`alike`."""
        return all(getattr(getattr(self, one), "alike", False) for one in questions)

    @alike  # noqa: B027 (a hook)
    def meets(self, node: int, round: int, neighbours: Mapping[int, Sequence[int]]) -> None:
        """Note who exchanges messages with whom in ``round``; called before ``aggregate``, only where devices move.

        The links of ``prepare`` are those as the run begins. So note these by node.

        Args:
            node: The device that aggregates next.
            round: Its round.
            neighbours: Neighbours of the round, of ``node`` and of each of its neighbours.
        """

    @abstractmethod
    def first(self, work: TaskGraph, node: int) -> Step:
        """Return the state of ``node`` before its first round, and what the server's first message contains.

        The state is None where the node has nothing to learn, or learns from what it will be sent.
        """

    @abstractmethod
    def cost(self, node: int, round: int, peers: Sequence[int], budget: Budget, plan: Any) -> Cost:
        """Return what ``node`` computes in ``round`` (1, 2, ...).

        Args:
            node: A device, or the edge server.
            round: The round.
            peers: The nodes that it exchanges messages with: a device's living neighbours or the server; the server's
                participants.
            budget: What the node knows of its energy.
            plan: The cluster head's decision for this node, or None.
        """

    @abstractmethod
    def messages(
        self, node: int, round: int, receivers: Sequence[int], together: bool = False
    ) -> Sequence[Message]:
        """Return the messages of ``node``; each of ``receivers`` gets one at most.

        Args:
            node: The sender.
            round: Its round.
            receivers: Living neighbours, the server, or the server's participants.
            together: Whether all receivers hear one transmission. There is one message then, with whatever any of them
                needs.
        """

    @abstractmethod
    def train(self, work: TaskGraph, node: int, round: int, state: Any, cost: Cost) -> Step:
        """Order the local update that ``cost`` stands for, from ``state``.

        A node that computes nothing of its own (the server of FedAvg) passes its state on: ``Step(state, state)``.
        """

    @abstractmethod
    def aggregate(
        self, work: TaskGraph, node: int, round: int, state: Any, arrived: Mapping[int, Any]
    ) -> Step:
        """Order the aggregation of ``state`` with what ``arrived``: outboxes by sender, in the order of numbers.

        A payload is of the same round, unless the protocol keeps what came too late (``takes_late``).
        """

    def aggregate_weighed(
        self,
        work: TaskGraph,
        node: int,
        round: int,
        state: Any,
        arrived: Mapping[int, Any],
        factors: Mapping[int, float],
    ) -> Step:
        """Order the aggregation as :meth:`aggregate` does, where messages count for less than they would there.

        Args:
            work: The task graph.
            node: The device.
            round: Its round.
            state: Its state.
            arrived: Outboxes by sender, in the order of numbers.
            factors: By sender, the part of its weight that its message keeps, from 0 to 1; what is taken from it is
                added to the weight of the device's own model.
        """
        raise NotImplementedError

    @property
    def weighs_messages(self) -> bool:
        """Return whether the learner has :meth:`aggregate_weighed`."""
        return type(self).aggregate_weighed is not Learner.aggregate_weighed

    def merge(
        self,
        work: TaskGraph,
        node: int,
        round: int,
        state: Any,
        arrived: Mapping[int, Any],
        devices: Mapping[int, Sequence[int]],
    ) -> Step:
        """Order the cloud's average of the models of edge servers; each of them then goes on from its state.

        Only learners that suit ``hierarchical`` protocols have it.

        Args:
            work: The task graph.
            node: The cloud.
            round: The round of the edge servers after which they have sent their models.
            state: The cloud's state: what this gave the last time.
            arrived: By edge server, what its messages contain, in the order of numbers.
            devices: By edge server, the devices whose uploads it has aggregated since the last time.
        """
        raise NotImplementedError

    @alike
    def evaluate(self, work: TaskGraph, node: int, round: int, state: Any) -> Future | None:
        """Order the evaluation of ``state`` after ``round``; it costs no simulated time or energy.

        Returns:
            A future of metrics, or None: this node is not evaluated in this round.
        """
        return None

    def model(self, node: int, state: Any) -> Kept | None:
        """Return the model in ``state``, for files; None where ``node`` has none of its own.

        Args:
            node: A device, or the edge server.
            state: Its state after a round.
        """
        return None

    @classmethod
    def module(cls, network: Mapping[str, Any], tensors: Mapping[str, Any]) -> Any:
        """Return the PyTorch module of a model that was kept, with its ``tensors`` by name in it."""
        raise NotImplementedError

    def acknowledged(self, node: int, round: int, delivered: Mapping[int, bool]) -> None:  # noqa: B027 (a hook)
        """Note what ``node`` knows of the messages that it sent in ``round``.

        Its cost is the scenario's ``radio.acknowledgement_bits``. Later calls of ``cost``, ``messages`` and ``train``
        may depend on it. So note it by node and round.

        Args:
            node: The sender.
            round: Its round.
            delivered: By receiver, whether an acknowledgement came back.
        """

    @property
    def hears_acknowledgements(self) -> bool:
        """Return whether :meth:`acknowledged` is of any use here."""
        return type(self).acknowledged is not Learner.acknowledged

    def notes(self, means: Mapping[str, float]) -> Sequence[str]:
        """Return what a person should be warned of when a run is over, a sentence each.

        Args:
            means: Each metric's mean over devices and rounds, by name; of those that are about no single modality.
        """
        return ()

    def report(self, work: TaskGraph, device: int, round: int, state: Any, budget: Budget) -> Report:
        """Return what ``device`` tells the cluster head after ``round``, with ``budget`` left for the next."""
        raise NotImplementedError

    def decide(
        self, work: TaskGraph, head: int, round: int, reports: Mapping[int, Any]
    ) -> tuple[Mapping[int, Report], Sequence[Metric]]:
        """Return what each device is told by the head, and metrics of the network as a whole.

        The payload of what a device is told is the ``plan`` of its next round.
        """
        raise NotImplementedError
