"""The local update of one client of multi-headed distillation: the real work of a job."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from learners.networks.randomness import DrawingFrom, drawing_from_its_seed
from learners.networks.state import State, is_finite
from learners.training.batched import Alone, Together, Way
from learners.training.batches import random_numbers
from learners.training.distillation.batches import Batch, Private, which
from learners.training.distillation.classifier import (
    TRUNK,
    Classifier,
    ClassifierNet,
    Outputs,
    running_statistics_kept,
)
from learners.training.distillation.losses import chosen, embedding_distance, most_confident, towards
from learners.training.distillation.stackable import ManyAtOnce, longest_first, private_obstacle
from learners.training.objectives import cross_entropy
from netsim.core.streams import derive_seed
from netsim.learner import Metric

if TYPE_CHECKING:
    from learners.training.distillation.public import PublicSet
    from learners.training.optimizers import Memories, Rule
    from learners.training.options import LastBatch
    from learners.training.schedules import ScheduleChoice
    from learners.training.task import Store

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

    def count(self, step: int) -> int:
        """Count the lessons in ``step``."""

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

    def count(self, step: int) -> int:
        """Count the lessons in ``step``; see :class:`Teachers`."""
        return int(self.picks.shape[1])

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

    def count(self, step: int) -> int:
        """Count the lessons in ``step``; see :class:`Teachers`."""
        return sum(step in one.steps for one in self.predictions)

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
        schedule: How the step size changes from step to step.
        rounds: Rounds of the run.
        local_steps: Steps of a round.
        top_k: Classes of each prediction that are sent.
        last_batch: What becomes of the samples that an epoch's full mini-batches leave over.
        bf16: Whether forward passes compute in bfloat16 where PyTorch holds that to be safe.
    """

    batch_size: int
    nu_emb: float
    nu_aux: float
    random_target: bool
    rule: Rule
    schedule: ScheduleChoice
    rounds: int
    local_steps: int
    top_k: int
    last_batch: LastBatch = "keep"
    bf16: bool = False

    def rate(self, step: int) -> float:
        """Step size of step ``step`` of the run."""
        return self.rule.learning_rate * self.schedule.factor(step, self.rounds, self.local_steps)


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
    way = Alone(architecture.net(torch_device), state, plan.rule, memories)
    private = Private(store, modality, [device], [seed], plan.batch_size, plan.last_batch)
    course = Course(public, [places], [teachers], [first_step], [nullcontext()])
    (trained,) = _updated(way, private, course, [state], plan)
    return _answering(architecture, trained, public, wanted, plan)


def updates(jobs: Sequence[Mapping[str, Any]]) -> list[Trained]:
    """Do :func:`update` for several clients of one architecture and plan at once, from the inputs of each.

    Each client's teachers are asked for it alone, and so are its students answered: networks of any kind.
    """
    return longest_first(_updates, jobs, [len(job["places"]) for job in jobs])


def _updates(jobs: Sequence[Mapping[str, Any]]) -> list[Trained]:
    architecture, public, plan = (jobs[0][name] for name in ("architecture", "public", "plan"))
    states, memories, places, teachers, first_steps = (
        [job[name] for job in jobs] for name in ("state", "memories", "places", "teachers", "first_step")
    )
    way = Together(architecture.net(jobs[0]["torch_device"]), states, plan.rule, memories)
    # A teacher may draw random numbers also in evaluation mode.
    drawing = [DrawingFrom(derive_seed(job["seed"], "forward")) for job in jobs]
    course = Course(public, places, teachers, first_steps, drawing)
    found = []
    for job, own, mode in zip(
        jobs, _updated(way, Private.of(jobs), course, states, plan), drawing, strict=True
    ):
        with mode:
            found.append(_answering(architecture, own, public, job["wanted"], plan))
    return found


