"""The local update of one party of FedMD: the real work of a job."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from learners.training.batches import LastBatch, iterations_per_epoch, mini_batches, random_numbers
from learners.training.distillation.classifier import TRUNK, Classifier, ClassifierNet
from learners.training.distillation.losses import absolute_error
from learners.training.distillation.public import PublicSet
from learners.training.optimizers import Memories, Rule, Single
from learners.training.randomness import drawing_from_its_seed
from learners.training.state import State, lend
from learners.training.task import Store
from netsim.core.streams import derive_seed
from netsim.learner import Metric

LossOf = Callable[[ClassifierNet, Tensor], Tensor]


class Consensus(NamedTuple):
    """The mean of the parties' scores of a round.

    Attributes:
        places: The public samples that it is about, int64 [samples].
        scores: Mean logits of the parties [samples, C], or a future of them.
    """

    places: Tensor
    scores: Any


@dataclass(frozen=True)
class FedMDPlan:
    """Settings of a party's training.

    Attributes:
        rule: Optimizer; there are two of it, one for the digest and one for labels.
        batch_size: Own samples per step.
        public_batch_size: Public samples per step of the first round.
        digest_batch_size: Public samples per step of a digest, and per forward pass.
        public_head: The head that learns public labels.
        public_offset: What is added to public labels.
        last_batch: What becomes of the samples that an epoch's full mini-batches leave over.
        bf16: Whether forward passes compute in bfloat16 where PyTorch holds that to be safe.
    """

    rule: Rule
    batch_size: int
    public_batch_size: int
    digest_batch_size: int
    public_head: int
    public_offset: int
    last_batch: LastBatch = "keep"
    bf16: bool = False


class Epochs(NamedTuple):
    """How many passes over what, in this order."""

    public: int
    digest: int
    own: int


@dataclass(frozen=True)
class Trained:
    """The result of a local update.

    Attributes:
        state: The new state.
        memories: What each of the two optimizers remembers.
        losses: Means over the steps, by metric; of what was not trained there is none.
        scores: Logits of the samples asked about, in evaluation mode [samples, C].
    """

    state: State
    memories: tuple[Memories, Memories]
    losses: Mapping[str, float]
    scores: Tensor

    @property
    def finite(self) -> bool:
        """Return whether all losses and all scores are finite."""
        return bool(self.scores.isfinite().all()) and all(math.isfinite(one) for one in self.losses.values())

    @property
    def metrics(self) -> list[Metric]:
        """Return the losses, as a run records them."""
        return [Metric(name, value) for name, value in self.losses.items()]


@drawing_from_its_seed
def update(
    architecture: Classifier,
    state: State,
    memories: tuple[Memories, Memories],
    store: Store,
    modality: str,
    device: int,
    public: PublicSet,
    epochs: Epochs,
    consensus: Consensus | None,
    asked: Tensor,
    plan: FedMDPlan,
    seed: int,
    torch_device: str,
) -> Trained:
    """Public labels (first round), digest, own labels; then the scores of the samples that come next.

    Args:
        architecture: The party's own.
        state: Its model.
        memories: Of the digest's optimizer, and of the other.
        store: All private samples, and which of them are whose.
        modality: The networks' input.
        device: The party.
        public: The public samples.
        epochs: How many passes over what.
        consensus: What the parties agreed on last; None where there is nothing to digest.
        asked: Public samples whose scores are sent, int64 [samples].
        plan: Step size and the like.
        seed: This party's, this round's.
        torch_device: Where to work.
    """
    net = architecture.net(torch_device)
    lent = lend(net.parts(), state)
    layouts = {part: own.layout for part, own in state.items()}
    work = _Work(net, plan, torch.device(torch_device).type, seed)
    net.train()
    dtype = state[TRUNK].row.bank.dtype
    digesting, labelled = memories

    optimizer = Single(plan.rule, net.parts(), layouts, labelled)
    everything = torch.arange(len(public))
    for places in work.batches("public", everything, plan.public_batch_size, epochs.public):
        labels = public.labels(places) + plan.public_offset
        work.step(
            "loss_public",
            optimizer,
            public.inputs(places, dtype),
            _to_labels(labels, plan.public_head),
        )
    labelled = optimizer.memories()

    if consensus is not None:
        optimizer = Single(plan.rule, net.parts(), layouts, digesting)
        order = torch.arange(len(consensus.places))
        for part in work.batches("digest", order, plan.digest_batch_size, epochs.digest):
            target = consensus.scores[part.to(consensus.scores.device)]
            work.step(
                "loss_digest",
                optimizer,
                public.inputs(consensus.places[part], dtype),
                _to_scores(target),
            )
        digesting = optimizer.memories()

    optimizer = Single(plan.rule, net.parts(), layouts, labelled)
    augmentation = random_numbers(derive_seed(seed, "augmentation"))
    for rows in work.batches("own", store.rows(device), plan.batch_size, epochs.own):
        x = store.augmented(modality, rows, augmentation, dtype)
        labels = store.labels[rows.to(x.device)]
        work.step("loss_task", optimizer, x, _to_labels(labels, 0))
    labelled = optimizer.memories()

    new = {part: held.part() for part, held in lent.items()}
    with torch.no_grad():
        scores = [
            architecture.predict(new, public.inputs(part, dtype)).logits[0]
            for part in asked.split(plan.digest_batch_size)
        ]
    return Trained(new, (digesting, labelled), work.losses(), torch.cat(scores))


def _to_labels(labels: Tensor, head: int) -> LossOf:
    return lambda net, x: F.cross_entropy(net(x).logits[head], labels)


def _to_scores(consensus: Tensor) -> LossOf:
    return lambda net, x: absolute_error(consensus, net(x).logits[0])


class _Work:
    """Steps of one network, and what they cost on the mean."""

    def __init__(self, net: ClassifierNet, plan: FedMDPlan, kind: str, seed: int) -> None:
        self._net, self._plan, self._kind, self._seed = net, plan, kind, seed
        self._losses: dict[str, list[Tensor]] = {}

    def batches(self, name: str, of: Tensor, size: int, epochs: int) -> list[Tensor]:
        """Mini-batches of ``of``, as many as so many epochs have."""
        last = self._plan.last_batch
        steps = epochs * iterations_per_epoch(len(of), size, last)
        seed = derive_seed(self._seed, name)
        return [of[places] for places in mini_batches(len(of), size, steps, seed, last)]

    def step(self, name: str, optimizer: Single, x: Tensor, loss: LossOf) -> None:
        """One step of ``optimizer`` on ``loss``."""
        with torch.autocast(self._kind, torch.bfloat16, enabled=self._plan.bf16):
            value = loss(self._net, x)
        value.backward()
        optimizer.step()
        self._losses.setdefault(name, []).append(value.detach())

    def losses(self) -> dict[str, float]:
        """Means by name."""
        return {name: torch.stack(values).mean().item() for name, values in self._losses.items()}
