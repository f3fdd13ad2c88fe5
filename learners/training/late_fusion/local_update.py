"""The local update of one client in one round: the real work of a job."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from learners.networks.late_fusion import FUSION, LateFusion, LateFusionNet, Outputs, head_part, trunk_part
from learners.networks.network import Trunk
from learners.networks.randomness import drawing_from_its_seed
from learners.training.batched import Alone, BySample, Mask, Means, Together, Way
from learners.training.batches import batch_sizes_of_all, drawn_by_all, random_numbers
from learners.training.late_fusion.batches import Batch, alone, one_by_one, together
from learners.training.late_fusion.dual import Dual, Problem
from learners.training.late_fusion.report import behaviours_of, metrics_of
from learners.training.late_fusion.weights import Behaviour, Losses, normaliser
from learners.training.objectives import loss_of
from learners.training.stackable import mixes_samples, networks_obstacle, some_of
from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed
from netsim.learner import Metric

if TYPE_CHECKING:
    from learners.networks.state import State
    from learners.training.late_fusion.plan import LocalPlan
    from learners.training.late_fusion.samples import Client, Rows, Samples

TOTAL = "total"
"""What was minimised, besides the heads' losses."""

MIXED_SAMPLES = 8
"""Samples with which it is found out whether those of a batch meet in a network."""


@dataclass(frozen=True)
class Trained:
    """The result of a local update.

    Attributes:
        state: The client's new state, all tensors new; what it was before if the training diverged.
        loss: What was minimised, mean over the steps.
        losses: Each head's loss, mean over the steps in which it was computed.
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

    @property
    def metrics(self) -> list[Metric]:
        """Return the losses, and ΔG and ΔO where they were measured."""
        return metrics_of(self.loss, self.losses, self.behaviours)

    @property
    def behaviours(self) -> dict[str, Behaviour]:
        """Return ΔG and ΔO by head, where they were measured and are numbers."""
        return behaviours_of(self.before, self.after)


@drawing_from_its_seed
def local_update(
    architecture: LateFusion,
    state: State,
    samples: Samples,
    device: int,
    round: int,
    steps: int,
    head_weights: Mapping[str, float],
    plan: LocalPlan,
    seed: int,
    torch_device: str,
    pace: float = 1.0,
    correction: State | None = None,
) -> Trained:
    """Train for some steps of the optimizer on Σ z_m l_m; everything random comes from ``seed``.

    A mini-batch without a single sample of a modality has no loss for it; the other weights stay as they are.

    Args:
        architecture: Of the client's own modalities.
        state: What the client received.
        samples: All samples, and which of them are whose.
        device: The client.
        round: Its round.
        steps: τ_i.
        head_weights: z by modality and for the fused head (``fusion``); a head of weight zero is not trained.
        plan: Step size and the like.
        seed: This device's, this round's.
        torch_device: Where to work.
        pace: Factor on the step size.
        correction: What is added to the gradient of each part's weights; None or empty for nothing.

    Raises:
        ScenarioError: The training diverged, and the plan says that this stops the run.
    """
    kind, batches = (Alone, alone) if plan.private is None else (BySample, one_by_one)
    way = kind(architecture.net(torch_device), state, plan.rule, pace=pace, correction=correction)
    if isinstance(way, BySample):
        assert plan.private is not None
        way.hide(plan.private, random_numbers(derive_seed(seed, "privacy")))
    found = _updated(way, batches, samples, [device], [steps], [head_weights], plan, [seed], [pace])
    return _kept(found, [device], [round], [state], plan)[0]


def local_updates(jobs: Sequence[Mapping[str, Any]]) -> list[Trained]:
    """Do :func:`local_update` for several clients of one architecture and plan at once, from the inputs of each."""
    # Longest first: those that still train are neighbours then, and nothing is copied.
    order = sorted(range(len(jobs)), key=lambda place: -jobs[place]["steps"])
    devices, rounds, steps, head_weights, seeds, states, paces, corrections = (
        [jobs[place][name] for place in order]
        for name in ("device", "round", "steps", "head_weights", "seed", "state", "pace", "correction")
    )
    architecture, samples, plan = (jobs[0][name] for name in ("architecture", "samples", "plan"))
    net = architecture.net(jobs[0]["torch_device"])
    batches = partial(together, mixed=lambda: _mixes(net, states[0], samples))
    dual = Dual(net, Problem(states, samples, devices), plan, corrected=any(corrections))
    way = Together(net, dual.problem.states, plan.rule, paces=paces, corrections=corrections)
    found = _updated(
        way, batches, dual.problem.samples, dual.problem.devices, steps, head_weights, plan, seeds, paces
    )
    restored = dual.restored([one.state for one in found])
    found = [
        one if state is one.state else replace(one, state=state)
        for one, state in zip(found, restored, strict=True)
    ]
    found = _kept(found, devices, rounds, states, plan)
    return [trained for _, trained in sorted(zip(order, found, strict=True), key=operator.itemgetter(0))]


def shortened(inputs: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return inputs of a local update like this one with at most ``steps`` steps, to measure with."""
    return {**inputs, "steps": min(steps, inputs["steps"])}