def shortened(inputs: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return inputs of a local update like this one with at most ``steps`` steps, to measure with."""
    return {**inputs, "places": inputs["places"][:steps]}


def obstacle(jobs: Sequence[Mapping[str, Any]]) -> str:
    """Say what keeps local updates from being stacked, as the end of a sentence; empty if nothing does."""
    return private_obstacle(jobs, keeps_statistics=True)


MANY = ManyAtOnce("training", updates, shortened, obstacle)


class Course(NamedTuple):
    """The lessons of clients that train together, and their public batches.

    Attributes:
        public: The public samples.
        places: Of each client, those of each of its steps, int64 [steps, B].
        teachers: Of each client.
        first_steps: Of each client, how many steps earlier rounds had.
        drawing: Of each client, what lasts while its teachers are asked.
    """

    public: PublicSet
    places: Sequence[Tensor]
    teachers: Sequence[Teachers]
    first_steps: Sequence[int]
    drawing: Sequence[AbstractContextManager[Any]]

    def lessons(self, first: int, dtype: torch.dtype) -> list[list[list[Lesson]]]:
        """Return by client and step what its teachers say of its public batches of the steps from ``first`` on."""
        found = []
        for places, teachers, drawing in zip(self.places, self.teachers, self.drawing, strict=True):
            with drawing:
                batches = self.public.inputs(places[first : first + BLOCK], dtype).unbind()
                found.append(teachers.lessons(first, batches))
        return found


def _updated(
    way: Way, private: Private, course: Course, states: Sequence[State], plan: MHDPlan
) -> list[Trained]:
    """Train one client, or several at once; nobody is answered yet."""
    net: ClassifierNet = way.net
    steps = [len(own) for own in course.places]
    lotteries = [random_numbers(derive_seed(seed, "targets")) for seed in private.seeds]
    sums: dict[str, Tensor] = {}
    remote: list[list[Tensor]] = [[] for _ in steps]
    lessons: list[list[list[Lesson]]] = []
    first = -BLOCK
    net.train()
    # Those who learn from equally many teachers, with one step size.
    alike = [
        [(plan.rate(start + n), teachers.count(n)) for n in range(count)]
        for start, teachers, count in zip(course.first_steps, course.teachers, steps, strict=True)
    ]
    kinds = private.kinds(net, states[0], steps, alike)
    for batch in private.batches(way, steps, "batches", kinds):
        some, step = which(way, batch.devices), batch.number
        if step >= first + BLOCK:
            first, lessons = step, course.lessons(step, way.dtype)
        about = way.own(torch.stack([course.places[k][step] for k in some]))
        taught = _gathered(way, [lessons[k][step - first] for k in some])
        with torch.autocast(batch.labels.device.type, torch.bfloat16, enabled=plan.bf16):
            terms, from_others = _terms(
                net,
                partial(way.forward, batch.devices),
                batch,
                course.public.inputs(about, way.dtype),
                taught,
                plan,
                [lotteries[k] for k in some],
            )
        total = terms["loss_task"] + plan.nu_emb * terms["loss_emb"] + plan.nu_aux * terms["loss_aux"]
        way.step(total, rate=alike[some[0]][step][0])
        for name, value in {"loss_total": total, **terms}.items():
            sums.setdefault(name, value.new_zeros(way.count))[batch.devices] += value.detach()
        for k, own in zip(some, from_others.reshape(-1, len(some)).unbind(1), strict=True):
            remote[k].append(own)
    by_device = {name: value.tolist() for name, value in sums.items()}
    return [
        Trained(
            state,
            memories,
            {name: values[k] / max(steps[k], 1) for name, values in by_device.items()},
            tuple(torch.stack(remote[k]).mean(0).tolist()) if remote[k] else (),
            {},
        )
        for k, (state, memories) in enumerate(zip(way.states(), way.memories(), strict=True))
    ]


def _gathered(way: Way, lessons: Sequence[Sequence[Lesson]]) -> list[Lesson]:
    """Join the lessons of clients with equally many each: probabilities [m, K, B, C], embeddings [K, B, L]."""
    if isinstance(way, Alone):
        return list(lessons[0])
    return [
        Lesson(
            torch.stack([one.probabilities for one in several], dim=1),
            None if several[0].embedding is None else torch.stack([one.embedding for one in several]),
        )
        for several in zip(*lessons, strict=True)
    ]


def _terms(
    net: ClassifierNet,
    through: Callable[[Tensor], Outputs],
    own: Batch,
    z: Tensor,
    lessons: Sequence[Lesson],
    plan: MHDPlan,
    lotteries: Sequence[torch.Generator],
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the three losses, and the part of targets that came from others by auxiliary head, [m] or [m, K].

    Args:
        net: In training mode.
        through: Passes inputs through it.
        own: Private samples.
        z: Public samples [B, ...] or [K, B, ...].
        lessons: What teachers say of them.
        plan: Weights and the like.
        lotteries: Of each client, what targets are drawn with.
    """
    task = cross_entropy(through(own.inputs).logits[0], own.labels, own.real)
    zero = torch.zeros_like(task)
    terms = {"loss_task": task, "loss_emb": zero, "loss_aux": zero}
    from_others = task.new_zeros(len(net.heads) - 1, *task.shape)
    if plan.nu_emb or plan.nu_aux:
        with running_statistics_kept(net):
            outputs = through(z)
        if plan.nu_emb and lessons:
            distances = [
                embedding_distance(outputs.embedding, one.embedding)
                for one in lessons
                if one.embedding is not None
            ]
            terms["loss_emb"] = torch.stack(distances).sum(0)
        if plan.nu_aux:
            terms["loss_aux"], from_others = _heads(outputs.logits, lessons, plan, lotteries)
    return terms, from_others


def _heads(
    logits: Sequence[Tensor],
    lessons: Sequence[Lesson],
    plan: MHDPlan,
    lotteries: Sequence[torch.Generator],
) -> tuple[Tensor, Tensor]:
    """Compute Σ_k of eq. (5): auxiliary head k learns from heads k − 1, its own client's and the teachers'."""
    losses, others = [], []
    for k in range(1, len(logits)):
        candidates = torch.stack([logits[k - 1].softmax(-1), *(one.probabilities[k - 1] for one in lessons)])
        if plan.random_target:
            count, batch = len(candidates), candidates.shape[-2]
            drawn = torch.stack([torch.randint(count, (batch,), generator=own) for own in lotteries])
            target = chosen(candidates, drawn.view(candidates.shape[1:-1]).to(candidates.device))
        else:
            target = most_confident(candidates)
        losses.append(towards(target.target, logits[k]))
        others.append((target.place > 0).to(logits[0].dtype).mean(-1))
    return torch.stack(losses).sum(0), torch.stack(others)


def _answering(
    architecture: Classifier,
    trained: Trained,
    public: PublicSet,
    wanted: Mapping[int, Wanted],
    plan: MHDPlan,
) -> Trained:
    """Return what was ``trained``, with what it says to each student."""
    answers = {
        student: _answer(architecture, trained.state, public, asked, plan)
        for student, asked in wanted.items()
    }
    return replace(trained, predictions=answers)


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
