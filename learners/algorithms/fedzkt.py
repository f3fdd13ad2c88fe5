"""FedZKT (Zhang et al., ICDCS 2022): the server distils devices' models without data; see docs/learners/fedzkt.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import networkx as nx
import torch

from learners.networks.state import State, is_finite, state_bytes, take
from learners.training.batches import batch_sizes, iterations_per_epoch
from learners.training.distillation.classifier import Classifier, kept
from learners.training.distillation.evaluation import means
from learners.training.distillation.fedzkt_costs import ServerCosts
from learners.training.distillation.fedzkt_update import (
    GENERATOR,
    LOCAL_UPDATES,
    TRANSFERS,
    LocalPlan,
    Played,
    ServerPlan,
    Transferred,
    local_update,
    play,
    transfer,
)
from learners.training.distillation.options import GLOBAL, FedZKTOptions
from learners.training.distillation.per_device import DeviceModels, PerDeviceLearner, glorot
from learners.training.distillation.zkt_generator import GeneratorShape
from learners.training.optimizers import Rule
from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed
from netsim.learner import Cost, Kept, Message, Metric, Setup, Step
from netsim.work.torch_device import require_memory

if TYPE_CHECKING:
    from netsim.core.budget import Budget
    from netsim.core.options import Options
    from netsim.work.future import Future
    from netsim.work.graph import TaskGraph
    from netsim.work.job import Inputs


WAY_OUT = "lower it, or go on with the models from before with learner.on_nan: drop"
"""What to do where something diverges."""


LOSSES = ("loss_generator", "loss_global", "loss_transfer", "input_gradient")
"""Of the server's work."""


