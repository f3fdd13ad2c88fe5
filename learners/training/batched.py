"""Local updates that are written once and run for one device or for many at once.

A learner writes its update as a function of a *way* and of the mini-batches of one or several devices::

    def updated(way: Way, batches: Iterable[Batch], ...) -> list[Result]:
        means = Means(way.count)
        for batch in batches:
            outputs = way.forward(batch.devices, batch.inputs)
            losses = ...                                    # [] of one device, [devices] of several
            way.step(losses, {})
            means.add("loss", losses, batch.devices)
        return [Result(*own) for own in zip(way.states(), means.by_device(), strict=True)]

With :class:`Alone` it is the update of one device, with its network and PyTorch's optimizer. With :class:`Together` it
is the update of many devices: their states lie in a bank, the network's ``stacked`` runs all of them, and a loss is one
number per device. Devices do not depend on each other. So one backward pass through the sum of their losses gives the
gradient of each. The learner must only write losses that broadcast over a first axis of devices, and leave padding out
of a device's mean (:func:`learners.training.objectives.cross_entropy`).

What is there for each device, [devices, ...], becomes what one pass takes by ``way.own``: nothing changes for many
devices, and one device's axis goes.

Mini-batches of several devices are brought together by :func:`steps_together`. A device whose steps are over has no
place in a step: its weights, running statistics and momentum stay as they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from learners.networks.state import Part, State, all_finite, lend
from learners.training.optimizers import Memories, Rows, Rule, Single, shortened
from learners.training.stack import ALL, Bank, Devices

if TYPE_CHECKING:
    from learners.training.privacy import PrivacyOptions

Mask = bool | Tensor
"""The devices for which something is true: all, none, or some, bool [devices]."""


ALL_OF_THEM: Mapping[str, Mask] = {}
"""Every device's total depends on every part."""


class Stackable(Protocol):
    """A network that can be stacked: it has parts by name, and a forward pass for several devices at once."""

    def parts(self) -> dict[str, nn.Module]:
        """Return the modules by the name of their part in a state."""

    def stacked(self, tensors: Mapping[str, Mapping[str, Tensor]], *inputs: Any) -> Any:
        """Run K networks forward: tensors [K, *shape] by part and name, inputs and outputs [K, ...]."""


class Alone:
    """The way to train one device: its network works on a row of its own, with PyTorch's optimizer.

    Attributes:
        net: The network.
        count: Number of devices, 1.
        dtype: Type of the state's numbers.
    """

    count = 1

    def __init__(
        self,
        net: Any,
        state: State,
        rule: Rule | None,
        memories: Memories | None = None,
        pace: float = 1.0,
        correction: State | None = None,
    ) -> None:
        """Lend ``net`` a copy of ``state``; the optimizer goes on from ``memories``, if there are any.

        Without a ``rule`` nothing is trained. ``pace`` is a factor on its step size, and the weights of ``correction``
        are added to the gradient.
        """
        self._correction = correction or {}
        self.net = net
        self.dtype = _dtype(state)
        self._rule, self._modules = rule and rule.at(pace), net.parts()
        self._layouts = {part: state[part].layout for part in self._modules}
        self._lent = lend(self._modules, state)
        self._optimizer: Single | None = None
        self.remember([memories or {}])

    def remember(self, memories: Sequence[Memories]) -> None:
        """Go on with a new optimizer of the same rule, which has these memories of earlier steps."""
        if self._rule is not None:
            self._optimizer = Single(self._rule, self._modules, self._layouts, memories[0], self._correction)

    def memories(self) -> list[Memories]:
        """Return the optimizer's memories; it must not take another step."""
        return [self._optimizer.memories() if self._optimizer is not None else {}]

    def own(self, rows: Tensor) -> Tensor:
        """Return what a device gets of ``rows``, one for each device: here the only one."""
        return rows[0]

    def tensors(self, part: str) -> Mapping[str, Tensor]:
        """Return the numbers of ``part`` by name, without gradients."""
        return self._lent[part].part()

    def forward(self, devices: Devices, *inputs: Any) -> Any:
        """Return the network's outputs for ``inputs``."""
        return self.net(*inputs)

    def step(
        self, total: Tensor, taking: Mapping[str, Mask] = ALL_OF_THEM, rate: float | None = None
    ) -> None:
        """Take a step to minimise ``total`` []; ``taking`` is not needed, because autograd knows what it depends on.

        ``rate`` is the step size, if it is not the rule's.
        """
        assert self._optimizer is not None
        total.backward()
        self._optimizer.step(rate)

    def finite(self) -> list[bool]:
        """Return whether all numbers are finite, for the one device."""
        return [all(all_finite(held.flat) for held in self._lent.values())]

    def states(self) -> list[dict[str, Part]]:
        """Return the current state; training must not go on afterwards."""
        return [{part: held.part() for part, held in self._lent.items()}]


