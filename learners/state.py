"""A model as a value: named parts, each one row of numbers, that nobody changes in place.

A device's state has the parts ``trunk/<modality>`` and ``specific/<modality>`` of each of its modalities,
``common`` (common classifier and bias) and, where the algorithm has one, ``generator``. Parts are what
messages are made of and what aggregation weights differ by. Devices that were trained or mixed together have their
rows in one tensor, a bank; whoever changes a model makes a new bank, so a state can be handed to a job or a message
without copying it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netsim.jobs.packing import travelling_together


class Row:
    """One row of a bank, [rows, ...].

    Attributes:
        bank: The tensor that has it; never changed once a row of it was handed out.
        index: Which row.
    """

    __slots__ = ("bank", "index")

    def __init__(self, bank: Tensor, index: int) -> None:
        self.bank = bank
        self.index = index

    @property
    def tensor(self) -> Tensor:
        """The row, a view."""
        return self.bank[self.index]

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> Row:
        """See :func:`netsim.jobs.moving.with_tensors`."""
        own = self.tensor
        changed = change(own)
        return self if changed is own else _alone(changed)

    def __reduce__(self) -> Any:
        """Travel alone, without the rest of the bank; or with it, where most of it is on its way anyhow."""
        if 1 < self.bank.shape[0] <= 1.5 * travelling_together():
            return Row, (self.bank, self.index)
        own = self.tensor
        return _alone, (own if own.numel() == self.bank.numel() else own.clone(),)


def _alone(tensor: Tensor) -> Row:
    return Row(tensor[None], 0)


def rows_of(bank: Tensor) -> list[Row]:
    """All rows of ``bank``."""
    return [Row(bank, index) for index in range(bank.shape[0])]


def gather(rows: Sequence[Row], copy: bool = False) -> Tensor:
    """A tensor [rows, ...] of ``rows``; the bank itself, if they are its rows in order and no ``copy`` is asked for."""
    bank = rows[0].bank
    if any(row.bank is not bank for row in rows):
        return torch.stack([row.tensor for row in rows])
    index = [row.index for row in rows]
    if index == list(range(bank.shape[0])):
        return bank.clone() if copy else bank
    return bank.index_select(0, torch.from_numpy(np.array(index)).to(bank.device))


@dataclass(frozen=True)
class Entry:
    """Where one tensor of a module lies in a row.

    Attributes:
        name: Its name in the module.
        start: Its first number.
        size: How many there are.
        shape: Its shape.
        channels_last: Whether it is stored in PyTorch's channels-last order, as the module has it.
    """

    name: str
    start: int
    size: int
    shape: tuple[int, ...]
    channels_last: bool


@dataclass(frozen=True)
class Layout:
    """How a module's tensors lie in a row: trained weights first, then running statistics, then integer counters.

    Attributes:
        entries: By name.
        weights: How many numbers are trained.
        sent: How many travel: weights and running statistics.
        size: How many there are in all.
    """

    entries: Mapping[str, Entry]
    weights: int
    sent: int
    size: int

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The tensors in ``flat`` [..., size], as views [..., *shape]."""
        return {name: _view(flat, entry) for name, entry in self.entries.items()}

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the tensors that are trained."""
        return tuple(name for name, entry in self.entries.items() if entry.start + entry.size <= self.weights)


def _view(flat: Tensor, entry: Entry) -> Tensor:
    lead = flat.shape[:-1]
    numbers = flat[..., entry.start : entry.start + entry.size]
    if entry.channels_last:
        out, channels, height, width = entry.shape
        order = (*range(len(lead)), *(len(lead) + axis for axis in (0, 3, 1, 2)))
        return numbers.view(*lead, out, height, width, channels).permute(order)
    return numbers.view((*lead, *entry.shape))


def layout_of(module: nn.Module) -> Layout:
    """The layout of ``module``'s parameters and buffers."""
    weights = dict(module.named_parameters())
    buffers = {name: tensor for name, tensor in module.state_dict().items() if name not in weights}
    running = {name: tensor for name, tensor in buffers.items() if tensor.is_floating_point()}
    counters = {name: tensor for name, tensor in buffers.items() if not tensor.is_floating_point()}
    entries, ends, start = {}, [], 0
    for group in (weights, running, counters):
        for name, tensor in group.items():
            last = (
                tensor.dim() == 4
                and not tensor.is_contiguous()
                and tensor.is_contiguous(memory_format=torch.channels_last)
            )
            entries[name] = Entry(name, start, tensor.numel(), tuple(tensor.shape), last)
            start += tensor.numel()
        ends.append(start)
    return Layout(entries, *ends)


