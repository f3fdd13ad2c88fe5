"""The local update of one device in one round (DMML-KD, Algorithm 1, lines 3 to 10): the real work of a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from learners.dmml import losses
from learners.dmml.generator_update import class_means, update_generator
from learners.dmml.plan import LossWeights, TrainingPlan
from learners.models.choice import Architecture
from learners.models.decomposed import DecomposedNet, Outputs
from learners.state import State, put, take
from learners.task import Samples
from netsim.streams import derive_seed

Moments = Mapping[str, Mapping[str, Mapping[str, Tensor]]]
"""Adam's memory by part, tensor and entry (``exp_avg``, ``exp_avg_sq``, ``step``); absent if never stepped."""


@dataclass(frozen=True)
class Trained:
    """What a local update leaves.

    Attributes:
        state: The device's new state, all tensors new.
        moments: The optimizers' memory, for the device's next round.
        losses: Mean of each loss over the iterations in which it was computed, by name.
    """

    state: State
    moments: Moments
    losses: Mapping[str, float]


def local_update(
    architecture: Architecture,
    state: State,
    moments: Moments,
    samples: Samples,
    iterations: Mapping[str, int],
    total_iterations: int,
    plan: TrainingPlan,
    seed: int,
    torch_device: str,
) -> Trained:
    """Train the network, then the generator; everything random comes from ``seed``.

    Args:
        architecture: Of the device's own modalities.
        state: W_{k,t-1} and, where there is a generator, Ḡ_{k,t-1}.
        moments: The optimizers' memory of earlier rounds; empty for none.
        samples: The device's data.
        iterations: N^m, in how many iterations each modality takes part.
        total_iterations: N^max, how many iterations there are to take part in.
        plan: Losses, learning rates, batch sizes.
        seed: This device's, this round's.
        torch_device: Where to work.
    """
    model = architecture.model(torch_device)
    parts = model.parts()
    put(parts, state)
    net, generator = model.net, model.generator

    optimizer = _adam(net.parts(), plan.learning_rate, moments)
    active = active_modalities(iterations, total_iterations, derive_seed(seed, "modalities"))
    batches = mini_batches(len(samples), plan.batch_size, total_iterations, derive_seed(seed, "batches"))
    augmentation = {m: _generator(derive_seed(seed, "augmentation", m)) for m in net.modalities}
    generated = None
    if generator is not None and plan.losses.distillation > 0 and total_iterations:
        # The generator rests while the network trains: all its features of the round in one forward pass.
        order = batches.flatten()
        with torch.no_grad():
            noise = _noise(len(order), generator.noise_size, derive_seed(seed, "noise"), torch_device)
            generated = generator(noise, samples.labels[order.to(torch_device)]).unflatten(0, batches.shape)
    batches = batches.to(torch_device)

    net.train()
    history: dict[str, list[Tensor]] = {}
    for n, modalities in enumerate(active):
        if not modalities:  # P = 0 for all of them: nothing moves, the bias included
            continue
        rows = batches[n]
        labels = samples.labels[rows]
        inputs = {
            m: samples.transforms[m].train(samples.inputs[m][rows], augmentation[m]) for m in modalities
        }
        terms = network_losses(
            net, net(inputs), labels, generated[n] if generated is not None else None, plan.losses
        )
        optimizer.zero_grad(
            set_to_none=True
        )  # None, not zero: Adam's moments would still move skipped weights
        terms["loss_total"].backward()
        optimizer.step()
        for name, value in terms.items():
            history.setdefault(name, []).append(value.detach())

    memory = _memory(net.parts(), optimizer)
    if generator is not None and plan.generator is not None:
        net.eval()
        optimizer = _adam({"generator": generator}, plan.generator.learning_rate, moments)
        history["loss_generator"] = update_generator(
            generator,
            optimizer,
            net,
            class_means(net, samples, plan.evaluation_batch_size),
            plan.generator,
            plan.batch_size,
            _generator(derive_seed(seed, "generator")),
        )
        memory |= _memory({"generator": generator}, optimizer)
    means = {name: torch.stack(values).mean().item() for name, values in history.items() if values}
    return Trained(take(parts), memory, means)


