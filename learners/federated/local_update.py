"""The local update of one client in one round: the real work of a job."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD

from learners.dmml.batches import mini_batches, random_numbers
from learners.federated.plan import LocalPlan
from learners.federated.samples import Batch, Samples, batch_of
from learners.federated.weights import Losses, normaliser
from learners.networks.late_fusion import FUSION, LateFusion, LateFusionNet, Outputs
from learners.training.optimizers import pull_back
from learners.training.randomness import drawing_from_its_seed
from learners.training.state import State, lend
from netsim.core.streams import derive_seed


@dataclass(frozen=True)
class Trained:
    """What a local update leaves.

    Attributes:
        state: The client's new state, all tensors new.
        loss: What was minimised, mean over the steps.
        losses: Each head's cross-entropy, mean over the steps in which it was computed.
        steps: τ_i.
        normaliser: ‖a_i‖₁ (FedNova).
        before: Each head's losses before the first step, where they were measured.
        after: Each head's losses after the last step.
        finite: Whether all losses and all numbers of the new state are finite.
    """

    state: State
    loss: float
    losses: Mapping[str, float]
    steps: int
    normaliser: float
    before: Mapping[str, Losses]
    after: Mapping[str, Losses]
    finite: bool = True


@drawing_from_its_seed
def local_update(
    architecture: LateFusion,
    state: State,
    samples: Samples,
    device: int,
    steps: int,
    head_weights: Mapping[str, float],
    plan: LocalPlan,
    seed: int,
    torch_device: str,
) -> Trained:
    """Train for some steps of SGD on Σ z_m l_m; everything random comes from ``seed``.

    A mini-batch without a single sample of a modality has no loss for it; the other weights stay as they are.

    Args:
        architecture: Of the client's own modalities.
        state: What the client received.
        samples: All samples, and which of them are whose.
        device: The client.
        steps: τ_i.
        head_weights: z by modality and for the fused head (``fusion``); a head of weight zero is not trained.
        plan: Step size and the like.
        seed: This device's, this round's.
        torch_device: Where to work.
    """
    net = architecture.net(torch_device)
    lent = lend(net.parts(), state)
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    received = [weight.detach().clone() for weight in weights] if plan.proximal else []
    optimizer = SGD(weights, plan.learning_rate, plan.momentum, weight_decay=plan.weight_decay)
    dtype = dtype_of(net)
    subsets = _subsets(samples, device, plan.measured, seed)
    before = {key: _measure(net, samples, device, own, plan) for key, own in subsets.items()}

    rows = torch.from_numpy(samples.clients[device].train)
    batches = mini_batches(len(rows), plan.batch_size, steps, derive_seed(seed, "batches"), plan.last_batch)
    augmentation = {m: random_numbers(derive_seed(seed, "augmentation", m)) for m in net.modalities}
    history: dict[str, list[Tensor]] = {}
    minimised = []
    net.train()
    for places in batches:
        batch = batch_of(samples, device, rows[places], net.modalities, dtype, augmentation)
        with torch.autocast(torch.device(torch_device).type, torch.bfloat16, enabled=plan.bf16):
            losses = head_losses(batch.through(net), batch)
        terms = [head_weights[head] * loss for head, loss in losses.items() if head_weights.get(head)]
        if not terms:  # every head that these samples could train has weight zero
            continue
        total = torch.stack(terms).sum()
        total.backward()
        if plan.proximal:
            pull_back(weights, received, plan.proximal)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        minimised.append(total.detach())
        for head, value in losses.items():
            history.setdefault(head, []).append(value.detach())

    loss = torch.stack(minimised).mean().item() if minimised else 0.0
    finite = math.isfinite(loss) and all(bool(held.flat.isfinite().all()) for held in lent.values())
    after = {key: _measure(net, samples, device, own, plan) for key, own in subsets.items()}
    return Trained(
        {part: held.part() for part, held in lent.items()},
        loss,
        {head: torch.stack(values).mean().item() for head, values in history.items()},
        len(batches),
        normaliser(len(batches), plan.momentum, plan.learning_rate * plan.proximal),
        _by_head(before),
        _by_head(after),
        finite,
    )


def head_losses(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    """Each head's mean cross-entropy over the samples that it has logits for, the fused head's last."""
    losses = {m: F.cross_entropy(logits, batch.labels_of(m)) for m, logits in outputs.heads.items()}
    return {**losses, FUSION: F.cross_entropy(outputs.fused, batch.labels)}


def subset_size(samples: int, measured: float | None) -> int:
    """How many of ``samples`` losses are measured on: the part S, at least one."""
    return max(1, round(measured * samples)) if measured and samples else 0


def _subsets(samples: Samples, device: int, measured: float | None, seed: int) -> dict[str, Tensor]:
    """The samples that losses are measured on, the same before and after: D_s and D'_s of Algorithm 1, line 14."""
    client = samples.clients[device]
    if measured is None:
        return {}
    drawn = {}
    for key, rows in (("train", client.train), ("validation", client.validation)):
        order = torch.randperm(len(rows), generator=random_numbers(derive_seed(seed, "measured", key)))
        drawn[key] = torch.from_numpy(rows)[order[: subset_size(len(rows), measured)]]
    return drawn


def _measure(
    net: LateFusionNet, samples: Samples, device: int, rows: Tensor, plan: LocalPlan
) -> dict[str, float]:
    """Each head's mean loss on ``rows`` in evaluation mode, without augmentation; a head without a sample has none."""
    was_training = net.training
    net.eval()
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    with torch.inference_mode():
        for part in rows.split(plan.evaluation_batch_size):
            batch = batch_of(samples, device, part, net.modalities, dtype_of(net))
            if not len(part):
                continue
            for head, loss in head_losses(batch.through(net), batch).items():
                count = len(batch.labels_of(head))
                sums[head] = sums.get(head, 0.0) + count * loss.item()
                counts[head] = counts.get(head, 0) + count
    net.train(was_training)
    return {head: total / counts[head] for head, total in sums.items()}


def _by_head(measured: Mapping[str, Mapping[str, float]]) -> dict[str, Losses]:
    """What was measured by head instead of by kind of sample; only heads that have both."""
    if not measured:
        return {}
    train, validation = measured["train"], measured["validation"]
    return {head: Losses(train[head], validation[head]) for head in train if head in validation}


def dtype_of(net: LateFusionNet) -> torch.dtype:
    """What ``net`` computes in."""
    return next(net.fusion.parameters()).dtype
