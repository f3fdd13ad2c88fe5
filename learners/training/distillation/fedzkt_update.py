"""The real work of FedZKT: a device's local update, and the server's game and transfer back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from learners.networks.randomness import drawing_from_its_seed
from learners.networks.state import State, is_finite, lend
from learners.training.batched import Alone, Means, Together, Way
from learners.training.batches import random_numbers
from learners.training.distillation.batches import Private
from learners.training.distillation.classifier import (
    TRUNK,
    Classifier,
    ClassifierNet,
    Outputs,
    running_statistics_kept,
)
from learners.training.distillation.losses import disagreement, divergence
from learners.training.distillation.options import Disagreement
from learners.training.distillation.stackable import (
    ManyAtOnce,
    longest_first,
    network_obstacle,
    private_obstacle,
)
from learners.training.objectives import cross_entropy
from learners.training.optimizers import Memories, Rule, Single
from learners.training.stack import ALL
from netsim.core.streams import derive_seed
from netsim.learner import Metric

if TYPE_CHECKING:
    from learners.training.distillation.zkt_generator import GeneratorShape
    from learners.training.options import LastBatch
    from learners.training.task import Store

Statistics = Literal["keep", "update", "eval"]
GENERATOR = "generator"
"""The one part of the generator's state."""
TRIED_SAMPLES = 8
"""Made-up samples of each device with which it is found out whether a network can be stacked."""


@dataclass(frozen=True)
class LocalPlan:
    """Settings of a device's training.

    Attributes:
        batch_size: Samples per step.
        rule: The optimizer, which remembers nothing as a round begins, with λ‖w − w⁰‖² as its proximal term.
        last_batch: What becomes of the samples that an epoch's full mini-batches leave over.
        bf16: Whether forward passes compute in bfloat16 where PyTorch holds that to be safe.
    """

    batch_size: int
    rule: Rule
    last_batch: LastBatch = "keep"
    bf16: bool = False


@dataclass(frozen=True)
class Trained:
    """The result of a device's local update.

    Attributes:
        state: The new state.
        losses: Means over the steps, by metric.
    """

    state: State
    losses: Mapping[str, float]

    @property
    def finite(self) -> bool:
        """Return whether all losses and all numbers of the state are finite."""
        return is_finite(self.state) and all(math.isfinite(one) for one in self.losses.values())

    @property
    def metrics(self) -> list[Metric]:
        """Return the losses, as a run records them."""
        return [Metric(name, value) for name, value in self.losses.items()]


@drawing_from_its_seed
def local_update(
    architecture: Classifier,
    state: State,
    store: Store,
    modality: str,
    device: int,
    steps: int,
    plan: LocalPlan,
    seed: int,
    torch_device: str,
    pace: float = 1.0,
) -> Trained:
    """Algorithm 2 with eq. (9): mean cross-entropy + λ‖w − w⁰‖², w⁰ being the received weights.

    The paper sums cross-entropy over the samples and gives the distance the weight 1; here cross-entropy is the mean
    over a mini-batch, as its batches of 256 and its step size suppose, and λ is an option.

    Args:
        architecture: The device's own.
        state: What it received.
        store: All private samples, and which of them are whose.
        modality: The networks' input.
        device: The device.
        steps: Mini-batches.
        plan: Step size and the like.
        seed: This device's, this round's.
        torch_device: Where to work.
        pace: Factor on the step size.
    """
    way = Alone(architecture.net(torch_device), state, plan.rule, pace=pace)
    private = Private(store, modality, [device], [seed], plan.batch_size, plan.last_batch)
    return _updated(way, private, [state], [steps], plan)[0]


def local_updates(jobs: Sequence[Mapping[str, Any]]) -> list[Trained]:
    """Do :func:`local_update` for several devices of one architecture and plan at once, from the inputs of each."""
    return longest_first(_local_updates, jobs, [job["steps"] for job in jobs])