class FedZKT(PerDeviceLearner):
    """Zero-shot knowledge transfer: parameters go up, and come back distilled, each device's in its own shape.

    The server lets a generator and a global model play against each other over the ensemble of all devices' last known
    models, and then teaches the models of the round's participants with the global one. Its computing takes its time.

    The server's state has the model of each device, its ``own`` F, the ``generator`` G, and what their optimizers
    remember (``memories``).
    """

    Options: ClassVar[type[Options]] = FedZKTOptions
    METRICS: ClassVar[Mapping[str, str]] = {
        "loss_task": "cross-entropy of a device's training, mean over the round's steps",
        "loss_generator": "minus the disagreement that the generator caused, mean over the iterations",
        "loss_global": "disagreement of the global model with the ensemble, mean over the iterations",
        "loss_transfer": "KL divergence of device models from the global one, mean over iterations and devices",
        "input_gradient": "norm of the disagreement's gradient with respect to a made-up sample, mean (Figure 2)",
        "dropped": "uploads of the round that were not finite, and 1 if the server's own work was not",
        "accuracy": "test accuracy of the server's global model",
        "loss_test": "cross-entropy of the global model on the test samples",
        "accuracy_devices": "test accuracy of the devices' models as the server has them, mean over all devices",
        "accuracy_local": "test accuracy of one device's own model after its local training",
    }
    SUITS = frozenset({"server"})

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        options = self._options
        self._devices = DeviceModels(setup, options.networks, options.modalities)
        classes, shape = (len(self._devices.classes),), self._devices.input_shape
        self._devices.build(classes, initialisation=options.initialisation)
        if len(shape) != 3:
            raise ScenarioError(
                "learner.name: the generator of fedzkt makes images, but a sample of "
                f"{self._devices.modality} has shape {list(shape)}; use image data, or fedmd"
            )
        self._global = Classifier(options.global_network or GLOBAL, shape, classes)
        self._shape = GeneratorShape(options.noise_size, options.generator_channels, shape)
        self._server_costs = ServerCosts(self._global, self._shape, self._devices, options, setup.costs)
        own = self._devices.first_weights(self._global, options.initialisation)
        models = {k: self._devices.initial(k) for k in self._devices.samples}
        self._first: dict[str, Any] = {
            "devices": models, "own": own, "generator": self._first_generator(), "memories": {}
        }  # fmt: skip

    @property
    def _options(self) -> FedZKTOptions:
        options = self.setup.options
        assert isinstance(options, FedZKTOptions)
        return options

    @property
    def _rule(self) -> Rule:
        """Return a device's optimizer; the derivative of λ‖w − w⁰‖² is twice λ times the difference."""
        return Rule.of(self._options, proximal=2 * self._options.l2)

    def _first_generator(self) -> State:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.setup.seed, "initial weights", "generator"))
            generator = self._shape.build()
            if self._options.initialisation == "glorot":
                generator.apply(glorot)
        generator.to(self.setup.torch_device)
        dtype = torch.float64 if self.setup.precision == "float64" else torch.float32
        return take({GENERATOR: generator}, dtype)

    # The hooks.

    def training_memory_bytes(self, device: int) -> float:
        """Training; where there is an anchor, it is kept beside the weights."""
        if device not in self._devices.samples:
            return 0.0
        options = self._options
        remembered = len(self._rule.memories) + (1 if options.l2 else 0)
        batch = min(options.batch_size, len(self._devices.samples[device]))
        return self._devices.memory_bytes(device, remembered, batch)

    def facts(self) -> Mapping[str, Any]:
        """Data, networks and costs, for the run's metadata."""
        return {
            **self._devices.facts(),
            "global_network": self._global.network.name,
            "global_flops_per_sample": self._server_costs.network.step(),
            "generator_flops_per_sample": self._server_costs.generator.both,
        }

    def prepare(self, graph: nx.Graph) -> None:
        """Put the data in place."""
        super().prepare(graph)
        require_memory(
            5 * self._devices.states_bytes()
            + 5 * (state_bytes(self._first["own"]) + state_bytes(self._first["generator"])),
            self.setup.memory_bytes,
            f"the models of {len(self._devices.samples)} devices and of the server",
            "use fewer devices (devices.count) or smaller networks (learner.networks), or allow more",
        )
        self._devices.place()

    def first(self, work: TaskGraph, node: int) -> Step:
        """Return the server's first models, which it sends; a device learns from what it is sent."""
        return Step(self._first, self._first["devices"]) if node == self.setup.server else Step()

    def messages(
        self, node: int, round: int, receivers: Sequence[int], together: bool = False
    ) -> Sequence[Message]:
        """Return all parameters, a device's to the server and back; ``together``, one message with all devices'."""
        if node in self._devices.samples:
            return [Message(tuple(receivers), self._devices.costs(node).bits)]
        members = tuple(k for k in receivers if k in self._devices.samples)
        if together and members:
            return [Message(members, math.fsum(self._devices.costs(k).bits for k in members))]
        return [Message((k,), self._devices.costs(k).bits) for k in members]

    def cost(self, node: int, round: int, peers: Sequence[int], budget: Budget, plan: Any) -> Cost:
        """Return a device's steps, or the server's game and transfer back, counted as if everybody answered.

        In a step of the generator, gradients pass through the frozen networks to their inputs.
        """
        if node == self.setup.server:
            active = [k for k in peers if k in self._devices.samples]
            return Cost({}, self._server_costs.flops(self._students(active)))
        if node not in self._devices.samples:
            return Cost()
        options, steps = self._options, self._steps(node)
        own = len(self._devices.samples[node])
        seen = sum(batch_sizes(own, options.batch_size, steps, options.last_batch))
        flops = {self._devices.modality: seen * self._devices.costs(node).step()}
        return Cost({self._devices.modality: steps}, flops)

    def _steps(self, device: int) -> int:
        options = self._options
        return options.local_epochs * iterations_per_epoch(
            len(self._devices.samples[device]), options.batch_size, options.last_batch
        )

    def _students(self, active: Sequence[int]) -> list[int]:
        """Return the devices whose models learn from the global one."""
        return sorted(self._devices.samples if self._options.transfer == "all" else active)

    def train(self, work: TaskGraph, node: int, round: int, state: Any, cost: Cost) -> Step:
        """Order a device's local update, or the server's work on what has arrived.

        A divergence stops the run, or what has diverged is dropped, as ``on_nan`` says.
        """
        if node == self.setup.server:
            return self._distilled(work, round, *state)
        options, steps = self._options, self._steps(node)
        plan = LocalPlan(
            options.batch_size,
            self._rule,
            options.last_batch,
            self.setup.precision == "bf16",
        )
        inputs = {
            **self._devices.common(),
            "architecture": self._devices.architectures[node],
            "state": state,
            "device": node,
            "steps": steps,
            "plan": plan,
            "seed": derive_seed(self.setup.seed, "training", node, round),
            "pace": options.schedule.factor(round - 1, self.setup.rounds),
        }
        trained = work.do(local_update, inputs, round, self._stack(node, plan, LOCAL_UPDATES, steps))
        if not self._drops:
            trained = self._finite(work, trained, f"the training of device {node}", round, way_out=WAY_OUT)
        return Step(trained, trained, trained["metrics"])

    def _distilled(
        self, work: TaskGraph, round: int, before: Any, usable: Future, arrived: Sequence[int]
    ) -> Step:
        """Order the game, then the transfer back to each device; models and noise are all that goes into them."""
        seed, plan = derive_seed(self.setup.seed, "distillation", round), self._server_plan(round)
        common = {"students": usable["students"], "plan": plan, "torch_device": self.setup.torch_device}
        architectures = self._devices.architectures
        game = {
            **common,
            "architecture": self._global,
            "state": before["own"],
            "shape": self._shape,
            "generator": before["generator"],
            "memories": before["memories"],
            "devices": {k: (one, usable["devices"][k]) for k, one in architectures.items()},
            "seed": seed,
        }
        played = work.do(play, game, round)
        transferred = {}
        for k in self._students(arrived):
            inputs = {
                **common,
                "architecture": architectures[k],
                "state": usable["devices"][k],
                "device": k,
                "images": played["images"],
                "targets": played["targets"],
                "seed": derive_seed(seed, "transfer", k),
            }
            stack = self._stack(k, plan, TRANSFERS, plan.iterations)
            transferred[k] = work.do(transfer, inputs, round, stack)
        settling = {
            "before": before,
            "devices": usable["devices"],
            "students": usable["students"],
            "played": played,
            "transferred": transferred,
            "iterations": plan.iterations,
            "error": None if self._drops else self._diverged(
                "the server's distillation", round, "server_learning_rate", WAY_OUT
            ),
        }  # fmt: skip
        after = work.together(settle, settling, round)
        return Step(after, after["devices"], after["metrics"])

    @property
    def _drops(self) -> bool:
        return self._options.on_nan == "drop"

    def _server_plan(self, round: int) -> ServerPlan:
        options, rate = self._options, self._rate(round)
        return ServerPlan(
            options.loss,
            options.distillation_iterations,
            options.student_steps,
            options.server_batch_size,
            rate * options.server_learning_rate,
            options.server_momentum,
            Rule("adam", rate * options.generator_learning_rate),
            options.student_statistics,
        )

    def _rate(self, round: int) -> float:
        """Factor on the server's step sizes in ``round``: they drop after a half and after three quarters of T."""
        done = (round - 1) / self.setup.rounds
        return self._options.rate_drop ** ((done >= 0.5) + (done >= 0.75))

    def aggregate(
        self, work: TaskGraph, node: int, round: int, state: Any, arrived: Mapping[int, Any]
    ) -> Step:
        """Take what the server sent, or order a look at what arrived; where nothing usable did, all stays as it was."""
        server = self.setup.server
        if node != server and server is not None:
            return Step(arrived[server][node])
        if not arrived:
            return Step(state)
        inputs = {
            "before": state["devices"],
            "uploads": dict(arrived),
            "everybody": self._options.transfer == "all",
        }
        found = work.together(usable, inputs, round)
        return Step((state, found, tuple(arrived)), metrics=found["metrics"])

    def model(self, node: int, state: Any) -> Kept | None:
        """Return the model of the server; devices learn from what they are sent."""
        return kept(self._global, state["own"]) if node == self.setup.server else None

    def evaluate(self, work: TaskGraph, node: int, round: int, state: Any) -> Future | None:
        """Order the evaluation of a device's own model, or of the server's and all devices' as the server has them."""
        if not self._is_evaluated(round):
            return None
        architectures = self._devices.architectures
        if node != self.setup.server:
            found = self._evaluated(work, node, round, architectures[node], state["state"])
            return work.together(local_accuracy, {"evaluated": found, "trained": state}, round)
        own = self._evaluated(work, node, round, self._global, state["own"])
        devices = [
            self._evaluated(work, node, round, one, state["devices"][k]) for k, one in architectures.items()
        ]
        return work.together(accuracies, {"own": own, "devices": devices}, round)