def obstacle(jobs: Sequence[Mapping[str, Any]]) -> str:
    """Say what keeps local updates from being stacked, as the end of a sentence; empty if nothing does.

    Args:
        jobs: Inputs of two of them; see :func:`local_update`.
    """
    if jobs[0]["plan"].private is not None:
        return "gradients of single samples are stacked already (learner.privacy.mode: sample)"
    architecture, samples = jobs[0]["architecture"], jobs[0]["samples"]
    states = [job["state"] for job in jobs]
    own = [torch.from_numpy(samples.clients[job["device"]].train) for job in jobs]
    rows, dtype = some_of(own, jobs[0]["plan"].batch_size), states[0][FUSION].row.bank.dtype
    return networks_obstacle(
        architecture.net(jobs[0]["torch_device"]).trunks,
        architecture.networks,
        states,
        lambda m: samples.store.trial(m, rows, dtype),
        True,
    )


def _mixes(net: LateFusionNet, state: State, samples: Samples) -> bool:
    """Return whether samples of a batch meet in any trunk of ``net``, in the mode that it is in."""
    store = samples.store
    some = torch.linspace(0, len(store.labels) - 1, MIXED_SAMPLES).long()
    dtype = state[FUSION].row.bank.dtype
    return any(
        mixes_samples(
            cast(Trunk, trunk), state[trunk_part(m)], store.seen(m, some.to(store.labels.device), dtype)
        )
        for m, trunk in net.trunks.items()
    )


