"""The local updates of several devices as one program (DMML-KD, Algorithm 1, lines 3 to 10).

Devices of one architecture are stacked, a row each. Their numbers of iterations, the modalities that they skip and
their data differ; masks see to that: a row that does not take part in an iteration keeps its weights, its running
statistics and what its optimizer remembers. Mini-batches of different sizes are taken in passes, one for each size.
Every row has its own random numbers, the ones that it would draw alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from learners.dmml.bank import forward
from learners.dmml.batches import Pass, active_modalities, batch_sizes, drawn_by_all, passes, random_numbers
from learners.dmml.generator_update import draws as generator_draws
from learners.dmml.local_update import Trained, generator_noise
from learners.dmml.plan import TrainingPlan
from learners.dmml.stacked_losses import generator_loss, network_losses, weighted_total
from learners.networks.architecture import Model
from learners.training.optimizers import Memory, Rows
from learners.training.stack import Bank
from learners.training.task import Store
from netsim.core.streams import derive_seed

Inputs = Mapping[str, Any]
T = TypeVar("T")

MEANS_BATCH = 64
"""Samples of each device in one forward pass for the class means."""


def local_updates(jobs: Sequence[Inputs]) -> list[Trained]:
    """:func:`learners.dmml.local_update.local_update` for several devices of one architecture and plan.

    Args:
        jobs: The inputs of each. Full batches must have the same size: that is part of what makes jobs stack.
    """
    group = _Group(jobs)
    group.train_network()
    if group.model.generator is not None and group.plan.generator is not None:
        group.train_generator()
    return group.trained()


class _Mean:
    """Mean of a loss over the iterations in which it was computed, for each device."""

    def __init__(self) -> None:
        self.total: Tensor | float = 0.0
        self.count: Tensor | float = 0.0

    def add(self, values: Tensor, where: Tensor | None) -> None:
        """``values`` [K] of one iteration, ``where`` they are defined; None for everywhere."""
        values = values.detach()
        self.total = self.total + (values if where is None else torch.where(where, values, 0.0))
        self.count = self.count + (1.0 if where is None else where)

    def by_device(self) -> list[float | None]:
        assert isinstance(self.total, Tensor)
        counts = torch.as_tensor(self.count, device=self.total.device).expand_as(self.total).tolist()
        pairs = zip(self.total.tolist(), counts, strict=True)
        return [total / count if count else None for total, count in pairs]


class _Group:
    """Jobs that are done together."""

    def __init__(self, jobs: Sequence[Inputs]) -> None:
        first = jobs[0]
        self.jobs = jobs
        self.plan: TrainingPlan = first["plan"]
        self.store: Store = first["store"]
        self.rows = [self.store.rows(job["device"]) for job in jobs]
        self.device: str = first["torch_device"]
        self.model: Model = first["architecture"].model(self.device)
        self.net = self.model.net
        self.bank = Bank.of(self.model.parts(), [job["state"] for job in jobs])
        self.memories: dict[str, list[Memory | None]] = {}
        self.means: dict[str, _Mean] = {}

    # The network.

    def train_network(self) -> None:
        """All iterations of all devices, pass by pass; a device without one in a pass sits it out."""
        jobs, net = self.jobs, self.net
        # Parts without weights, such as the extractor of inputs that are taken as they are, have nothing to step.
        optimizers = self._optimizers([part for part in net.parts() if self.bank.parts[part].layout.weights])
        together = self._passes()
        active = self._active(together)  # bool [passes, A, K], on the CPU
        seen = self._seen()  # [K, most]
        labels = self.store.labels.index_select(0, seen.flatten()).view(seen.shape)
        generated = self._generated(labels)
        drawing = any(self.store.draws(m) for m in net.modalities)
        augmentation = [
            {m: random_numbers(derive_seed(job["seed"], "augmentation", m)) for m in net.modalities}
            for job in jobs
            if drawing
        ]
        net.train()
        everything = bool(active.all())  # as most of the time; then nobody need look again
        for one, here in zip(together, active, strict=True):  # here: [A, K]
            used = list(net.modalities)
            if not everything:
                places = [i for i in range(len(used)) if here[i].any()]
                used, here = [used[i] for i in places], here[places]
            if not used:
                continue
            rows = one.cut(seen)
            inputs = {m: self._inputs(m, rows, here[i], augmentation) for i, m in enumerate(used)}
            self._iterate(
                used,
                here,
                everything or bool(here.all()),
                inputs,
                one.cut(labels),
                one.cut(generated) if generated is not None else None,
                optimizers,
            )
        for part, optimizer in optimizers.items():
            self.memories[part] = optimizer.memories()

    def _iterate(
        self,
        used: Sequence[str],
        here: Tensor,
        everyone: bool,
        inputs: Mapping[str, Tensor],
        labels: Tensor,
        generated: Tensor | None,
        optimizers: Mapping[str, Rows],
    ) -> None:
        """One iteration of all devices that have one; ``everyone`` if all have it with all that is ``used``."""
        bank, plan = self.bank, self.plan
        takes_part = {f"{kind}/{m}": here[i] for i, m in enumerate(used) for kind in ("trunk", "specific")}
        takes_part["common"] = training = here[0] if everyone else here.any(0)
        takes_part = {part: taking for part, taking in takes_part.items() if bank.parts[part].layout.size}
        kept = {} if everyone else {part: bank.parts[part].statistics.clone() for part in takes_part}
        mask = here.to(self.device, bank.dtype)
        with torch.autocast(labels.device.type, torch.bfloat16) if plan.bf16 else nullcontext():
            outputs = forward(self.net, bank, inputs, None if everyone else mask)
            guide = None
            if plan.losses.distillation and generated is not None:
                guide = bank.parts["common"].tensors["classifier.weight"] @ generated.transpose(1, 2)
            terms = network_losses(outputs, labels, guide, plan.losses, mask)
        total, training = terms["loss_total"][0], training.to(self.device)
        gradients = bank.gradients(
            total.sum() if everyone else weighted_total(total, training), list(takes_part)
        )
        for part, taking in takes_part.items():
            stacked = bank.parts[part]
            if part in optimizers:
                optimizers[part].take_step(gradients[part], None if everyone else taking.to(self.device))
            if not everyone and kept[part].shape[1]:
                rest = ~taking.to(self.device)
                stacked.statistics[rest] = kept[part][rest]
        for name, (values, where) in terms.items():
            taking_part = None if everyone else training
            if where is not None:
                taking_part = where if everyone else training & where
            self.means.setdefault(name, _Mean()).add(values, taking_part)

    def _optimizers(self, parts: Sequence[str]) -> dict[str, Rows]:
        rule = self.plan.rule
        return {
            part: Rows(rule, self.bank.parts[part].weights, [job["memories"].get(part) for job in self.jobs])
            for part in parts
        }

    def _passes(self) -> tuple[Pass, ...]:
        """Which devices take which of their mini-batches together."""
        counts = tuple(len(own) for own in self.rows)
        totals = tuple(job["total_iterations"] for job in self.jobs)
        return passes(counts, self.plan.batch_size, totals, self.plan.last_batch)

    def _active(self, together: Sequence[Pass]) -> Tensor:
        """Which modalities of which devices take part in which pass, bool [passes, A, K]."""
        names = self.net.modalities
        steps = torch.tensor([one.iterations for one in together]).view(len(together), len(self.jobs))
        active = (steps >= 0)[:, None].repeat(1, len(names), 1)
        for k, job in enumerate(self.jobs):
            total, iterations = job["total_iterations"], job["iterations"]
            if min(iterations.values()) < total:
                chosen = active_modalities(iterations, total, derive_seed(job["seed"], "modalities"))
                own = (steps[:, k] >= 0).nonzero().flatten()  # its iterations keep their order
                for n, modalities in zip(own.tolist(), chosen, strict=True):
                    for i, m in enumerate(names):
                        active[n, i, k] = m in modalities
        return active

    def _seen(self) -> Tensor:
        """Samples of all mini-batches of each device, one after the other, int64 [K, most]."""
        return drawn_by_all(
            self.rows,
            self.plan.batch_size,
            [job["total_iterations"] for job in self.jobs],
            [derive_seed(job["seed"], "batches") for job in self.jobs],
            self.plan.last_batch,
        ).to(self.device)

    def _generated(self, labels: Tensor) -> Tensor | None:
        """Generated features for the labels of all mini-batches [K, most, L̂]."""
        generator, plan = self.model.generator, self.plan
        if generator is None or plan.losses.distillation <= 0 or not labels.shape[1]:
            return None
        noise = torch.zeros(*labels.shape, generator.noise_size)
        for k, (job, own) in enumerate(zip(self.jobs, self.rows, strict=True)):
            count = sum(batch_sizes(len(own), plan.batch_size, job["total_iterations"], plan.last_batch))
            if count:
                noise[k, :count] = generator_noise(count, generator.noise_size, job["seed"])
        with torch.no_grad():
            return self._generator(noise.to(self.device, self.bank.dtype), labels)

    def _inputs(
        self, modality: str, seen: Tensor, taking: Tensor, augmentation: Sequence[Mapping[str, Any]]
    ) -> Tensor:
        """Augmented inputs [K, B, ...] of samples ``seen`` [K, B]; only who takes part draws numbers."""
        transform, (devices, batch) = self.store.transforms[modality], seen.shape
        draws = None
        if augmentation:
            found = [
                transform.draw(batch, augmentation[k][modality] if takes else random_numbers(0))
                for k, takes in enumerate(taking.tolist())
            ]
            draws = (
                torch.cat([d for d in found if d is not None]).to(self.device)
                if found[0] is not None
                else None
            )
        inputs = self.store.trained_on(modality, seen.flatten(), draws, self.bank.dtype)
        return inputs.unflatten(0, (devices, batch))

    # The generator.

    def _generator(self, noise: Tensor, labels: Tensor) -> Tensor:
        """:class:`learners.networks.generator.Generator` of each device: [K, B, noise] and [K, B] to [K, B, L̂]."""
        tensors = self.bank.parts["generator"].tensors
        assert self.model.generator is not None
        one_hot = F.one_hot(labels, self.model.generator.class_count).to(noise.dtype)
        x = torch.cat([noise, one_hot], dim=2)
        for layer, last in (("hidden", False), ("output", True)):
            weight, bias = tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]
            x = torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))
            x = x if last else F.relu(x)
        return x

    def _class_means(self) -> tuple[Tensor, list[list[int]]]:
        """h̄^y of each device [K, C, L̂], zero where it has no such label; and the labels that it has."""
        net, bank, rows = self.net, self.bank, self.rows
        classes = len(net.head.bias)
        longest = max(len(own) for own in rows)
        padded = torch.stack([F.pad(own, (0, longest - len(own)), value=-1) for own in rows]).to(self.device)
        total = torch.zeros(len(rows), classes, net.common_count, device=self.device, dtype=bank.dtype)
        counts = torch.zeros(len(rows), classes, device=self.device, dtype=bank.dtype)
        # Small batches, for there are many devices; of one size, so that a device's sums do not depend on its company.
        with torch.no_grad():
            for part in padded.split(max(MEANS_BATCH, self.plan.batch_size), dim=1):
                there = part >= 0
                labels = self.store.labels[part.clamp(min=0)]
                inputs = {
                    m: self.store.seen(m, part.clamp(min=0).flatten(), bank.dtype).unflatten(0, part.shape)
                    for m in net.modalities
                }
                one_hot = (F.one_hot(labels, classes) * there[..., None]).to(bank.dtype)
                total += one_hot.transpose(1, 2) @ forward(net, bank, inputs, None).common.mean(0)
                counts += one_hot.sum(1)
        present = [[y for y, count in enumerate(row) if count] for row in counts.tolist()]
        return total / counts.clamp(min=1)[..., None], present

    def train_generator(self) -> None:
        """N̂ iterations of eq. (14) for every device; only the generators move."""
        training, generator = self.plan.generator, self.model.generator
        assert training is not None and generator is not None
        self.net.eval()
        means, present = self._class_means()
        classifier = self.bank.parts["common"].tensors["classifier.weight"].detach()  # [K, C, L̂]
        drawn = [
            generator_draws(
                len(labels), training.iterations, self.plan.batch_size, generator.noise_size,
                random_numbers(derive_seed(job["seed"], "generator")),
            )
            for job, labels in zip(self.jobs, present, strict=True)
        ]  # fmt: skip
        labels = torch.stack(
            [torch.tensor(own)[index] for own, (index, _) in zip(present, drawn, strict=True)], 1
        ).to(self.device)  # [N̂, K, B]
        noise = torch.stack([noise for _, noise in drawn], 1).to(self.device, self.bank.dtype)
        stacked = self.bank.parts["generator"]
        rows = [job["memories"].get("generator") for job in self.jobs]
        optimizer = Rows(training.rule, stacked.weights, rows)
        devices = torch.arange(len(rows), device=self.device)[:, None]
        for n in range(training.iterations):
            generated = self._generator(noise[n], labels[n])
            values = generator_loss(
                generated,
                classifier @ generated.transpose(1, 2),
                labels[n],
                means[devices, labels[n]],
                training.beta,
            )
            optimizer.take_step(self.bank.gradients(values.sum(), ["generator"])["generator"], None)
            self.means.setdefault("loss_generator", _Mean()).add(values, None)
        self.memories["generator"] = optimizer.memories()

    # The outcome.

    def trained(self) -> list[Trained]:
        """Of each device, in the order of the jobs."""
        losses = _by_device({name: mean.by_device() for name, mean in self.means.items()}, len(self.jobs))
        memories = _by_device(self.memories, len(self.jobs))
        return [Trained(*own) for own in zip(self.bank.states(), memories, losses, strict=True)]


def _by_device(rows: Mapping[str, Sequence[T | None]], devices: int) -> list[dict[str, T]]:
    """Of each device what it has by name, where it has something."""
    found: list[dict[str, T]] = [{} for _ in range(devices)]
    for name, row in rows.items():
        for own, value in zip(found, row, strict=True):
            if value is not None:
                own[name] = value
    return found
