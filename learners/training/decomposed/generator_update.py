"""Training the generator on what the network has learnt (DMML-KD, Algorithm 1, lines 7 to 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from learners.networks.decomposed import EVERYWHERE, DecomposedNet
from learners.networks.generator import Generator
from learners.training.batched import Means, Way, steps_together
from learners.training.batches import random_numbers
from learners.training.decomposed.losses import generator_loss
from learners.training.stack import ALL

if TYPE_CHECKING:
    from learners.training.decomposed.plan import TrainingPlan
    from learners.training.task import Store


def update_generator(
    generator: Way,
    network: Way,
    store: Store,
    rows: Sequence[Tensor],
    seeds: Sequence[int],
    plan: TrainingPlan,
    means_batch: int,
    means: Means,
) -> None:
    """Do N̂ iterations of eq. (14), labels drawn evenly from those that the device holds; only the generator moves.

    Args:
        generator: Of one device, or of several.
        network: Theirs, with the final weights, in evaluation mode.
        store: All samples.
        rows: Those of each device.
        seeds: Of labels and noise, one for each device.
        plan: How the generator is trained, and the samples of an iteration.
        means_batch: Samples of each device in a forward pass for the class means.
        means: Gets the loss of each iteration.
    """
    training, net = plan.generator, generator.net
    assert training is not None and isinstance(net, Generator)
    aims, present = class_means(network, store, rows, means_batch)
    drawn = [
        draws(len(own), training.iterations, plan.batch_size, net.noise_size, random_numbers(seed))
        for own, seed in zip(present, seeds, strict=True)
    ]
    at = aims.device
    labels = torch.stack([own[index] for own, (index, _) in zip(present, drawn, strict=True)]).to(at)
    noise = torch.stack([noise for _, noise in drawn]).to(at, generator.dtype)
    classifier = network.tensors(EVERYWHERE)["classifier.weight"].transpose(-1, -2)
    aims = generator.own(aims)
    for z, y in zip(generator.own(noise).unbind(-3), generator.own(labels).unbind(-2), strict=True):
        generated: Tensor = generator.forward(ALL, z, y)
        aim = aims.gather(-2, y[..., None].expand_as(generated))
        loss = generator_loss(generated, generated @ classifier, y, aim, training.beta)
        generator.step(loss, {})
        means.add("loss_generator", loss, ALL)


def class_means(
    network: Way, store: Store, rows: Sequence[Tensor], batch_size: int
) -> tuple[Tensor, list[Tensor]]:
    """Compute h̄^y: mean common feature of each label that a device holds, over its samples and modalities.

    With the weights and in the mode that the network has, on inputs as in testing.

    Returns:
        The means [devices, C, L̂], zero where a device has no such label; and the labels that each has.
    """
    net: DecomposedNet = network.net
    labels, at = store.labels, store.labels.device
    seen = nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=int(rows[0][0])).to(at)
    classes = len(net.head.bias)
    total = torch.zeros(network.count, classes, net.common_count, device=at, dtype=network.dtype)
    with torch.no_grad():
        for step in steps_together([[len(part) for part in own.split(batch_size)] for own in rows]):
            own = network.own(step.cut(seen))
            inputs = {
                m: store.seen(m, own.flatten(), network.dtype).unflatten(0, own.shape) for m in net.modalities
            }
            features = network.forward(step.devices, inputs).common.mean(-3)
            # A matrix product rather than index_add_, which adds in any order on a GPU.
            one_hot = F.one_hot(labels[own], classes)
            if step.real is not None:
                one_hot = one_hot * step.real.to(at)[..., None]
            total[step.devices] += one_hot.to(network.dtype).transpose(-1, -2) @ features
    counts = torch.stack([torch.bincount(labels[own.to(at)], minlength=classes) for own in rows])
    present = [own.nonzero().flatten() for own in counts.cpu()]
    return total / counts.clamp(min=1)[..., None], present


def draws(
    labels: int, iterations: int, batch_size: int, noise_size: int, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw which of ``labels`` each sample has [iterations, batch], and its noise [iterations, batch, size]."""
    index = torch.randint(labels, (iterations, batch_size), generator=random)
    return index, torch.randn(iterations, batch_size, noise_size, generator=random)
