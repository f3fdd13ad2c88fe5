"""The local update of one party of FedMD: the real work of a job."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from learners.networks.randomness import drawing_from_its_seed
from learners.training.batched import Alone, Means, Together, Way, steps_together
from learners.training.batches import batch_sizes, drawn_by_all
from learners.training.distillation.batches import Private
from learners.training.distillation.classifier import Classifier, ClassifierNet, Outputs
from learners.training.distillation.losses import absolute_error
from learners.training.distillation.stackable import ManyAtOnce, longest_first, private_obstacle
from learners.training.objectives import cross_entropy
from learners.training.stack import ALL, Devices
from netsim.core.streams import derive_seed
from netsim.learner import Metric

if TYPE_CHECKING:
    from learners.networks.state import State
    from learners.training.distillation.public import PublicSet
    from learners.training.optimizers import Memories, Rule
    from learners.training.options import LastBatch
    from learners.training.task import Store

LossOf = Callable[[Outputs], Tensor]


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


class Steps(NamedTuple):
    """Numbers of steps, in this order: on public labels, the consensus, own labels."""

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
    steps: Steps,
    consensus: Consensus | None,
    asked: Tensor,
    plan: FedMDPlan,
    seed: int,
    torch_device: str,
    pace: float = 1.0,
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
        steps: How many of each kind.
        consensus: What the parties agreed on last; None where there is nothing to digest.
        asked: Public samples whose scores are sent, int64 [samples].
        plan: Step size and the like.
        seed: This party's, this round's.
        torch_device: Where to work.
        pace: Factor on the step size.
    """
    way = Alone(architecture.net(torch_device), state, plan.rule, pace=pace)
    private = Private(store, modality, [device], [seed], plan.batch_size, plan.last_batch)
    return _updated(way, private, public, [state], [memories], [steps], [consensus], [asked], plan)[0]


def updates(jobs: Sequence[Mapping[str, Any]]) -> list[Trained]:
    """Do :func:`update` for several parties of one architecture and plan at once, from the inputs of each."""
    return longest_first(_updates, jobs, [job["steps"].own for job in jobs])


def _updates(jobs: Sequence[Mapping[str, Any]]) -> list[Trained]:
    architecture, plan, torch_device = (jobs[0][name] for name in ("architecture", "plan", "torch_device"))
    states, memories, steps, consensus, asked = (
        [job[name] for job in jobs] for name in ("state", "memories", "steps", "consensus", "asked")
    )
    way = Together(architecture.net(torch_device), states, plan.rule, paces=[job["pace"] for job in jobs])
    private = Private.of(jobs)
    return _updated(way, private, jobs[0]["public"], states, memories, steps, consensus, asked, plan)


def shortened(inputs: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return inputs of a local update like this one with about ``steps`` steps, to measure with."""
    share = min(1.0, steps / max(1, sum(inputs["steps"])))
    asked = inputs["asked"][: steps * inputs["plan"].digest_batch_size]
    return {**inputs, "steps": Steps(*(math.ceil(share * own) for own in inputs["steps"])), "asked": asked}


def obstacle(jobs: Sequence[Mapping[str, Any]]) -> str:
    """Say what keeps local updates from being stacked, as the end of a sentence; empty if nothing does."""
    return private_obstacle(jobs, evaluates=True)


MANY = ManyAtOnce("training", updates, shortened, obstacle)


def _updated(
    way: Way,
    private: Private,
    public: PublicSet,
    states: Sequence[State],
    memories: Sequence[tuple[Memories, Memories]],
    steps: Sequence[Steps],
    consensus: Sequence[Consensus | None],
    asked: Sequence[Tensor],
    plan: FedMDPlan,
) -> list[Trained]:
    """Update one party, or several at once."""
    net: ClassifierNet = way.net
    kind, means = private.store.labels.device.type, Means(way.count)
    digesting, labelled = ([own[place] for own in memories] for place in (0, 1))
    net.train()

    def take_step(name: str, devices: Devices, x: Tensor, loss_of: LossOf) -> None:
        with torch.autocast(kind, torch.bfloat16, enabled=plan.bf16):
            loss = loss_of(way.forward(devices, x))
        way.step(loss)
        means.add(name, loss, devices)

    def drawn(name: str, samples: int, size: int, counts: Sequence[int]) -> Iterator[tuple[Devices, Tensor]]:
        """Places of public mini-batches among so many ``samples`` [some, B], and whose they are."""
        seeds = [derive_seed(seed, name) for seed in private.seeds]
        every = [np.arange(samples)] * way.count
        seen = drawn_by_all(every, size, counts, seeds, plan.last_batch)
        for step in steps_together([batch_sizes(samples, size, n, plan.last_batch) for n in counts]):
            yield step.devices, step.cut(seen)

    way.remember(labelled)
    counts = [own.public for own in steps]
    for devices, found in drawn("public", len(public), plan.public_batch_size, counts):
        places = way.own(found)
        labels = public.labels(places) + plan.public_offset
        x = public.inputs(places, way.dtype)
        take_step("loss_public", devices, x, _to_labels(labels, plan.public_head))
    labelled = way.memories()

    about = _aligned(consensus)
    if about is not None:
        way.remember(digesting)
        counts = [0 if own is None else taken.digest for own, taken in zip(consensus, steps, strict=True)]
        size = about.places.shape[1]
        for devices, found in drawn("digest", size, plan.digest_batch_size, counts):
            places = way.own(about.places[devices].gather(1, found))
            at = found.to(about.scores.device)[..., None]
            target = way.own(about.scores[devices].take_along_dim(at, 1))
            x = public.inputs(places, way.dtype)
            take_step("loss_digest", devices, x, _to_scores(target))
        digesting = way.memories()

    way.remember(labelled)
    counts = [own.own for own in steps]
    kinds = private.kinds(net, states[0], counts, [[None] * count for count in counts])
    for one in private.batches(way, counts, "own", kinds):
        take_step("loss_task", one.devices, one.inputs, _to_labels(one.labels, 0, one.real))
    labelled = way.memories()

    net.eval()
    with torch.no_grad():
        scores = torch.cat(
            [
                way.forward(ALL, public.inputs(way.own(part), way.dtype)).logits[0]
                for part in torch.stack(list(asked)).split(plan.digest_batch_size, dim=1)
            ],
            dim=-2,
        )
    return [
        Trained(state, own, losses, said.clone())  # of its own, for it travels
        for state, own, losses, said in zip(
            way.states(),
            zip(digesting, labelled, strict=True),
            means.by_device(),
            scores.view(way.count, *scores.shape[-2:]).unbind(),
            strict=True,
        )
    ]


def _to_labels(labels: Tensor, head: int, real: Tensor | None = None) -> LossOf:
    return lambda said: cross_entropy(said.logits[head], labels, real)


def _to_scores(target: Tensor) -> LossOf:
    return lambda said: absolute_error(target, said.logits[0])


def _aligned(consensus: Sequence[Consensus | None]) -> Consensus | None:
    """Return all parties' consensus in one, places [parties, samples] and scores [parties, samples, C]; if any has one.

    In the place of a party that has none is another's, which it does not digest.
    """
    known = [own for own in consensus if own is not None]
    if not known:
        return None
    own = [known[0] if one is None else one for one in consensus]
    return Consensus(torch.stack([one.places for one in own]), torch.stack([one.scores for one in own]))
