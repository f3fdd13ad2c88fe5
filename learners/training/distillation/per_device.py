"""A model for each device: its network, samples, first weights and costs, and what all methods here do with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from learners.data.dataset import Share
from learners.networks.choice import NetworkChoice, choose
from learners.networks.state import State, state_bytes, take
from learners.training.costs import passes_facts, training_bytes
from learners.training.distillation import evaluation
from learners.training.distillation.classifier import (
    Classifier,
    check_frozen,
    classifiers,
    kept,
    module_of,
    start_from,
)
from learners.training.distillation.costs import NetworkCosts, all_costs
from learners.training.evaluation import judge_of, with_judged
from learners.training.task import Store, Task, load_task
from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed
from netsim.learner import Kept, Learner, Setup
from netsim.work.future import Future, Shared
from netsim.work.job import Inputs, Stack

if TYPE_CHECKING:
    from learners.training.distillation.stackable import ManyAtOnce
    from netsim.work.graph import TaskGraph

Initialisation = Literal["pytorch", "glorot"]


class DeviceModels:
    """Hold what belongs to each device and never changes.

    Attributes:
        modality: The one modality that all of them learn from.
        classes: Names of the private classes.
        samples: Training samples of each device, rows of the data set, int64; devices without any are left out.
        architectures: Network of each of these devices.
        task: The data, until :meth:`place` has put it where the work is done.
        sample: Two of the networks' inputs [2, ...], once :meth:`build` has made these.
    """

    def __init__(
        self, setup: Setup, networks: Mapping[str, NetworkChoice], only: tuple[str, ...] | None
    ) -> None:
        """Load the data and find each device's network: its class's, or the learner's.

        Raises:
            ScenarioError: The data has several modalities and the scenario does not choose one, or there is no data.
        """
        self.setup = setup
        self.task: Task | None = load_task(setup, only)
        if len(self.task.modalities) != 1:
            raise ScenarioError(
                "learner.modalities: this learner has one network per device, for one modality; choose one, as in "
                f"modalities: [{self.task.modalities[0]}] (the data has {', '.join(self.task.modalities)})"
            )
        (self.modality,) = self.task.modalities
        self.input_shape = self.task.input_shapes[self.modality]
        self.classes = self.task.dataset.classes
        shares = {k: share.having(self.modality) for k, share in enumerate(self.task.shares)}
        self.samples = {k: np.asarray(rows, dtype=np.int64) for k, rows in shares.items() if len(rows)}
        labels = self.task.dataset.labels.numpy()
        self._counts = {
            k: np.bincount(labels[rows], minlength=len(self.classes)) for k, rows in self.samples.items()
        }
        self.data_facts = self.task.facts
        self._choices = {k: self._choice(k, networks) for k in self.samples}
        self.architectures: dict[int, Classifier] = {}
        self._initial: dict[str, State] = {}
        self._costs: dict[str, NetworkCosts] = {}
        self._common: dict[str, Any] | None = None

    def _choice(self, device: int, networks: Mapping[str, NetworkChoice]) -> NetworkChoice:
        """Return the network of the device's class, or the learner's, or the small default for such inputs."""
        own = self.setup.networks.get(device, {}).get(self.modality)
        if own is not None:
            return NetworkChoice.model_validate(own)
        assert self.task is not None
        shapes = {self.modality: self.input_shape}
        return choose(networks, shapes, self.task.dataset.modalities)[self.modality]

    def build(
        self,
        class_counts: tuple[int, ...],
        embedding_size: int | None = None,
        initialisation: Initialisation = "pytorch",
    ) -> None:
        """Make everybody's network, with first weights that are the same for the same architecture.

        Args:
            class_counts: Classes of each head, the main one first.
            embedding_size: See :class:`Classifier`.
            initialisation: How weights are drawn.
        """
        frozen = self.setup.options.frozen
        self.architectures = classifiers(
            self._choices, self.input_shape, class_counts, embedding_size, frozen
        )
        assert self.task is not None
        self.sample = self.task.examples()[self.modality]
        self._costs = all_costs(self.architectures, self.sample, self.setup.costs)
        for architecture in self.architectures.values():
            if architecture.text not in self._initial:
                self._initial[architecture.text] = self.first_weights(architecture, initialisation)

    def first_weights(self, architecture: Classifier, initialisation: Initialisation) -> State:
        """Draw a new model's state from the run's seed and the architecture."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.setup.seed, "initial weights", architecture.text))
            net = architecture.build()
            if initialisation == "glorot":
                net.apply(glorot)
        check_frozen(net, architecture.frozen)
        if architecture.text in {one.text for one in self.architectures.values()}:
            start_from(net, self.setup.options.initial)
        net.to(self.setup.torch_device)
        return take(net.parts(), torch.float64 if self.setup.precision == "float64" else torch.float32)

    def initial(self, device: int) -> State:
        """Return the first model of ``device``."""
        return self._initial[self.architectures[device].text]

    def costs(self, device: int) -> NetworkCosts:
        """Return what the network of ``device`` costs."""
        return self._costs[self.architectures[device].text]

    def memory_bytes(self, device: int, remembered: int, batch: int) -> float:
        """Return what training takes on ``device``; see :meth:`netsim.learner.Learner.training_memory_bytes`."""
        costs = self.costs(device)
        return training_bytes(
            costs.weights, costs.numbers - costs.weights, remembered, costs.activation_bytes, batch
        )

    def states_bytes(self) -> float:
        """Return the size of one model of every device in this machine's memory [byte]."""
        return sum(state_bytes(self.initial(k)) for k in self.architectures)

    def label_shares(self, device: int) -> list[float]:
        """Return the part of the device's training samples that is of each class."""
        counts = self._counts[device]
        return [float(share) for share in counts / counts.sum()]

    def facts(self) -> dict[str, Any]:
        """Data, networks, sizes and costs, for the run's metadata."""
        return {
            "data": self.data_facts,
            "samples": {k: len(rows) for k, rows in self.samples.items()},
            "sit_out": [k for k in range(self.setup.device_count) if k not in self.samples],
            "networks": {
                k: {"name": one.network.name, **_plain(one.network.options)}
                for k, one in self.architectures.items()
            },
            "numbers": {k: self.costs(k).numbers for k in self.architectures},
            "bits": {k: self.costs(k).bits for k in self.architectures},
            **passes_facts({k: self.costs(k).passes for k in self.architectures}),
            **self.setup.options.start_facts(),
        }

    def place(self) -> None:
        """Put the data where the work is done; this object keeps no other copy."""
        assert self.task is not None, "place() is called once"
        shares = {k: Share(rows, (self.modality,)) for k, rows in self.samples.items()}
        self.store: Store = self.task.store(self.setup.torch_device, shares)
        rows = self.task.test_rows(self.setup.evaluation.samples, self.setup.seed)
        self.test_rows: Tensor = torch.as_tensor(rows, dtype=torch.int64)
        labels = {k: self.task.dataset.labels[own] for k, own in self.samples.items()}
        judge = judge_of(self.setup.evaluation, self.classes, labels)
        self.judge = judge and Shared(judge)
        self.task = None

    def common(self) -> dict[str, Any]:
        """Return the inputs that are the same in all tasks on private samples."""
        if self._common is None:
            self._common = {
                "store": Shared(self.store),
                "modality": self.modality,
                "torch_device": self.setup.torch_device,
            }
        return self._common