def _updated(
    way: Way,
    batches: Callable[..., Iterator[Batch]],
    samples: Samples,
    devices: Sequence[int],
    steps: Sequence[int],
    head_weights: Sequence[Mapping[str, float]],
    plan: LocalPlan,
    seeds: Sequence[int],
    paces: Sequence[float],
) -> list[Trained]:
    """Update one client, or several at once; ``batches`` brings what each sees to the others'."""
    net: LateFusionNet = way.net
    rule = plan.rule
    clients = [samples.clients[device] for device in devices]
    subsets = _subsets(clients, plan.measured, seeds)
    measure = partial(_measure, way, batches, samples, devices, batch_size=plan.evaluation_batch_size)
    if subsets:
        net.eval()
    before = _by_head([measure(own) for own in subsets], way.count)

    seen = drawn_by_all(
        [client.train for client in clients],
        plan.batch_size,
        steps,
        [derive_seed(seed, "batches") for seed in seeds],
        plan.last_batch,
    )
    samples_of = tuple(len(client.train) for client in clients)
    sizes = batch_sizes_of_all(samples_of, plan.batch_size, tuple(steps), plan.last_batch)
    drawing = [m for m in net.modalities if samples.store.draws(m)]
    augmentation = [
        {m: random_numbers(derive_seed(seed, "augmentation", m)) for m in drawing} for seed in seeds
    ]
    weights = _by_head_and_device(head_weights, samples.store.labels.device, way.dtype)
    means = Means(way.count)
    kind = samples.store.labels.device.type
    precision = torch.autocast(kind, torch.bfloat16) if plan.bf16 else nullcontext()
    net.train()
    for batch in batches(samples, devices, seen, sizes, net.modalities, way.dtype, augmentation):
        with precision:
            losses = head_losses(_through(way, batch), batch, net.loss)
        minimised = blended(losses, weights, batch)
        if minimised is None:  # every head that these samples could train has weight zero
            continue
        way.step(minimised.total, _reached(net, minimised.heads, batch))
        training = _any(minimised.heads.values())
        measured = {TOTAL: (minimised.total, training)}
        measured |= {head: (loss, batch.has(head) & training) for head, loss in losses.items()}
        for name, (values, where) in measured.items():
            if plan.private is None:
                means.add(name, values, batch.devices, where)
            elif where is not False:  # of one device, by sample
                means.add(name, values.mean() if where is True else values[where].mean(), slice(0, 1))
        del batch  # the next one takes its memory, which is still in the processor's cache

    losses_of, finite = means.by_device(), way.finite()
    if subsets:
        net.eval()
    after = _by_head([measure(own) for own in subsets], way.count)
    states = way.states()
    return [
        Trained(
            states[k],
            minimised_loss := losses_of[k].pop(TOTAL, 0.0),
            losses_of[k],
            len(sizes[k]),
            normaliser(len(sizes[k]), rule.momentum, paces[k] * rule.learning_rate * rule.proximal),
            before[k],
            after[k],
            math.isfinite(minimised_loss) and finite[k],
        )
        for k in range(way.count)
    ]


def _kept(
    found: Sequence[Trained],
    devices: Sequence[int],
    rounds: Sequence[int],
    states: Sequence[State],
    plan: LocalPlan,
) -> list[Trained]:
    """Return what was trained; who diverged keeps the state that it had, if the run goes on."""
    for trained, device, round in zip(found, devices, rounds, strict=True):
        if plan.stops and not trained.finite:
            raise ScenarioError(
                f"learner.learning_rate: the training of device {device} diverged in round {round} (step size "
                f"{plan.rule.learning_rate:g}); lower it, or leave such devices out of the aggregation with "
                "learner.on_nan: drop"
            )
    return [
        one if one.finite else replace(one, state=state) for one, state in zip(found, states, strict=True)
    ]


def _through(way: Way, batch: Batch) -> Outputs:
    """Return the logits of all heads."""
    outputs: Outputs = way.forward(batch.devices, batch.inputs, batch.size, batch.present)
    return outputs


def head_losses(outputs: Outputs, batch: Batch, loss: str) -> dict[str, Tensor]:
    """Return each head's mean ``loss`` over the samples that it has logits for, the fused head's last."""
    logits = {**outputs.heads, FUSION: outputs.fused}
    return {
        head: loss_of(loss, own, batch.labels_of(head), batch.real_of(head)) for head, own in logits.items()
    }


class Minimised(NamedTuple):
    """The losses that a step minimises.

    Attributes:
        total: Σ z_m l_m, [] of one client or [K].
        heads: Whose total has the head's loss in it.
    """

    total: Tensor
    heads: Mapping[str, Mask]


def blended(
    losses: Mapping[str, Tensor], weights: Mapping[str, float | Tensor], batch: Batch
) -> Minimised | None:
    """Σ z_m l_m over the heads that have a sample and a weight; None if no head has both.

    Args:
        losses: By head, [] of one client or [K].
        weights: z by head, of all clients or of each.
        batch: Of those clients.
    """
    heads: dict[str, Mask] = {}
    terms = []
    for head, loss in losses.items():
        if head not in weights:
            continue
        weight = weights[head]
        own = weight[batch.devices] if isinstance(weight, Tensor) else weight
        heads[head] = mask = batch.has(head) & (own != 0)
        if mask is not False:
            term = loss if isinstance(own, float) and own == 1 else own * loss
            terms.append(term if mask is True else torch.where(torch.as_tensor(mask), term, 0.0))
    if not terms:
        return None
    return Minimised(terms[0] if len(terms) == 1 else torch.stack(terms).sum(0), heads)