def network_losses(
    net: DecomposedNet, outputs: Outputs, labels: Tensor, generated: Tensor | None, weights: LossWeights
) -> dict[str, Tensor]:
    """F^tot, eq. (12), and its terms by name, over the modalities that took part in ``outputs``."""
    terms = {"loss_task": losses.task_loss(outputs.logits, labels)}
    total = terms["loss_task"]
    if weights.similarity and len(outputs.common_logits) > 1:
        terms["loss_similarity"] = losses.similarity_loss(outputs.common_logits)
        total = total + weights.similarity * terms["loss_similarity"]
    if weights.auxiliary:
        terms["loss_auxiliary"] = losses.auxiliary_loss(outputs.common_logits, labels)
        total = total + weights.auxiliary * terms["loss_auxiliary"]
    if weights.difference:
        terms["loss_difference"] = losses.difference_loss(
            outputs.common, outputs.specific, weights.difference_form
        )
        total = total + weights.difference * terms["loss_difference"]
    if weights.distillation and generated is not None:
        assert net.head.classifier is not None
        terms["loss_distillation"] = losses.distillation_loss(
            outputs.common_logits, net.head.classifier(generated), weights.distillation_form
        )
        total = total + weights.distillation * terms["loss_distillation"]
    return {**terms, "loss_total": total}


def active_modalities(iterations: Mapping[str, int], total: int, seed: int) -> list[tuple[str, ...]]:
    """P^{n,m}: which modalities take part in each of ``total`` iterations.

    Each modality's N^m iterations are drawn without replacement, independently of the other modalities; one
    that takes part in all of them draws nothing, so a run whose N^m are never cut is the same run.
    """
    takes_part = {}
    for modality, count in iterations.items():
        places = torch.randperm(total, generator=_generator(derive_seed(seed, modality)))[:count]
        takes_part[modality] = set(places.tolist())
    return [tuple(m for m in iterations if n in takes_part[m]) for n in range(total)]


def mini_batches(samples: int, batch_size: int, iterations: int, seed: int) -> Tensor:
    """Rows of each iteration's mini-batch, [iterations, min(batch_size, samples)].

    Each epoch is a new order of the samples, cut into full batches; what is left over at its end is dropped.
    """
    size = min(batch_size, samples)
    generator = _generator(seed)
    epochs: list[Tensor] = []
    while sum(len(epoch) for epoch in epochs) < iterations:
        order = torch.randperm(samples, generator=generator)
        epochs.append(order[: samples // size * size].view(-1, size))
    return torch.cat(epochs)[:iterations] if epochs else torch.empty(0, size, dtype=torch.int64)


def iterations_per_epoch(samples: int, batch_size: int) -> int:
    """Full mini-batches in one epoch; a device with fewer samples than that has one smaller batch."""
    return max(1, samples // batch_size)


def _adam(modules: Mapping[str, nn.Module], learning_rate: float, moments: Moments) -> Adam:
    """An Adam that remembers ``moments``; the fused kernel saves a tenth of a small network's step."""
    optimizer = Adam([w for _, _, w in _weights(modules)], lr=learning_rate, fused=True)
    for part, name, weight in _weights(modules):
        memory = moments.get(part, {}).get(name)
        if memory:
            optimizer.state[weight] = {entry: tensor.clone() for entry, tensor in memory.items()}
    return optimizer


def _memory(
    modules: Mapping[str, nn.Module], optimizer: Optimizer
) -> dict[str, dict[str, dict[str, Tensor]]]:
    memory: dict[str, dict[str, dict[str, Tensor]]] = {}
    for part, name, weight in _weights(modules):
        if optimizer.state[weight]:
            memory.setdefault(part, {})[name] = dict(optimizer.state[weight])
    return memory


def _weights(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, str, nn.Parameter]]:
    for part, module in modules.items():
        for name, weight in module.named_parameters():
            yield part, name, weight


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _noise(count: int, size: int, seed: int, torch_device: str) -> Tensor:
    """Z ~ N(0, I) [count, size]; drawn on the CPU, so that it is the same wherever the work is done."""
    return torch.randn(count, size, generator=_generator(seed)).to(torch_device)