def usable(inputs: Sequence[Inputs]) -> list[dict[str, Any]]:
    """Return each device's model, of this round where it is finite or as it was before, and who will be taught."""
    found = []
    for one in inputs:
        new = {k: trained.state for k, trained in one["uploads"].items() if trained.finite}
        dropped = len(one["uploads"]) - len(new)
        found.append(
            {
                "devices": {**one["before"], **new},
                "students": sorted(one["before"] if one["everybody"] and new else new),
                "metrics": [Metric("dropped", float(dropped))] if dropped else [],
            }
        )
    return found


def settle(inputs: Sequence[Inputs]) -> list[dict[str, Any]]:
    """Return what the server has after its work; where that is not finite, all but the uploads is as before.

    Raises:
        ScenarioError: It is not finite, and there is an error for that.
    """
    return [_settled(**one) for one in inputs]


def _settled(
    before: Mapping[str, Any],
    devices: Mapping[int, State],
    students: Sequence[int],
    played: Played,
    transferred: Mapping[int, Transferred],
    iterations: int,
    error: str | None,
) -> dict[str, Any]:
    if not students:
        return {**before, "metrics": []}
    taught = {k: transferred[k] for k in students}
    losses = {**played.losses}
    total = 0.0
    for of_iteration in zip(*(one.losses for one in taught.values()), strict=True):
        for loss in of_iteration:
            total += loss / len(taught)
    losses["loss_transfer"] = total / iterations
    states = [played.global_state, played.generator, *(one.state for one in taught.values())]
    finite = all(map(is_finite, states)) and all(map(math.isfinite, losses.values()))
    metrics = [Metric(name, losses[name]) for name in LOSSES]
    if error is None:
        metrics.append(Metric("dropped", float(not finite)))
    elif not finite:
        raise ScenarioError(error)
    if not finite:
        return {**before, "devices": devices, "metrics": metrics}
    return {
        "devices": {**devices, **{k: one.state for k, one in taught.items()}},
        "own": played.global_state,
        "generator": played.generator,
        "memories": played.memories,
        "metrics": metrics,
    }


def local_accuracy(inputs: Sequence[Inputs]) -> list[list[Metric]]:
    """Return the accuracy of each device's own model that is finite."""
    return [
        [Metric("accuracy_local", one["evaluated"].accuracy())] if one["trained"].finite else []
        for one in inputs
    ]


def accuracies(inputs: Sequence[Inputs]) -> list[list[Metric]]:
    """Return the accuracies of the global model and, as a mean, of the devices'."""
    return [
        [
            Metric("accuracy", one["own"].accuracy()),
            Metric("loss_test", one["own"].loss),
            Metric("accuracy_devices", means(one["devices"])[0]),
            *one["own"].judged,
        ]
        for one in inputs
    ]