class Part(Mapping[str, Tensor]):
    """A named part of a model: a row, read as tensors by name.

    Attributes:
        row: Where its numbers are.
        layout: How they are to be read.
    """

    __slots__ = ("layout", "row")

    def __init__(self, row: Row, layout: Layout) -> None:
        self.row = row
        self.layout = layout

    def __getitem__(self, name: str) -> Tensor:
        return _view(self.row.tensor, self.layout.entries[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.entries)

    def __len__(self) -> int:
        return len(self.layout.entries)

    def __reduce__(self) -> Any:
        return Part, (self.row, self.layout)

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> Part:
        """See :func:`netsim.jobs.moving.with_tensors`."""
        row = self.row.with_tensors(change)
        return self if row is self.row else Part(row, self.layout)

    @property
    def weights(self) -> Tensor:
        """What is trained, as one vector."""
        return self.row.tensor[: self.layout.weights]


State = Mapping[str, Part]


def modality_parts(modality: str) -> tuple[str, str]:
    """The parts that belong to one modality: its feature extractor w^m and its classifier w̌^m."""
    return f"trunk/{modality}", f"specific/{modality}"


def take(modules: Mapping[str, nn.Module], dtype: torch.dtype | None = None) -> dict[str, Part]:
    """The state of ``modules``, a copy, in ``dtype`` if one is given."""
    return {part: _copy(module, dtype) for part, module in modules.items()}


def _copy(module: nn.Module, dtype: torch.dtype | None) -> Part:
    layout, tensors = layout_of(module), module.state_dict()
    first = next(iter(tensors.values()), torch.empty(0))
    flat = torch.empty(1, layout.size, dtype=dtype or torch.get_default_dtype(), device=first.device)
    for name, view in layout.views(flat[0]).items():
        view.copy_(tensors[name])
    return Part(Row(flat, 0), layout)


class Lent:
    """A module whose tensors lie in a row of their own for a while: what is trained there is the new state.

    Attributes:
        flat: The row, [size].
    """

    def __init__(self, module: nn.Module, part: Part) -> None:
        self._module, self._layout = module, part.layout
        self.flat = part.row.tensor.clone()
        views = part.layout.views(self.flat)
        for name, weight in module.named_parameters():
            weight.data, weight.grad = views[name], None
        buffers = dict(module.named_buffers())
        self._counters = []
        for name in (name for name in part.layout.entries if name in buffers):
            if buffers[name].is_floating_point():
                buffers[name].data = views[name]
            else:
                buffers[name].copy_(views[name])
                self._counters.append((buffers[name], views[name]))

    def part(self) -> Part:
        """The state as it is now; the module is not to be changed any more."""
        for counter, view in self._counters:
            view.copy_(counter)
        return Part(Row(self.flat[None], 0), self._layout)


def lend(modules: Mapping[str, nn.Module], state: State) -> dict[str, Lent]:
    """Let ``modules`` work on copies of ``state``, part by part."""
    return {part: Lent(module, state[part]) for part, module in modules.items()}


def numbers(part: Part) -> int:
    """How many numbers of ``part`` travel: weights and running statistics, but no integer counters."""
    return part.layout.sent


def is_finite(state: State) -> bool:
    """Whether all numbers of ``state`` are finite."""
    return all(bool(part.row.tensor.isfinite().all()) for part in state.values())


def state_bytes(state: State) -> float:
    """Size of ``state`` in memory [byte]."""
    return float(math.fsum(part.row.bank.element_size() * part.layout.size for part in state.values()))
