"""FedZKT (Zhang et al., ICDCS 2022): the server distils devices' models without data; see docs/learners/fedzkt.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import networkx as nx
import torch

from learners.distillation.classifier import Classifier
from learners.distillation.costs import input_gradient_flops, network_costs
from learners.distillation.evaluation import Judgement
from learners.distillation.fedzkt_update import (
    GENERATOR,
    Distilled,
    LocalPlan,
    ServerPlan,
    Trained,
    local_update,
    server_update,
)
from learners.distillation.fleet import Fleet, OfAFleet, glorot
from learners.distillation.options import FedZKTOptions
from learners.distillation.zkt_generator import GeneratorShape
from learners.dmml.batches import batch_sizes, iterations_per_epoch
from learners.networks.choice import NetworkChoice
from learners.training.costs import flops_of
from learners.training.flops import count
from learners.training.optimizers import Memories, Rule
from learners.training.state import State, state_bytes, take
from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.streams import derive_seed
from netsim.former.learning import Message, ServerLearner, Workload
from netsim.learner import Metric, Setup
from netsim.work.job import TrainingJob
from netsim.work.torch_device import require_memory
from netsim.world.budget import Budget

GLOBAL = NetworkChoice(name="cnn")
"""The server's network where the scenario names none; the paper does not say which it used."""

WAY_OUT = "lower it, or go on with the models from before with learner.on_nan: drop"
"""What to do where something diverges."""


class Models:
    """What the server has after a round: promised when it is sent, there when the server has computed.

    Attributes:
        of_devices: Each device's model.
        of_server: F.
        generator: G.
        memories: What the optimizers of generator and global model remember.
    """

    def __init__(self) -> None:
        self.of_devices: Mapping[int, State] = {}
        self.of_server: State = {}
        self.generator: State = {}
        self.memories: Memories = {}

    def become(self, other: Models) -> None:
        """The same as ``other``."""
        self.of_devices, self.of_server = other.of_devices, other.of_server
        self.generator, self.memories = other.generator, other.memories


class Upload:
    """A device's parameters on their way to the server.

    Attributes:
        trained: What training left; None until its job is done.
    """

    def __init__(self) -> None:
        self.trained: Trained | None = None

    @property
    def result(self) -> Trained:
        """What training left, which is there when it arrives."""
        assert self.trained is not None, "nothing arrives before its sender's job is done"
        return self.trained


