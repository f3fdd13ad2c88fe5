"""The local update of one device in one round (DMML-KD, Algorithm 1, lines 3 to 10): the real work of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from learners.dmml import losses
from learners.dmml.batches import active_modalities, batch_sizes, drawn, random_numbers
from learners.dmml.generator_update import class_means, update_generator
from learners.dmml.metrics import DISTILLATION_LOSSES, LOSSES
from learners.dmml.plan import LossWeights, TrainingPlan
from learners.networks.architecture import Architecture
from learners.networks.decomposed import DecomposedNet, Outputs
from learners.training.optimizers import Memories, Single
from learners.training.randomness import drawing_from_its_seed
from learners.training.state import State, lend
from learners.training.task import Store
from netsim.core.streams import derive_seed
from netsim.learner import Metric


@dataclass(frozen=True)
class Trained:
    """What a local update leaves.

    Attributes:
        state: The device's new state, all tensors new.
        memories: What the optimizers remember, for the device's next round.
        losses: Mean of each loss over the iterations in which it was computed, by name.
    """

    state: State
    memories: Memories
    losses: Mapping[str, float]

    @property
    def metrics(self) -> list[Metric]:
        """Return the losses as metrics."""
        return [
            Metric(name, self.losses[name]) for name in (*LOSSES, *DISTILLATION_LOSSES) if name in self.losses
        ]


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
    """
    model = architecture.model(torch_device)
    net, generator = model.net, model.generator
    rows = store.rows(device)
    lent = lend(model.parts(), state)
    layouts = {part: state[part].layout for part in lent}
    dtype = net.head.bias.dtype

    optimizer = Single(plan.rule, net.parts(), layouts, memories)
    active = active_modalities(iterations, total_iterations, derive_seed(seed, "modalities"))
    count, last = len(rows), plan.last_batch
    sizes = batch_sizes(count, plan.batch_size, total_iterations, last)
    places = drawn(count, plan.batch_size, total_iterations, derive_seed(seed, "batches"), last)
    augmentation = {m: random_numbers(derive_seed(seed, "augmentation", m)) for m in net.modalities}
    seen = rows[places].to(torch_device)  # all mini-batches of the round, one after the other
    generated = None
    if generator is not None and plan.losses.distillation > 0 and total_iterations:
        # The generator rests while the network trains: all its features of the round in one forward pass.
        noise = generator_noise(len(seen), generator.noise_size, seed).to(torch_device, dtype)
        with torch.no_grad():
            generated = generator(noise, store.labels[seen]).split(sizes)

    net.train()
    history: dict[str, list[Tensor]] = {}
    for n, (modalities, batch) in enumerate(zip(active, seen.split(sizes), strict=True)):
        if not modalities:  # P = 0 for all of them: nothing moves, the bias included
            continue
        inputs = {m: store.augmented(m, batch, augmentation[m], dtype) for m in modalities}
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=plan.bf16):
            terms = network_losses(
                net,
                net(inputs),
                store.labels[batch],
                generated[n] if generated is not None else None,
                plan.losses,
            )
        terms["loss_total"].backward()
        optimizer.step()
        for name, value in terms.items():
            history.setdefault(name, []).append(value.detach())

    remembered = optimizer.memories()
    if generator is not None and plan.generator is not None:
        net.eval()
        optimizer = Single(plan.generator.rule, {"generator": generator}, layouts, memories)
        history["loss_generator"] = update_generator(
            generator,
            optimizer,
            net,
            class_means(net, store, rows.to(torch_device), plan.evaluation_batch_size),
            plan.generator,
            plan.batch_size,
            random_numbers(derive_seed(seed, "generator")),
        )
        remembered |= optimizer.memories()
    means = {name: torch.stack(values).mean().item() for name, values in history.items() if values}
    return Trained({part: held.part() for part, held in lent.items()}, remembered, means)


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


def generator_noise(count: int, size: int, seed: int) -> Tensor:
    """Z ~ N(0, I) [count, size] of a local update with ``seed``; drawn on the CPU."""
    return torch.randn(count, size, generator=random_numbers(derive_seed(seed, "noise")))