class PerDeviceLearner(Learner):
    """Base of learners that have a model for each device."""

    network_per_device: ClassVar[bool] = True
    _devices: DeviceModels

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.METRICS = with_judged(self.METRICS, setup.evaluation)  # type: ignore[misc]

    def owners(self) -> Mapping[str, frozenset[int]]:
        """Return which devices own the modality."""
        return {self._devices.modality: frozenset(self._devices.samples)}

    def sample_counts(self) -> Mapping[int, int]:
        """Return how many training samples each device holds."""
        return {k: len(rows) for k, rows in self._devices.samples.items()}

    def model(self, node: int, state: Any) -> Kept | None:
        """Return the model of a device; a server here has none of its own."""
        if node not in self._devices.samples:
            return None
        return kept(self._devices.architectures[node], state["model"])

    @classmethod
    def module(cls, network: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
        """Return the network of a model that was kept; its ``logits`` are those of the head that is judged."""
        return module_of(network, tensors)

    def _stack(self, device: int, plan: Any, kind: ManyAtOnce, steps: int) -> Stack:
        """Return how work of all devices with the network of ``device`` is done as one.

        Args:
            device: Whose work it is.
            plan: Says all that must be the same beside the network.
            kind: Which work.
            steps: How many it has.
        """
        own, everybody = self._devices.architectures[device], self._devices.architectures
        alike = [k for k, one in everybody.items() if one.text == own.text]
        return Stack(
            f"{kind.label} {own.text} {plan}",
            kind.function,
            kind.shorten,
            max(self.training_memory_bytes(k) for k in alike),
            f"{kind.label} {own.network.name}",
            steps,
            kind.obstacle,
        )

    def _is_evaluated(self, round: int) -> bool:
        """Return whether models are evaluated after ``round``."""
        return round % self.setup.evaluation.every == 0 or round == self.setup.rounds

    def _evaluated(
        self, work: TaskGraph, node: int, round: int, architecture: Classifier, model: Any
    ) -> Future:
        """Order the evaluation of one model; return a future of :class:`~distillation.evaluation.Evaluated`.

        Args:
            work: Where it is ordered.
            node: Who evaluates.
            round: After which round.
            architecture: The model's.
            model: Its state.
        """
        inputs = {
            **self._devices.common(),
            "architecture": architecture,
            "state": model,
            "rows": self._devices.test_rows,
            "batch_size": self.setup.evaluation.batch_size,
            "seed": derive_seed(self.setup.seed, "evaluation", node, round),
            "judge": self._devices.judge,
            "devices": tuple(self._devices.samples) if node == self.setup.server else (node,),
        }
        return work.do(evaluation.evaluate, inputs, round, late=True)

    def _finite(self, work: TaskGraph, trained: Future, what: str, round: int, **key: str) -> Future:
        """Return a future of what was ``trained``, which raises the error of ``what`` where that diverged."""
        return work.together(
            checked, {"trained": trained, "error": self._diverged(what, round, **key)}, round
        )

    def _diverged(self, what: str, round: int, key: str = "learning_rate", way_out: str = "lower it") -> str:
        """Return that ``what`` diverged with the step size called ``key``."""
        rate = getattr(self.setup.options, key)
        return f"learner.{key}: {what} diverged in round {round} (step size {rate:g}); {way_out}"


def checked(inputs: Sequence[Inputs]) -> list[Any]:
    """Return what was trained.

    Raises:
        ScenarioError: Some of it is not finite.
    """
    for one in inputs:
        if not one["trained"].finite:
            raise ScenarioError(one["error"])
    return [one["trained"] for one in inputs]


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}


def glorot(module: nn.Module) -> None:
    """Draw the weights of one layer anew, uniformly as Glorot and Bengio (2010) have it; biases are zero.

    A frozen layer keeps what its network came with.
    """
    if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.requires_grad:
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