def _local_updates(jobs: Sequence[Mapping[str, Any]]) -> list[Trained]:
    architecture, plan, torch_device = (jobs[0][name] for name in ("architecture", "plan", "torch_device"))
    states = [job["state"] for job in jobs]
    way = Together(architecture.net(torch_device), states, plan.rule, paces=[job["pace"] for job in jobs])
    return _updated(way, Private.of(jobs), states, [job["steps"] for job in jobs], plan)


def local_shortened(inputs: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return inputs of a local update like this one with at most ``steps`` steps, to measure with."""
    return {**inputs, "steps": min(steps, inputs["steps"])}


def local_obstacle(jobs: Sequence[Mapping[str, Any]]) -> str:
    """Say what keeps local updates from being stacked, as the end of a sentence; empty if nothing does."""
    return private_obstacle(jobs)


LOCAL_UPDATES = ManyAtOnce("training", local_updates, local_shortened, local_obstacle)


def _updated(
    way: Way, private: Private, states: Sequence[State], steps: Sequence[int], plan: LocalPlan
) -> list[Trained]:
    """Update one device, or several at once."""
    net: ClassifierNet = way.net
    means = Means(way.count)
    net.train()
    kinds = private.kinds(net, states[0], steps, [[None] * count for count in steps])
    for batch in private.batches(way, steps, "batches", kinds):
        with torch.autocast(batch.labels.device.type, torch.bfloat16, enabled=plan.bf16):
            outputs: Outputs = way.forward(batch.devices, batch.inputs)
            loss = cross_entropy(outputs.logits[0], batch.labels, batch.real)
        way.step(loss)
        means.add("loss_task", loss, batch.devices)
    return [
        Trained(state, {"loss_task": 0.0, **losses})
        for state, losses in zip(way.states(), means.by_device(), strict=True)
    ]


@dataclass(frozen=True)
class ServerPlan:
    """Settings of the server's distillation.

    Attributes:
        loss: What generator and global model play for.
        iterations: n_D.
        student_steps: Steps of the global model for each of the generator.
        batch_size: Made-up samples per step.
        learning_rate: η_S.
        momentum: Of it.
        generator: The generator's optimizer.
        statistics: BatchNorm of device models in the transfer back.
    """

    loss: Disagreement
    iterations: int
    student_steps: int
    batch_size: int
    learning_rate: float
    momentum: float
    generator: Rule
    statistics: Statistics

    @property
    def transfer(self) -> Rule:
        """Return the optimizer of each device's model in the transfer back."""
        return Rule("sgd", self.learning_rate, self.momentum)


@dataclass(frozen=True)
class Played:
    """The result of the server's game.

    Attributes:
        global_state: F.
        generator: G.
        memories: What the optimizers of generator and global model remember.
        losses: Means over the iterations, by metric.
        images: What the transfer back is about, for each iteration [B, channels, height, width].
        targets: Logits of F for these, for each iteration [B, C].
    """

    global_state: State
    generator: State
    memories: Memories
    losses: Mapping[str, float]
    images: Sequence[Tensor]
    targets: Sequence[Tensor]


@dataclass(frozen=True)
class Transferred:
    """The result of the transfer back to one device's model.

    Attributes:
        state: The new state.
        losses: KL divergence from the global model, for each iteration.
    """

    state: State
    losses: Sequence[float]


@drawing_from_its_seed
def play(
    architecture: Classifier,
    state: State,
    shape: GeneratorShape,
    generator: State,
    memories: Memories,
    devices: Mapping[int, tuple[Classifier, State]],
    students: Sequence[int],
    plan: ServerPlan,
    seed: int,
    torch_device: str,
) -> Played:
    """Algorithm 3 up to the transfer back, from models and noise alone; there is no sample among its arguments.

    In a step of the generator nothing but the generator changes: the global model and the devices' are frozen and in
    evaluation mode, and the gradient only passes through them.

    Args:
        architecture: Of F.
        state: F, w.
        shape: Of G.
        generator: G, θ.
        memories: What the optimizers of generator and global model remember.
        devices: All devices' models, the ensemble.
        students: Those whose models will learn from F. Where there are none, nothing is done.
        plan: Losses, step sizes, iterations.
        seed: This round's.
        torch_device: Where to work.
    """
    if not students:
        return Played(state, generator, memories, {}, [], [])
    made_up = shape.net(torch_device)
    student = architecture.net(torch_device)
    lent_generator = lend({GENERATOR: made_up}, generator)
    lent_student = lend(student.parts(), state)
    dtype = state[TRUNK].row.bank.dtype
    layouts = {part: own.layout for part, own in {**generator, **state}.items()}
    rises = Single(plan.generator, {GENERATOR: made_up}, layouts, memories)
    falls = Single(Rule("sgd", plan.learning_rate, plan.momentum), student.parts(), layouts, memories)
    noise = random_numbers(derive_seed(seed, "noise"))
    teachers = teaching(devices, torch_device)

    def images() -> Tensor:
        z = torch.randn(plan.batch_size, shape.noise_size, generator=noise)
        found: Tensor = made_up(z.to(torch_device, dtype))
        return found

    def fixed_images() -> Tensor:
        with torch.no_grad(), running_statistics_kept(made_up):
            return images()

    sums = dict.fromkeys(("loss_generator", "loss_global", "input_gradient"), 0.0)
    made_up.train()
    for _ in range(plan.iterations):
        gap, gradient = generator_step(images(), student, teachers, plan.loss, rises)
        sums["loss_generator"] -= gap
        sums["input_gradient"] += gradient
        for _ in range(plan.student_steps):
            loss = student_step(fixed_images(), student, teachers, plan.loss, falls)
            sums["loss_global"] += loss / plan.student_steps
    new_global = {part: held.part() for part, held in lent_student.items()}
    new_generator = {part: held.part() for part, held in lent_generator.items()}
    shown = [fixed_images() for _ in range(plan.iterations)]
    with torch.no_grad():
        targets = [architecture.predict(new_global, x).logits[0] for x in shown]
    return Played(
        new_global,
        new_generator,
        {**rises.memories(), **falls.memories()},
        {name: value / plan.iterations for name, value in sums.items()},
        shown,
        targets,
    )


def teaching(devices: Mapping[int, tuple[Classifier, State]], torch_device: str) -> list[ClassifierNet]:
    """Return a network with each device's model for this thread to ask, in evaluation mode."""
    nets = []
    for place, (architecture, state) in enumerate(devices.values(), start=1):
        net = architecture.net(torch_device, place)
        lend(net.parts(), state)
        nets.append(net.eval())
    return nets


def ensemble(teachers: Sequence[ClassifierNet], x: Tensor) -> Tensor:
    """Return the logits [K, B, C] of all devices' models for ``x``."""
    return torch.stack([net(x).logits[0] for net in teachers])


def generator_step(
    x: Tensor,
    student: ClassifierNet,
    teachers: Sequence[ClassifierNet],
    loss: Disagreement,
    rises: Single,
) -> tuple[float, float]:
    """Widen the disagreement about the samples ``x`` by changing what made them, and nothing else.

    Returns:
        The disagreement before, and the norm of its gradient with respect to a sample, mean over the samples.
    """
    student.eval()
    x.retain_grad()
    with frozen(student, *teachers):
        gap = disagreement(loss, student(x).logits[0], ensemble(teachers, x))
        (-gap).backward()
    assert x.grad is not None
    rises.step()
    return gap.item(), x.grad.flatten(1).norm(dim=1).mean().item() * len(x)


def student_step(
    x: Tensor,
    student: ClassifierNet,
    teachers: Sequence[ClassifierNet],
    loss: Disagreement,
    falls: Single,
) -> float:
    """Narrow the disagreement about ``x`` by changing the global model; returns what it was before."""
    student.train()
    with torch.no_grad():
        taught = ensemble(teachers, x)
    gap = disagreement(loss, student(x).logits[0], taught)
    gap.backward()
    falls.step()
    return gap.item()


def transfer_step(x: Tensor, target: Tensor, way: Way, statistics: Statistics) -> Tensor:
    """Bring device models nearer to the global one's logits ``target`` of ``x``; returns the loss of each."""
    net: ClassifierNet = way.net
    net.train(statistics != "eval")
    with _statistics(net, statistics):
        outputs: Outputs = way.forward(ALL, x)
        loss = divergence(target, outputs.logits[0])
    way.step(loss)
    return loss.detach()


@drawing_from_its_seed
def transfer(
    architecture: Classifier,
    state: State,
    device: int,
    students: Sequence[int],
    images: Sequence[Tensor],
    targets: Sequence[Tensor],
    plan: ServerPlan,
    seed: int,
    torch_device: str,
) -> Transferred | None:
    """Lines 15 to 22 of Algorithm 3 for one device's model; all devices' see the same images.

    Args:
        architecture: Of the model.
        state: The model.
        device: Whose it is.
        students: Devices whose models learn from the global one. If this is none of them, nothing is done.
        images: Of each iteration.
        targets: What the global model says of them.
        plan: Step size and the like.
        seed: This device's, this round's.
        torch_device: Where to work.
    """
    if device not in students:
        return None
    way = Alone(architecture.net(torch_device), state, plan.transfer)
    return _transferred(way, [images], [targets], plan)[0]


def transfers(jobs: Sequence[Mapping[str, Any]]) -> list[Transferred | None]:
    """Do :func:`transfer` for several devices of one architecture and plan at once, from the inputs of each."""
    found: list[Transferred | None] = [None] * len(jobs)
    taught = [place for place, job in enumerate(jobs) if job["device"] in job["students"]]
    if taught:
        own = [jobs[place] for place in taught]
        architecture, plan = own[0]["architecture"], own[0]["plan"]
        net = architecture.net(own[0]["torch_device"])
        way = Together(net, [job["state"] for job in own], plan.transfer)
        done = _transferred(way, [job["images"] for job in own], [job["targets"] for job in own], plan)
        for place, one in zip(taught, done, strict=True):
            found[place] = one
    return found


def transfer_shortened(inputs: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return inputs of a transfer like this one with at most ``steps`` iterations, to measure with."""
    return {**inputs, "images": inputs["images"][:steps], "targets": inputs["targets"][:steps]}


def transfer_obstacle(jobs: Sequence[Mapping[str, Any]]) -> str:
    """Say what keeps transfers from being stacked, as the end of a sentence; empty if nothing does."""
    first, batch = jobs[0], (len(jobs), TRIED_SAMPLES, *jobs[0]["architecture"].input_shape)
    like = first["state"][TRUNK].row.bank
    # Not the images of a job: where nobody is taught there are none.
    x = torch.linspace(-1.0, 1.0, math.prod(batch), dtype=like.dtype, device=like.device).view(batch)
    kind = first["plan"].statistics
    states = [job["state"] for job in jobs]
    return network_obstacle(
        first["architecture"], states, x, first["torch_device"], (kind != "eval",), (kind == "keep",)
    )


TRANSFERS = ManyAtOnce("transfer to", transfers, transfer_shortened, transfer_obstacle)


def _transferred(
    way: Way, images: Sequence[Sequence[Tensor]], targets: Sequence[Sequence[Tensor]], plan: ServerPlan
) -> list[Transferred]:
    """Teach the model of one device, or of each of several."""
    losses = [
        transfer_step(
            way.own(torch.stack([own[n] for own in images])),
            way.own(torch.stack([own[n] for own in targets])),
            way,
            plan.statistics,
        )
        for n in range(len(images[0]))
    ]
    by_device = torch.stack(losses).view(len(losses), way.count).T.tolist()
    return [Transferred(state, own) for state, own in zip(way.states(), by_device, strict=True)]


@contextmanager
def _statistics(net: nn.Module, statistics: Statistics) -> Iterator[None]:
    if statistics == "keep":
        with running_statistics_kept(net):
            yield
    else:
        yield


@contextmanager
def frozen(*nets: nn.Module) -> Iterator[None]:
    """While this lasts, gradients pass through ``nets`` but are not gathered in them."""
    trained = [weight for net in nets for weight in net.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)