class BySample(Alone):
    """The way to train one device on gradients of single samples: DP-SGD (Abadi et al. 2016, Algorithm 1).

    Each sample's gradient of all weights together is shortened to norm C, noise N(0, z²C²) is added to their sum, and
    that is divided by the number of samples. ``forward`` and ``step`` take samples as those of devices with one each.
    """

    def hide(self, privacy: PrivacyOptions, generator: torch.Generator) -> None:
        """Say what C and z are, and where noise comes from."""
        self._privacy, self._generator = privacy, generator

    def forward(self, devices: Devices, *inputs: Any) -> Any:
        """Return the network's outputs for ``inputs`` [samples, 1, ...]."""
        state = {part: held.part() for part, held in self._lent.items()}
        count = devices.stop if isinstance(devices, slice) else len(devices)
        self._samples = Bank.of(self._modules, [state] * count)
        return self.net.stacked(self._samples.tensors, *inputs)

    def step(
        self, total: Tensor, taking: Mapping[str, Mask] = ALL_OF_THEM, rate: float | None = None
    ) -> None:
        """Take a step with the private mean gradient of ``total`` [samples]; every weight gets noise."""
        assert self._optimizer is not None
        found = shortened(self._samples.gradients(total, list(self._modules)), self._privacy.clip)
        deviation = self._privacy.clip * self._privacy.noise_multiplier
        for part, module in self._modules.items():
            layout = self._layouts[part]
            mean = (
                torch.randn(layout.weights, generator=self._generator).to(total.device, self.dtype)
                * deviation
            )
            for columns, own in found[part]:
                mean[columns] += own.sum(0)
            whole = torch.cat([mean / len(total), mean.new_zeros(layout.size - layout.weights)])
            views = layout.views(whole)
            for name, weight in module.named_parameters():
                if weight.requires_grad:
                    weight.grad = views[name]
        self._optimizer.step(rate)


