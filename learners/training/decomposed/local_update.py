"""The local update of one device in one round (DMML-KD, Algorithm 1, lines 3 to 10): the real work of a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from learners.networks.randomness import drawing_from_its_seed
from learners.networks.state import is_finite
from learners.training.batched import Alone, Means, Step, Together, Way, steps_together
from learners.training.batches import active_modalities, batch_sizes_of_all, drawn_by_all, random_numbers
from learners.training.decomposed.generator_update import update_generator
from learners.training.decomposed.losses import network_losses
from learners.training.decomposed.metrics import DISTILLATION_LOSSES, LOSSES
from learners.training.stack import ALL
from netsim.core.streams import derive_seed
from netsim.learner import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from learners.networks.architecture import Architecture
    from learners.networks.decomposed import DecomposedNet
    from learners.networks.generator import Generator
    from learners.networks.state import State
    from learners.training.decomposed.plan import TrainingPlan
    from learners.training.optimizers import Memories
    from learners.training.task import Store

REPORTED = (*LOSSES, *DISTILLATION_LOSSES)
"""Names of losses, in the order in which they are reported."""

MEANS_BATCH = 64
"""Samples of each of many devices in a forward pass for the class means, if a mini-batch has no more."""


@dataclass(frozen=True)
class Trained:
    """The result of a local update.

    Attributes:
        state: The device's new state, all tensors new.
        memories: What the optimizers remember, for the device's next round.
        losses: Mean of each loss over the iterations in which it was computed, by name.
    """

    state: State
    memories: Memories
    losses: Mapping[str, float]

    @property
    def finite(self) -> bool:
        """Return whether all numbers are finite."""
        return is_finite(self.state)

    @property
    def metrics(self) -> list[Metric]:
        """Return the losses as metrics."""
        return [Metric(name, self.losses[name]) for name in REPORTED if name in self.losses]


class Own(NamedTuple):
    """The data of a device in a local update, besides its model.

    Attributes:
        rows: Its samples, int64 [its samples].
        iterations: N^m.
        total_iterations: N^max.
        seed: This device's, this round's.
    """

    rows: NDArray[np.int64]
    iterations: Mapping[str, int]
    total_iterations: int
    seed: int

    def active(self) -> list[tuple[str, ...]]:
        """Return P^n: which modalities take part in each iteration."""
        if min(self.iterations.values()) >= self.total_iterations:
            return [tuple(self.iterations)] * self.total_iterations
        seed = derive_seed(self.seed, "modalities")
        return active_modalities(self.iterations, self.total_iterations, seed)


@drawing_from_its_seed
def local_update(
    architecture: Architecture,
    state: State,
    memories: Memories,
    store: Store,
    device: int,
    iterations: Mapping[str, int],
    total_iterations: int,
    plan: TrainingPlan,
    seed: int,
    torch_device: str,
    pace: float = 1.0,
) -> Trained:
    """Train the network, then the generator; everything random comes from ``seed``.

    Args:
        architecture: Of the device's own modalities.
        state: W_{k,t-1} and, where there is a generator, Ḡ_{k,t-1}.
        memories: What the optimizers remember of earlier rounds; empty for nothing.
        store: All samples, and which of them are whose.
        device: Whose model it is.
        iterations: N^m, in how many iterations each modality takes part.
        total_iterations: N^max, how many iterations there are to take part in.
        plan: Losses, optimizers, batch sizes.
        seed: This device's, this round's.
        torch_device: Where to work.
        pace: Factor on the step sizes of network and generator.
    """
    model = architecture.model(torch_device)
    generator = None
    if model.generator is not None:
        rule = plan.generator.rule if plan.generator else None
        generator = Alone(model.generator, state, rule, memories, pace)
    own = Own(store.shares[device], iterations, total_iterations, seed)
    way = Alone(model.net, state, plan.rule, memories, pace)
    return _updated(way, generator, store, [own], plan, plan.evaluation_batch_size)[0]


def local_updates(jobs: Sequence[Mapping[str, Any]]) -> list[Trained]:
    """Do :func:`local_update` for several devices of one architecture and plan at once, from the inputs of each."""
    architecture, store, plan = (jobs[0][name] for name in ("architecture", "store", "plan"))
    owned = [
        Own(store.shares[job["device"]], job["iterations"], job["total_iterations"], job["seed"])
        for job in jobs
    ]
    # Those with most samples first: who takes full mini-batches longest are neighbours then, and nothing is copied.
    order = sorted(range(len(jobs)), key=lambda place: -len(owned[place].rows))
    states, memories, paces = (
        [jobs[place][name] for place in order] for name in ("state", "memories", "pace")
    )
    model = architecture.model(jobs[0]["torch_device"])
    generator = None
    if model.generator is not None:
        rule = plan.generator.rule if plan.generator else None
        generator = Together(model.generator, states, rule, memories, paces)
    way = Together(model.net, states, plan.rule, memories, paces)
    batch_size = max(MEANS_BATCH, plan.batch_size)  # for there are many devices
    found = _updated(way, generator, store, [owned[place] for place in order], plan, batch_size)
    places = {place: n for n, place in enumerate(order)}
    return [found[places[place]] for place in range(len(jobs))]


def shortened(inputs: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Inputs of a local update like this one with about ``steps`` iterations, to measure with."""
    total = inputs["total_iterations"]
    scale = min(1.0, steps / total) if total else 1.0
    plan: TrainingPlan = inputs["plan"]
    if plan.generator is not None:
        rounds = max(1, round(plan.generator.iterations * scale)) if plan.generator.iterations else 0
        plan = replace(plan, generator=replace(plan.generator, iterations=rounds))
    return {
        **inputs,
        "plan": plan,
        "total_iterations": min(total, steps),
        "iterations": {m: min(steps, round(count * scale)) for m, count in inputs["iterations"].items()},
    }


