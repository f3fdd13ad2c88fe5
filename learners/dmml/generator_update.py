"""Training the generator on what the network has learnt (DMML-KD, Algorithm 1, lines 7 to 10)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from learners.dmml.losses import generator_loss
from learners.dmml.plan import GeneratorTraining
from learners.models.decomposed import DecomposedNet
from learners.models.generator import Generator
from learners.task import Samples


def class_means(net: DecomposedNet, samples: Samples, batch_size: int) -> dict[int, Tensor]:
    """h̄^y: mean common feature [L̂] of each label that a device holds, over its samples and modalities.

    With the final weights, in eval mode, on inputs as in testing; ``net`` is in eval mode already.
    """
    total = torch.zeros(net.head.bias.shape[0], net.common_count, device=samples.labels.device)
    with torch.no_grad():
        for start in range(0, len(samples), batch_size):
            rows = slice(start, start + batch_size)
            inputs = {m: samples.transforms[m].test(samples.inputs[m][rows]) for m in net.modalities}
            # A matrix product rather than index_add_, which adds in any order on a GPU.
            total += F.one_hot(samples.labels[rows], len(total)).float().T @ net(inputs).common.mean(0)
    counts = torch.bincount(samples.labels, minlength=len(total))
    return {y: total[y] / counts[y] for y in counts.nonzero().flatten().tolist()}


def update_generator(
    generator: Generator,
    optimizer: Optimizer,
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
    shape = (training.iterations, batch_size)
    index = torch.randint(len(means), shape, generator=random).to(classifier.device)
    noise = torch.randn(*shape, generator.noise_size, generator=random).to(classifier.device)
    present = torch.tensor(list(means), device=classifier.device)
    mean_features = torch.stack(list(means.values()))
    history = []
    for n in range(training.iterations):
        labels = present[index[n]]
        generated = generator(noise[n], labels)
        loss = generator_loss(
            generated, F.linear(generated, classifier), labels, mean_features[index[n]], training.beta
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        history.append(loss.detach())
    return history