def _reached(net: LateFusionNet, heads: Mapping[str, Mask], batch: Batch) -> dict[str, Mask]:
    """Return by part whose total depends on it: a trunk's by the modality's own head and by the fused one."""
    found: dict[str, Mask] = {FUSION: heads.get(FUSION, False)}
    for m in net.modalities:
        found[head_part(m)] = own = heads.get(m, False)
        found[trunk_part(m)] = own | (found[FUSION] & batch.has(m)) if m in batch.inputs else False
    return found


def _any(masks: Iterable[Mask]) -> Mask:
    """Return who is in any of ``masks``."""
    return reduce(operator.or_, masks, False)


def _by_head_and_device(
    weights: Sequence[Mapping[str, float]], at: torch.device, dtype: torch.dtype
) -> dict[str, float | Tensor]:
    """Z by head: one number where it is the same for all clients, or [K]."""
    found: dict[str, float | Tensor] = {}
    for head in weights[0]:
        own = [one.get(head, 0.0) for one in weights]
        found[head] = own[0] if len(set(own)) == 1 else torch.tensor(own, dtype=dtype, device=at)
    return found


def subset_size(samples: int, measured: float | None) -> int:
    """Count the ``samples`` that losses are measured on: the part S, at least one."""
    return max(1, round(measured * samples)) if measured and samples else 0


def _subsets(clients: Sequence[Client], measured: float | None, seeds: Sequence[int]) -> list[list[Tensor]]:
    """Draw the training and the validation samples that losses are measured on: D_s and D'_s of Algorithm 1, line 14.

    Nothing where nothing is ``measured``.
    """
    if measured is None:
        return []

    def draw(key: str, rows: Rows, seed: int) -> Tensor:
        order = torch.randperm(len(rows), generator=random_numbers(derive_seed(seed, "measured", key)))
        return torch.from_numpy(rows)[order[: subset_size(len(rows), measured)]]

    own = list(zip(clients, seeds, strict=True))
    return [
        [draw("train", client.train, seed) for client, seed in own],
        [draw("validation", client.validation, seed) for client, seed in own],
    ]


def _measure(
    way: Way,
    batches: Callable[..., Iterator[Batch]],
    samples: Samples,
    devices: Sequence[int],
    rows: Sequence[Tensor],
    batch_size: int,
) -> list[dict[str, float]]:
    """Measure each head's mean loss on ``rows``, not augmented; a head without a sample has none."""
    net: LateFusionNet = way.net
    sizes = [[len(part) for part in own.split(batch_size) if len(part)] for own in rows]
    seen = nn.utils.rnn.pad_sequence(
        list(rows), batch_first=True, padding_value=int(torch.cat(list(rows))[:1].sum())
    )
    sums: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    with torch.no_grad():
        for batch in batches(samples, devices, seen, sizes, net.modalities, way.dtype):
            for head, loss in head_losses(_through(way, batch), batch, net.loss).items():
                count = torch.as_tensor(batch.count(head)).cpu()
                for found, amount in ((sums, count * loss.double().cpu()), (counts, count)):
                    found.setdefault(head, torch.zeros(way.count, dtype=torch.float64))[batch.devices] += (
                        amount
                    )
    means = {head: (total / counts[head]).tolist() for head, total in sums.items()}
    return [{head: own[k] for head, own in means.items() if counts[head][k]} for k in range(way.count)]


def _by_head(measured: Sequence[Sequence[Mapping[str, float]]], count: int) -> Sequence[Mapping[str, Losses]]:
    """Arrange what ``count`` clients' subsets have shown by client and head; only heads that have both."""
    if not measured:
        return [{}] * count
    return [
        {head: Losses(train[head], validation[head]) for head in train if head in validation}
        for train, validation in zip(*measured, strict=True)
    ]