def _updated(
    way: Way,
    generator: Way | None,
    store: Store,
    owned: Sequence[Own],
    plan: TrainingPlan,
    means_batch: int,
) -> list[Trained]:
    """Update one device, or several at once: ``way`` has their networks, ``generator`` their generators."""
    net: DecomposedNet = way.net
    at = store.labels.device
    seen = drawn_by_all(
        [own.rows for own in owned],
        plan.batch_size,
        [own.total_iterations for own in owned],
        [derive_seed(own.seed, "batches") for own in owned],
        plan.last_batch,
    ).to(at)
    labels = store.labels[seen]
    sizes = batch_sizes_of_all(
        tuple(len(own.rows) for own in owned),
        plan.batch_size,
        tuple(own.total_iterations for own in owned),
        plan.last_batch,
    )
    generated = None
    if generator is not None and plan.losses.distillation > 0 and seen.shape[1]:
        generated = _generated(generator, labels, [sum(own) for own in sizes], owned)

    parts = {m: (f"trunk/{m}", f"specific/{m}") for m in net.modalities}
    means = Means(way.count)
    precision = torch.autocast(at.type, torch.bfloat16) if plan.bf16 else nullcontext()
    net.train()
    for step, inputs in _batches(way, store, owned, seen, sizes):
        guide = None if generated is None else way.own(step.cut(generated))
        with precision:
            outputs = way.forward(step.devices, inputs, guide)
            terms = network_losses(outputs, way.own(step.cut(labels)), plan.losses)
        way.step(terms["loss_total"], {part: False for m in parts if m not in inputs for part in parts[m]})
        for name, values in terms.items():
            means.add(name, values, step.devices)
        del inputs, outputs  # the next ones take their memory, which is still in the processor's cache

    if generator is not None and plan.generator is not None:
        net.eval()
        update_generator(
            generator,
            way,
            store,
            [torch.from_numpy(own.rows) for own in owned],
            [derive_seed(own.seed, "generator") for own in owned],
            plan,
            means_batch,
            means,
        )
    ways = [way] if generator is None else [way, generator]
    states = [_joined(own) for own in zip(*(one.states() for one in ways), strict=True)]
    memories = [_joined(own) for own in zip(*(one.memories() for one in ways), strict=True)]
    return [Trained(*own) for own in zip(states, memories, means.by_device(), strict=True)]


def _joined(mappings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for one in mappings for name, value in one.items()}


def _batches(
    way: Way, store: Store, owned: Sequence[Own], seen: Tensor, sizes: Sequence[Sequence[int]]
) -> Iterator[tuple[Step, dict[str, Tensor]]]:
    """Yield each step and its inputs by active modality, [B, ...] of one device, or [some, B, ...].

    Those take a mini-batch together that have as many samples in it and the same active modalities: samples of a batch
    meet in the losses, so nothing is padded. Where no modality is active (P = 0 for all of them) nothing moves, the
    bias included.

    Args:
        way: Of the devices.
        store: All samples.
        owned: What each device has.
        seen: Rows of all mini-batches of each, one after the other, int64 [devices, most].
        sizes: Of each device the samples of its mini-batches.
    """
    net: DecomposedNet = way.net
    drawing = [m for m in net.modalities if store.draws(m)]
    augmentation = [
        {m: random_numbers(derive_seed(own.seed, "augmentation", m)) for m in drawing} for own in owned
    ]
    everyone = range(len(owned))

    def inputs_of(m: str, step: Step) -> Tensor:
        rows, draws = way.own(step.cut(seen)), None
        if m in drawing:
            devices = step.devices.tolist() if isinstance(step.devices, Tensor) else everyone[step.devices]
            draw = store.transforms[m].draw
            found = [draw(step.size, augmentation[k][m]) for k in devices]
            draws = torch.cat([own for own in found if own is not None]).to(seen.device)
        return store.trained_on(m, rows.flatten(), draws, way.dtype).unflatten(0, rows.shape)

    for step in steps_together(sizes, _kinds(owned, sizes)):
        _, modalities = step.kind
        if modalities:
            yield step, {m: inputs_of(m, step) for m in modalities}


def _kinds(owned: Sequence[Own], sizes: Sequence[Sequence[int]]) -> list[list[tuple[int, tuple[str, ...]]]]:
    """Return of each mini-batch of each device its size and P: the modalities that are active in it."""
    return [list(zip(counts, own.active(), strict=True)) for own, counts in zip(owned, sizes, strict=True)]


def _generated(generator: Way, labels: Tensor, counts: Sequence[int], owned: Sequence[Own]) -> Tensor:
    """Generated features for ``labels`` of all mini-batches [devices, most]: [devices, most, L̂].

    The generator rests while the network trains: all its features of the round in one forward pass.
    """
    net: Generator = generator.net
    noise = torch.zeros(*labels.shape, net.noise_size)
    for own, count, room in zip(owned, counts, noise, strict=True):
        room[:count] = generator_noise(count, net.noise_size, own.seed)
    with torch.no_grad():
        features: Tensor = generator.forward(
            ALL, generator.own(noise.to(labels.device, generator.dtype)), generator.own(labels)
        )
    return features.view(*labels.shape, -1)


def generator_noise(count: int, size: int, seed: int) -> Tensor:
    """Z ~ N(0, I) [count, size] of a local update with ``seed``; drawn on the CPU."""
    return torch.randn(count, size, generator=random_numbers(derive_seed(seed, "noise")))