class Together:
    """The way to train several devices of one architecture: their states are rows of a bank, run in one pass.

    Attributes:
        net: A network of the architecture, for its structure and for its training mode.
        count: Number of devices, K.
        dtype: Type of the states' numbers.
    """

    def __init__(
        self,
        net: Stackable,
        states: Sequence[State],
        rule: Rule | None,
        memories: Sequence[Memories] | None = None,
        paces: Sequence[float] = (1.0,),
        corrections: Sequence[State | None] = (),
    ) -> None:
        """Stack copies of ``states``; each device's optimizer goes on from its ``memories``, if there are any.

        Without a ``rule`` nothing is trained. ``paces`` are factors on its step size, of each device or of all, and the
        weights of ``corrections`` are added to each device's gradient.
        """
        self.net: Any = net
        self.count = len(states)
        self.dtype = _dtype(states[0])
        alike = len(set(paces)) == 1
        self._rule = rule and rule.at(paces[0] if alike else 1.0)
        self._bank = Bank.of(net.parts(), states, trains=rule is not None)
        self._paces = None if alike else next(iter(states[0].values())).row.bank.new_tensor(paces)
        self._optimizers: dict[str, Rows] = {}
        self._devices: Devices = ALL
        self._some = self._bank
        self._corrections = {
            part: torch.stack(
                [
                    row[part].weights if row else bank.weights.new_zeros(bank.weights.shape[1])
                    for row in corrections
                ]
            )
            for part, bank in self._bank.parts.items()
            if any(corrections)
        }
        self.remember(memories or [{}] * self.count)

    def remember(self, memories: Sequence[Memories]) -> None:
        """Go on with new optimizers of the same rule, which have these memories of each device's earlier steps."""
        if self._rule is None:
            return
        self._optimizers = {
            part: Rows(
                self._rule,
                stacked.weights,
                [own.get(part) for own in memories],
                self._paces,
                self._corrections.get(part),
            )
            for part, stacked in self._bank.parts.items()
            if stacked.leaves  # a part without weights takes no steps
        }

    def memories(self) -> list[Memories]:
        """Return the memories of each device's optimizer, which must not take another step."""
        by_part = {part: rows.memories() for part, rows in self._optimizers.items()}
        return [
            {part: own for part, rows in by_part.items() if (own := rows[k]) is not None}
            for k in range(self.count)
        ]

    def own(self, rows: Tensor) -> Tensor:
        """Return what devices get of ``rows``, one for each device: all."""
        return rows

    def tensors(self, part: str) -> Mapping[str, Tensor]:
        """Return the numbers of ``part`` by name [devices, *shape], without gradients."""
        return {name: tensor.detach() for name, tensor in self._bank.parts[part].tensors.items()}

    def forward(self, devices: Devices, *inputs: Any) -> Any:
        """Return the outputs of the networks of ``devices`` for ``inputs`` [some, ...]; a step may have several."""
        if not self._has(devices):
            everybody = not isinstance(devices, Tensor) and devices.indices(self.count) == (0, self.count, 1)
            self._devices, self._some = devices, self._bank if everybody else self._bank.some(devices)
        outputs = self.net.stacked(self._some.tensors, *inputs)
        if isinstance(devices, Tensor) and self.net.training:
            for part, own in self._some.parts.items():
                self._bank.parts[part].statistics[devices] = own.statistics
        return outputs

    def _has(self, devices: Devices) -> bool:
        """Return whether the numbers of ``devices`` are at hand."""
        if isinstance(devices, Tensor) or isinstance(self._devices, Tensor):
            return devices is self._devices
        return devices == self._devices

    def step(
        self, total: Tensor, taking: Mapping[str, Mask] = ALL_OF_THEM, rate: float | None = None
    ) -> None:
        """Take a step with the devices of the last :meth:`forward`.

        Args:
            total: Loss of each of these devices [some].
            taking: For each part, the devices whose loss depends on it; all devices for parts that are not named.
            rate: The step size, if it is not the rule's.
        """
        parts = [part for part in self._optimizers if taking.get(part, True) is not False]
        masks = {part: mask if isinstance(mask := taking.get(part), Tensor) else None for part in parts}
        found = {
            part: self._optimizers[part].pulled_back(gradients, masks[part], self._devices)
            for part, gradients in self._some.gradients(total, parts).items()
        }
        if self._rule is not None and self._rule.clip_norm is not None:
            found = shortened(found, self._rule.clip_norm)
        for part, gradients in found.items():
            if gradients:
                self._optimizers[part].take_step(gradients, masks[part], self._devices, rate)
        if isinstance(self._devices, Tensor):  # copies from before the step
            self._devices, self._some = ALL, self._bank

    def finite(self) -> list[bool]:
        """Return for each device whether all its numbers are finite."""
        return self._bank.finite()

    def states(self) -> list[dict[str, Part]]:
        """Return the current states, one per device; training must not go on afterwards."""
        return self._bank.states()


Way = Alone | Together


def _dtype(state: State) -> torch.dtype:
    return next(iter(state.values())).row.bank.dtype


class Means:
    """Means of each loss over the steps in which a device had it."""

    def __init__(self, count: int) -> None:
        """Prepare for ``count`` devices."""
        self._count = count
        self._steps: dict[str, list[tuple[int, Tensor, Devices, Mask]]] = {}
        self._added = 0

    def add(self, name: str, values: Tensor, devices: Devices, where: Mask = True) -> None:
        """Add ``values`` of one step, [] of one device or [some]; ``where`` says which devices had them."""
        self._steps.setdefault(name, []).append((self._added, values.detach(), devices, where))
        self._added += 1

    def by_device(self) -> list[dict[str, float]]:
        """Return the means of each device by name, in the order in which the device first had them."""
        columns = {name: self._means(steps) for name, steps in self._steps.items()}
        if columns and all({*firsts} == {self._steps[name][0][0]} for name, (firsts, _) in columns.items()):
            by_device = zip(*(means for _, means in columns.values()), strict=True)
            return [dict(zip(columns, own, strict=True)) for own in by_device]
        found: list[list[tuple[int, str, float]]] = [[] for _ in range(self._count)]
        for name, (firsts, means) in columns.items():
            for own, first, mean in zip(found, firsts, means, strict=True):
                if first >= 0:
                    own.append((first, name, mean))
        return [{name: mean for _, name, mean in sorted(own)} for own in found]

    def _means(self, steps: Sequence[tuple[int, Tensor, Devices, Mask]]) -> tuple[list[int], list[float]]:
        """Return the number of the step in which each device first had the loss (-1: none), and the means."""
        firsts = [steps[0][0]] * self._count
        if not steps[0][1].dim():
            return firsts, [torch.stack([values for _, values, _, _ in steps]).mean().item()]
        if all(where is True and values.shape[0] == self._count for _, values, _, where in steps):
            return firsts, torch.stack([values for _, values, _, _ in steps]).mean(0).tolist()
        like = steps[0][1]
        table = like.new_zeros(len(steps), self._count)
        had = torch.zeros(len(steps), self._count, dtype=torch.bool, device=like.device)
        for row, (_, values, devices, where) in enumerate(steps):
            had[row, devices] = where
            table[row, devices] = (
                values if where is True else torch.where(torch.as_tensor(where), values, 0.0)
            )
        numbers = torch.tensor([number for number, _, _, _ in steps], device=like.device)
        firsts = torch.where(had.any(0), numbers[had.to(torch.uint8).argmax(0)], -1).tolist()
        return firsts, (table.sum(0) / had.sum(0).clamp(min=1)).tolist()


