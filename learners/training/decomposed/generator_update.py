"""Training the generator on what the network has learnt (DMML-KD, Algorithm 1, lines 7 to 10)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from learners.networks.decomposed import DecomposedNet
from learners.networks.generator import Generator
from learners.training.decomposed.losses import generator_loss
from learners.training.decomposed.plan import GeneratorTraining
from learners.training.optimizers import Single
from learners.training.task import Store


def class_means(net: DecomposedNet, store: Store, rows: Tensor, batch_size: int) -> dict[int, Tensor]:
    """h̄^y: mean common feature [L̂] of each label that a device holds, over its samples and modalities.

    With the final weights, in eval mode, on inputs as in testing; ``net`` is in eval mode already.
    """
    bias = net.head.bias
    labels = store.labels[rows]
    total = torch.zeros(len(bias), net.common_count, device=bias.device, dtype=bias.dtype)
    with torch.no_grad():
        for start in range(0, len(rows), batch_size):
            part = slice(start, start + batch_size)
            inputs = {m: store.seen(m, rows[part], bias.dtype) for m in net.modalities}
            # A matrix product rather than index_add_, which adds in any order on a GPU.
            total += F.one_hot(labels[part], len(total)).to(bias.dtype).T @ net(inputs).common.mean(0)
    counts = torch.bincount(labels, minlength=len(total))
    return {y: total[y] / counts[y] for y in counts.nonzero().flatten().tolist()}


def update_generator(
    generator: Generator,
    optimizer: Single,
    net: DecomposedNet,
    means: dict[int, Tensor],
    training: GeneratorTraining,
    batch_size: int,
    random: torch.Generator,
) -> list[Tensor]:
    """N̂ iterations of eq. (14), labels drawn evenly from those that the device holds; only the generator moves.

    Returns:
        The loss of each iteration, 0-dimensional.
    """
    assert net.head.classifier is not None
    classifier = net.head.classifier.weight.detach()
    index, noise = draws(len(means), training.iterations, batch_size, generator.noise_size, random)
    index, noise = index.to(classifier.device), noise.to(classifier)
    present = torch.tensor(list(means), device=classifier.device)
    mean_features = torch.stack(list(means.values()))
    history = []
    for n in range(training.iterations):
        labels = present[index[n]]
        generated = generator(noise[n], labels)
        loss = generator_loss(
            generated, F.linear(generated, classifier), labels, mean_features[index[n]], training.beta
        )
        loss.backward()
        optimizer.step()
        history.append(loss.detach())
    return history


def draws(
    labels: int, iterations: int, batch_size: int, noise_size: int, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Which of a device's ``labels`` each sample has [iterations, batch], and its noise [iterations, batch, size]."""
    index = torch.randint(labels, (iterations, batch_size), generator=random)
    return index, torch.randn(iterations, batch_size, noise_size, generator=random)
