"""The local update of one client of multi-headed distillation: the real work of a job."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from learners.training.batches import LastBatch, mini_batches, random_numbers
from learners.training.distillation.classifier import (
    TRUNK,
    Classifier,
    ClassifierNet,
    running_statistics_kept,
)
from learners.training.distillation.losses import chosen, embedding_distance, most_confident, towards
from learners.training.distillation.public import PublicSet
from learners.training.optimizers import Memories, Rule, Single
from learners.training.randomness import drawing_from_its_seed
from learners.training.state import State, is_finite, lend
from learners.training.task import Store
from netsim.core.streams import derive_seed
from netsim.learner import Metric

BLOCK = 64
"""Steps whose lessons are taken at once: a few large passes through each teacher in place of many small ones."""


class Lesson(NamedTuple):
    """The predictions of one teacher for a batch.

    Attributes:
        probabilities: Of each head that is learnt from, main to the last but one [m, B, C].
        embedding: [B, L]; None where embeddings are not learnt from.
    """

    probabilities: Tensor
    embedding: Tensor | None


class Teachers(Protocol):
    """The source of the lessons of a round."""

    def lessons(self, first: int, batches: Sequence[Tensor]) -> list[list[Lesson]]:
        """Return the lessons of the steps ``first``, ``first`` + 1 ..., whose public batches these are."""


class Pool(NamedTuple):
    """Checkpoints of other devices, which this device asks itself.

    Attributes:
        slots: Architecture and state of each.
        picks: Which of them teach in each step, int64 [steps, Δ].
        heads: Heads that are learnt from, m.
        embeddings: Whether embeddings are.
    """

    slots: tuple[tuple[Classifier, State], ...]
    picks: Tensor
    heads: int
    embeddings: bool

    def lessons(self, first: int, batches: Sequence[Tensor]) -> list[list[Lesson]]:
        """Return lessons of checkpoints; each is asked once, about all the batches that it teaches."""
        picks = self.picks[first : first + len(batches)].tolist()
        found: list[dict[int, Lesson]] = [{} for _ in batches]
        for slot in sorted({slot for own in picks for slot in own}):
            steps = [step for step, own in enumerate(picks) if slot in own]
            architecture, state = self.slots[slot]
            about = torch.cat([batches[step] for step in steps])
            said = taught_by(architecture, state, about, self.heads, self.embeddings)
            sizes = [len(batches[step]) for step in steps]
            embeddings = [None] * len(steps) if said.embedding is None else said.embedding.split(sizes)
            for step, part, embedding in zip(
                steps, said.probabilities.split(sizes, dim=1), embeddings, strict=True
            ):
                found[step][slot] = Lesson(part, embedding)
        return [[of_step[slot] for slot in own] for of_step, own in zip(found, picks, strict=True)]


def taught_by(architecture: Classifier, state: State, x: Tensor, heads: int, embeddings: bool) -> Lesson:
    """Return what a model says of ``x``, in evaluation mode; it stays as it is, and has no gradients."""
    with torch.no_grad():
        outputs = architecture.predict(state, x)
        probabilities = torch.stack(outputs.logits)[:heads].softmax(-1)
        return Lesson(probabilities, outputs.embedding if embeddings else None)


@dataclass(frozen=True)
class Wanted:
    """The predictions that a student asks of a teacher for its next round.

    Attributes:
        steps: The student's steps that this device teaches in.
        places: The public samples of each of them, int64 [steps, B].
    """

    steps: tuple[int, ...]
    places: Tensor


@dataclass(frozen=True)
class Predictions:
    """The answer: the k greatest probabilities of each head, and where asked for the embeddings.

    Attributes:
        steps: As asked for.
        values: [steps, m, B, k].
        classes: Of which classes, int64 [steps, m, B, k].
        embeddings: [steps, B, L], or None.
        class_count: C.
    """

    steps: tuple[int, ...]
    values: Tensor
    classes: Tensor
    embeddings: Tensor | None
    class_count: int

    def lesson(self, step: int) -> Lesson | None:
        """Return what was said for ``step``, if anything; what the k leave of 1 is spread over other classes."""
        if step not in self.steps:
            return None
        place = self.steps.index(step)
        values, classes = self.values[place], self.classes[place]
        others = self.class_count - values.shape[-1]
        rest = (1 - values.sum(-1, keepdim=True)).clamp_min(0) / max(others, 1)
        full = rest.expand(*values.shape[:-1], self.class_count).clone()
        full.scatter_(-1, classes, values)
        return Lesson(full, None if self.embeddings is None else self.embeddings[place])


class Told(NamedTuple):
    """Predictions that have arrived, by teacher in the order of their numbers."""

    predictions: tuple[Predictions, ...]

    def lessons(self, first: int, batches: Sequence[Tensor]) -> list[list[Lesson]]:
        """Return lessons of predictions that have arrived; see :class:`Teachers`."""
        return [
            [found for one in self.predictions if (found := one.lesson(first + step)) is not None]
            for step in range(len(batches))
        ]


@dataclass(frozen=True)
class MHDPlan:
    """Settings of a client's training.

    Attributes:
        batch_size: Private samples per step.
        nu_emb: ν_emb.
        nu_aux: ν_aux.
        random_target: Whether targets are drawn instead of chosen by confidence.
        rule: Optimizer.
        total_steps: Of the whole run, for the cosine; None for a constant step size.
        top_k: Classes of each prediction that are sent.
        last_batch: What becomes of the samples that an epoch's full mini-batches leave over.
        bf16: Whether forward passes compute in bfloat16 where PyTorch holds that to be safe.
    """

    batch_size: int
    nu_emb: float
    nu_aux: float
    random_target: bool
    rule: Rule
    total_steps: int | None
    top_k: int
    last_batch: LastBatch = "keep"
    bf16: bool = False

    def rate(self, step: int) -> float:
        """Step size of step ``step`` of the run."""
        if self.total_steps is None:
            return self.rule.learning_rate
        return 0.5 * self.rule.learning_rate * (1 + math.cos(math.pi * step / self.total_steps))


@dataclass(frozen=True)
class Trained:
    """The result of a local update.

    Attributes:
        state: The new state.
        memories: What the optimizer remembers.
        losses: Means over the steps, by metric.
        remote: Part of the samples whose target came from another device, by auxiliary head.
        predictions: What each student asked for.
    """

    state: State
    memories: Memories
    losses: Mapping[str, float]
    remote: tuple[float, ...]
    predictions: Mapping[int, Predictions]

    @property
    def finite(self) -> bool:
        """Return whether all losses and all numbers of the state are finite."""
        return is_finite(self.state) and all(math.isfinite(loss) for loss in self.losses.values())

    @property
    def metrics(self) -> list[Metric]:
        """Return losses and remote parts, as a run records them."""
        remote = [Metric(f"remote_aux{head}", share) for head, share in enumerate(self.remote, start=1)]
        return [*(Metric(name, value) for name, value in self.losses.items()), *remote]


@drawing_from_its_seed
def update(
    architecture: Classifier,
    state: State,
    memories: Memories,
    store: Store,
    modality: str,
    device: int,
    public: PublicSet,
    places: Tensor,
    teachers: Teachers,
    wanted: Mapping[int, Wanted],
    first_step: int,
    plan: MHDPlan,
    seed: int,
    torch_device: str,
) -> Trained:
    """Take a round's steps: private cross-entropy, embedding and prediction distillation (MHD, eqs. 2, 4 and 5).

    Private and public samples pass through the network apart, both in training mode; BatchNorm's running statistics
    follow the private ones only.

    Args:
        architecture: The device's own.
        state: Its model.
        memories: What its optimizer remembers.
        store: All private samples, and which of them are whose.
        modality: The networks' input.
        device: The client.
        public: The public samples.
        places: Those of each step, int64 [steps, B].
        teachers: Where targets come from, beside the client itself.
        wanted: What students ask for, answered with the new model.
        first_step: How many steps earlier rounds had.
        plan: Weights, step size and the like.
        seed: This device's, this round's.
        torch_device: Where to work.
    """
    net = architecture.net(torch_device)
    lent = lend(net.parts(), state)
    layouts = {part: own.layout for part, own in state.items()}
    optimizer = Single(plan.rule, net.parts(), layouts, memories)
    dtype = state[TRUNK].row.bank.dtype
    rows = store.rows(device)
    batches = mini_batches(
        len(rows), plan.batch_size, len(places), derive_seed(seed, "batches"), plan.last_batch
    )
    augmentation = random_numbers(derive_seed(seed, "augmentation"))
    lottery = random_numbers(derive_seed(seed, "targets"))
    sums: dict[str, Tensor] = {}
    remote: list[Tensor] = []
    shown: deque[tuple[Tensor, list[Lesson]]] = deque()
    net.train()
    for step, own in enumerate(batches):
        if not shown:
            block = [public.inputs(shared, dtype) for shared in places[step : step + BLOCK]]
            shown.extend(zip(block, teachers.lessons(step, block), strict=True))
        z, lessons = shown.popleft()
        x = store.augmented(modality, rows[own], augmentation, dtype)
        y = store.labels[rows[own].to(x.device)]
        with torch.autocast(torch.device(torch_device).type, torch.bfloat16, enabled=plan.bf16):
            terms, from_others = _terms(net, x, y, z, lessons, plan, lottery)
        total = terms["loss_task"] + plan.nu_emb * terms["loss_emb"] + plan.nu_aux * terms["loss_aux"]
        total.backward()
        optimizer.step(plan.rate(first_step + step))
        for name, value in {"loss_total": total, **terms}.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()
        remote.append(from_others)
    count = max(len(batches), 1)
    new = {part: held.part() for part, held in lent.items()}
    shares = torch.stack(remote).mean(0).tolist() if remote else []
    return Trained(
        new,
        optimizer.memories(),
        {name: value.item() / count for name, value in sums.items()},
        tuple(shares),
        {student: _answer(architecture, new, public, asked, plan) for student, asked in wanted.items()},
    )


def _terms(
    net: ClassifierNet,
    x: Tensor,
    y: Tensor,
    z: Tensor,
    lessons: Sequence[Lesson],
    plan: MHDPlan,
    lottery: torch.Generator,
) -> tuple[dict[str, Tensor], Tensor]:
    """The three losses, and the part of targets that came from others by auxiliary head [m]."""
    task = F.cross_entropy(net(x).logits[0], y)
    zero = task.new_zeros(())
    terms = {"loss_task": task, "loss_emb": zero, "loss_aux": zero}
    heads = len(net.heads.heads) - 1
    from_others = zero.expand(heads)
    if plan.nu_emb or plan.nu_aux:
        with running_statistics_kept(net):
            outputs = net(z)
        if plan.nu_emb and lessons:
            distances = [
                embedding_distance(outputs.embedding, one.embedding)
                for one in lessons
                if one.embedding is not None
            ]
            terms["loss_emb"] = torch.stack(distances).sum()
        if plan.nu_aux:
            terms["loss_aux"], from_others = _heads(outputs.logits, lessons, plan, lottery)
    return terms, from_others


def _heads(
    logits: Sequence[Tensor], lessons: Sequence[Lesson], plan: MHDPlan, lottery: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Compute Σ_k of eq. (5): auxiliary head k learns from heads k − 1, its own client's and the teachers'."""
    losses, others = [], []
    for k in range(1, len(logits)):
        candidates = torch.stack([logits[k - 1].softmax(-1), *(one.probabilities[k - 1] for one in lessons)])
        if plan.random_target:
            place = torch.randint(len(candidates), (candidates.shape[1],), generator=lottery)
            target = chosen(candidates, place.to(candidates.device))
        else:
            target = most_confident(candidates)
        losses.append(towards(target.target, logits[k]))
        others.append((target.place > 0).to(logits[0].dtype).mean())
    return torch.stack(losses).sum(), torch.stack(others)


def _answer(
    architecture: Classifier, state: State, public: PublicSet, asked: Wanted, plan: MHDPlan
) -> Predictions:
    """Return what this model says of the public samples that a student asked about."""
    heads = len(architecture.class_counts) - 1
    classes = architecture.class_counts[0]
    k = min(plan.top_k, classes)
    values, places, embeddings = [], [], []
    for batch in asked.places:
        found = taught_by(
            architecture, state, public.inputs(batch, state[TRUNK].row.bank.dtype), heads, plan.nu_emb > 0
        )
        top = found.probabilities.topk(k, dim=-1)
        values.append(top.values)
        places.append(top.indices)
        if found.embedding is not None:
            embeddings.append(found.embedding)
    return Predictions(
        asked.steps,
        torch.stack(values),
        torch.stack(places),
        torch.stack(embeddings) if embeddings else None,
        classes,
    )