@dataclass(frozen=True, eq=False)
class Step:
    """One mini-batch of each of some devices, which train on them at the same time.

    Attributes:
        devices: The devices.
        counts: Number of samples in each mini-batch.
        starts: Place of each mini-batch's first sample in the sequence of all samples that its device sees.
        kind: What the mini-batches have in common, besides being taken together; None for nothing.
        number: How many mini-batches each of these devices has had before.
    """

    devices: Devices
    counts: tuple[int, ...]
    starts: tuple[int, ...]
    kind: Any = None
    number: int = 0

    @cached_property
    def size(self) -> int:
        """Return the number of samples in the largest mini-batch; the others are padded to it."""
        return max(self.counts)

    @cached_property
    def real(self) -> Tensor | None:
        """Return which samples are not padding, bool [some, size]; None if there is no padding."""
        if min(self.counts) == self.size:
            return None
        return torch.arange(self.size) < torch.tensor(self.counts)[:, None]

    @cached_property
    def _places(self) -> slice | Tensor:
        """Return the places of the samples among all that a device sees: the same for all, or [some, size]."""
        first = self.starts[0]
        if all(start == first for start in self.starts):
            return slice(first, first + self.size)
        return torch.tensor(self.starts)[:, None] + torch.arange(self.size)

    def cut(self, seen: Tensor) -> Tensor:
        """Return the step's samples [some, size] out of ``seen`` [devices, most]; padding is arbitrary samples."""
        own, places = seen[self.devices], self._places
        if isinstance(places, slice):
            return own[:, places]
        places = places.clamp(max=seen.shape[1] - 1)
        return own[torch.arange(len(own))[:, None], places]


def steps_together(
    sizes: Sequence[Sequence[int]], kinds: Sequence[Sequence[Hashable]] | None = None
) -> tuple[Step, ...]:
    """Group mini-batches into steps: the n-th mini-batches of all devices are taken together; return the steps.

    Devices without an n-th mini-batch are left out. If devices are sorted by their numbers of steps, longest first, the
    devices of each step are neighbours, and no rows are copied.

    Args:
        sizes: Of each device the samples of its mini-batches, in their order.
        kinds: Of each mini-batch what it must have in common with those that it is taken with; None for nothing.
            Mini-batches of one kind must have one size if they are not to be padded.
    """
    alike = None if kinds is None else tuple(map(tuple, kinds))
    return _steps_together(tuple(map(tuple, sizes)), alike)


@lru_cache(maxsize=64)
def _steps_together(
    sizes: tuple[tuple[int, ...], ...], kinds: tuple[tuple[Hashable, ...], ...] | None
) -> tuple[Step, ...]:
    """Compute :func:`steps_together`; cached, because it is the same in most rounds."""
    starts = [tuple(accumulate(own, initial=0)) for own in sizes]
    found = []
    for n in range(max(map(len, sizes), default=0)):
        groups: dict[Hashable, list[int]] = {}
        for k, own in enumerate(sizes):
            if n < len(own):
                groups.setdefault(None if kinds is None else kinds[k][n], []).append(k)
        for kind, group in groups.items():
            counts, firsts = tuple(sizes[k][n] for k in group), tuple(starts[k][n] for k in group)
            found.append(Step(_neighbours(group), counts, firsts, kind, n))
    return tuple(found)


def _neighbours(group: Sequence[int]) -> Devices:
    first, last = group[0], group[-1]
    return slice(first, last + 1) if last - first == len(group) - 1 else torch.tensor(group)