class FedZKT(OfAFleet, ServerLearner):
    """Zero-shot knowledge transfer: parameters go up, and come back distilled, each device's in its own shape.

    The server lets a generator and a global model play against each other over the ensemble of all devices' last known
    models, and then teaches the models of the round's participants with the global one. Its computing takes its time.
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
    looks_ahead: ClassVar[bool] = True
    in_rounds_only: ClassVar[bool] = True
    judges_devices: ClassVar[bool] = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        options = self._options
        self._fleet = Fleet(setup, options.networks, options.modalities)
        classes, shape = (len(self._fleet.classes),), self._fleet.input_shape
        self._fleet.build(classes, initialisation=options.initialisation)
        if len(shape) != 3:
            raise ScenarioError(
                f"learner.name: the generator of fedzkt makes images, but a sample of {self._fleet.modality} has shape "
                f"{list(shape)}; use image data, or fedmd"
            )
        self._global = Classifier(options.global_network or GLOBAL, shape, classes)
        try:
            self._global_costs = network_costs(self._global, self._fleet.sample, setup.costs)
        except ScenarioError as error:
            raise ScenarioError(f"learner.global_network: {error}") from error
        self._shape = GeneratorShape(options.noise_size, options.generator_channels, shape)
        first = Models()
        first.of_devices = {k: self._fleet.initial(k) for k in self._fleet.samples}
        first.of_server = self._fleet.first_weights(self._global, options.initialisation)
        first.generator = self._first_generator()
        with torch.random.fork_rng(devices=[]):
            passes = count(self._shape.build(), torch.zeros(2, options.noise_size))
        self._generator_flops = flops_of(setup.costs, passes)
        self._through = {
            one.text: input_gradient_flops(one, self._fleet.sample, setup.costs)
            for one in {one.text: one for one in (self._global, *self._fleet.architectures.values())}.values()
        }
        self._models = {0: first}
        self._received: dict[int, dict[int, Models]] = {}
        self._uploads: dict[tuple[int, int], Upload] = {}
        self._arrived: dict[int, dict[int, State]] = {}
        self._asked: dict[int, tuple[int, ...]] = {}

    @property
    def _options(self) -> FedZKTOptions:
        options = self.setup.options
        assert isinstance(options, FedZKTOptions)
        return options

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
        if device not in self._fleet.samples:
            return 0.0
        options = self._options
        remembered = (1 if options.momentum else 0) + (1 if options.l2 else 0)
        batch = min(options.batch_size, len(self._fleet.samples[device]))
        return self._fleet.memory_bytes(device, remembered, batch)

    def facts(self) -> Mapping[str, Any]:
        """Data, networks and costs, for the run's metadata."""
        return {
            **self._fleet.facts(),
            "global_network": self._global.network.name,
            "global_flops_per_sample": self._global_costs.step(),
            "generator_flops_per_sample": self._generator_flops.both,
        }

    def begin(self, graph: nx.Graph) -> None:
        """Put the data in place."""
        super().begin(graph)
        first = self._models[0]
        require_memory(
            5 * self._fleet.states_bytes()
            + 5 * (state_bytes(first.of_server) + state_bytes(first.generator)),
            self.setup.memory_bytes,
            f"the models of {len(self._fleet.samples)} devices and of the server",
            "use fewer devices (devices.count) or smaller networks (learner.networks), or allow more",
        )
        self._fleet.place()

    def download(self, round: int, devices: Sequence[int], together: bool = False) -> Sequence[Message]:
        """Each device's own model as the server has it; ``together``, one message with the models of all of them."""
        members = tuple(k for k in devices if k in self._fleet.samples)
        self._asked[round] = members
        models = self._after(round - 1)
        if together and members:
            return [Message(members, math.fsum(self._fleet.costs(k).bits for k in members), models)]
        return [Message((k,), self._fleet.costs(k).bits, models) for k in members]

    def receive(self, device: int, round: int, payload: Models) -> None:
        """What the device will train from in its ``round``."""
        self._received.setdefault(device, {})[round] = payload

    def workload(self, device: int, round: int, budget: Budget) -> Workload:
        """A device's steps, or the server's game and transfer back, counted as if everybody answered.

        In a step of the generator, gradients pass through the frozen networks to their inputs.
        """
        if device == self.server:
            return Workload({}, self._server_flops(round))
        if device not in self._fleet.samples:
            return Workload()
        options, steps = self._options, self._steps(device)
        own = len(self._fleet.samples[device])
        seen = sum(batch_sizes(own, options.batch_size, steps, options.last_batch))
        flops = {self._fleet.modality: seen * self._fleet.costs(device).step()}
        return Workload({self._fleet.modality: steps}, flops)

    def _steps(self, device: int) -> int:
        options = self._options
        return options.local_epochs * iterations_per_epoch(
            len(self._fleet.samples[device]), options.batch_size, options.last_batch
        )

    def _server_flops(self, round: int) -> dict[str, float]:
        options = self._options
        samples = options.distillation_iterations * options.server_batch_size
        generator, own = self._generator_flops, self._global_costs
        everybody = math.fsum(self._fleet.costs(k).forward for k in self._fleet.samples)
        frozen = (self._global, *(self._fleet.architectures[k] for k in self._fleet.samples))
        through = math.fsum(self._through[one.text] for one in frozen)
        students = self._students(round, self._asked.get(round, ()))
        played = options.student_steps
        return {
            "generator": samples * (generator.both + own.forward + everybody + through),
            "global": samples * played * (generator.forward + own.step() + everybody),
            "transfer": samples
            * (generator.forward + own.forward + math.fsum(self._fleet.costs(k).step() for k in students)),
        }

    def _students(self, round: int, active: Sequence[int]) -> list[int]:
        """Whose models learn from the global one."""
        return sorted(self._fleet.samples if self._options.transfer == "all" else active)

    def training_job(self, device: int, round: int, workload: Workload) -> TrainingJob | None:
        """A device's local update, or the server's work on what has arrived."""
        if device == self.server:
            return self._server_job(round)
        if device not in self._fleet.samples:
            return None
        options = self._options
        models = self._taken(device, round)
        assert models.of_server, "a device trains from what it has received"
        inputs = {
            "architecture": self._fleet.architectures[device],
            "state": models.of_devices[device],
            "store": self._fleet.store,
            "modality": self._fleet.modality,
            "device": device,
            "steps": self._steps(device),
            "plan": LocalPlan(
                options.batch_size,
                options.learning_rate,
                options.momentum,
                options.weight_decay,
                options.l2,
                options.last_batch,
                self.setup.precision == "bf16",
            ),
            "seed": derive_seed(self.setup.seed, "training", device, round),
            "torch_device": self.setup.torch_device,
        }
        return TrainingJob(local_update, inputs, frozenset({"store"}))

    def _server_job(self, round: int) -> TrainingJob | None:
        """The work behind a round that something has arrived in; models and noise are all that goes into it."""
        arrived = self._arrived.get(round)
        if not arrived:
            return None
        options, before = self._options, self._after(round - 1)
        known = {**before.of_devices, **arrived}
        rate = self._rate(round)
        inputs = {
            "global_architecture": self._global,
            "global_state": before.of_server,
            "shape": self._shape,
            "generator": before.generator,
            "memories": before.memories,
            "devices": {k: (self._fleet.architectures[k], known[k]) for k in sorted(known)},
            "students": self._students(round, list(arrived)),
            "plan": ServerPlan(
                options.loss,
                options.distillation_iterations,
                options.student_steps,
                options.server_batch_size,
                rate * options.server_learning_rate,
                options.server_momentum,
                Rule("adam", rate * options.generator_learning_rate),
                options.student_statistics,
            ),
            "seed": derive_seed(self.setup.seed, "distillation", round),
            "torch_device": self.setup.torch_device,
        }
        return TrainingJob(server_update, inputs)

    def _rate(self, round: int) -> float:
        """Factor on the server's step sizes in ``round``: they drop after a half and after three quarters of T."""
        done = (round - 1) / self.setup.rounds
        return self._options.rate_drop ** ((done >= 0.5) + (done >= 0.75))

    def apply(self, device: int, round: int, result: Any) -> Sequence[Metric]:
        """What a device has trained is what it sends; what the server has distilled is what it has.

        Raises:
            ScenarioError: It diverged, and the scenario does not say to go on with what was before.
        """
        if result is None:
            return ()
        if device == self.server:
            return self._apply_distilled(round, result)
        assert isinstance(result, Trained)
        if not result.finite and self._options.on_nan == "stop":
            raise self._diverged(f"the training of device {device}", round, way_out=WAY_OUT)
        self._upload(device, round).trained = result
        return [Metric(name, value) for name, value in result.losses.items()]

    def _apply_distilled(self, round: int, result: Distilled) -> list[Metric]:
        before, after = self._after(round - 1), self._after(round)
        known = {**before.of_devices, **self._arrived.pop(round)}
        finite = result.finite
        if not finite and self._options.on_nan == "stop":
            raise self._diverged("the server's distillation", round, "server_learning_rate", WAY_OUT)
        after.of_devices = {**known, **result.transferred} if finite else known
        after.of_server = result.global_state if finite else before.of_server
        after.generator = result.generator if finite else before.generator
        after.memories = result.memories if finite else before.memories
        self._forget(round)
        metrics = [Metric(name, value) for name, value in result.losses.items()]
        if self._options.on_nan == "drop":
            metrics.append(Metric("dropped", float(not finite)))
        return metrics

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[Message]:
        """All its parameters, to the server."""
        if device not in self._fleet.samples:
            return ()
        return [Message((self.server,), self._fleet.costs(device).bits, self._upload(device, round))]

    def combine(self, device: int, round: int, arrived: Mapping[int, Upload]) -> Sequence[Metric]:
        """Take note of what arrived; where nothing usable did, everything stays as it was."""
        if device != self.server:
            return ()
        usable = {k: arrived[k].result.state for k in sorted(arrived) if arrived[k].result.finite}
        if usable:
            self._arrived[round] = usable
        else:
            self._after(round).become(self._after(round - 1))
            self._forget(round)
        if self._options.on_nan == "drop" and len(usable) < len(arrived):
            return [Metric("dropped", float(len(arrived) - len(usable)))]
        return ()

    def evaluation_job(self, device: int, round: int) -> TrainingJob | None:
        """Judge a device's own model, or the server's and then all devices' as the server has them."""
        if not self._fleet.judged_in(round):
            return None
        if device == self.server:
            models = self._after(round)
            devices = [(self._fleet.architectures[k], models.of_devices[k]) for k in models.of_devices]
            return self._fleet.evaluation_job([(self._global, models.of_server), *devices], device, round)
        if device not in self._fleet.samples:
            return None
        trained = self._upload(device, round).trained
        if trained is None or not trained.finite:
            return None
        return self._fleet.evaluation_job([(self._fleet.architectures[device], trained.state)], device, round)

    def judge(self, device: int, round: int, result: Sequence[Judgement]) -> Sequence[Metric]:
        """Accuracies of the global model and of the devices'."""
        if device != self.server:
            return [Metric("accuracy_local", result[0].accuracy())]
        of_server, *of_devices = result
        mean = math.fsum(one.accuracy() for one in of_devices) / len(of_devices)
        return [
            Metric("accuracy", of_server.accuracy()),
            Metric("loss_test", of_server.loss),
            Metric("accuracy_devices", mean),
        ]

    # What the hooks are made of.

    def _after(self, round: int) -> Models:
        """What the server has after ``round``: a promise until it has computed."""
        return self._models.setdefault(round, Models())

    def _taken(self, device: int, round: int) -> Models:
        """What ``device`` received in ``round``; what it received before that is for trainings that were cut off."""
        received = self._received[device]
        found = received[round]
        self._received[device] = {n: one for n, one in received.items() if n > round}
        return found

    def _upload(self, device: int, round: int) -> Upload:
        return self._uploads.setdefault((device, round), Upload())

    def _forget(self, round: int) -> None:
        """Whoever still needs something earlier has it in hand."""
        self._models = {n: one for n, one in self._models.items() if n >= round}
        self._uploads = {key: one for key, one in self._uploads.items() if key[1] > round}
