"""A model as a value: named parts, each one row of numbers, which are never changed in place.

A device's state has the parts ``trunk/<modality>`` and ``specific/<modality>`` of each of its modalities, ``common``
(common classifier and bias) and, if the algorithm has one, ``generator``. A message consists of parts, and each part
may have its own aggregation weights. Devices that were trained or mixed together have their rows in one tensor, a bank.
A change of a model makes a new bank. So a state can be given to a job or a message without a copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from learners.networks.start import is_frozen
from netsim.core.errors import ScenarioError
from netsim.work.packing import ALL, travelling_together


class Row:
    """One row of a bank, [rows, ...].

    Attributes:
        bank: The tensor that contains the row; it must not be changed once a row of it is in use.
        index: Number of the row in the bank.
    """

    __slots__ = ("bank", "index")

    def __init__(self, bank: Tensor, index: int) -> None:
        self.bank = bank
        self.index = index

    @property
    def tensor(self) -> Tensor:
        """Return the row, a view of the bank [...]."""
        return self.bank[self.index]

    def numbers(self, entry: Entry) -> Tensor:
        """Return the numbers of one tensor, a view of the row [entry.size]."""
        return self.tensor[entry.columns]

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> Row:
        """Return the same with its tensor changed; see :func:`netsim.work.moving.with_tensors`."""
        own = self.tensor
        changed = change(own)
        return self if changed is own else Row(changed[None], 0)

    def __reduce__(self) -> Any:
        """Pickle the row without the rest of the bank, or with the bank if most of its rows are sent anyway."""
        if self.bank.shape[0] <= 1.5 * travelling_together():
            return Row, (self.bank, self.index)
        return Row, (self.tensor.clone()[None], 0)


def stays_in_this_run() -> bool:
    """Return whether rows are being pickled with all results of a run, for it to go on."""
    return travelling_together() == ALL


def rows_of(bank: Tensor) -> list[Row]:
    """Return all rows of ``bank``."""
    return [Row(bank, index) for index in range(bank.shape[0])]


def gather(rows: Sequence[Row], copy: bool = False) -> Tensor:
    """Return a tensor [rows, ...] of ``rows``; without ``copy``, it is the bank itself if they are all its rows."""
    bank = rows[0].bank
    if any(row.bank is not bank for row in rows):
        return torch.stack([row.tensor for row in rows])
    index = [row.index for row in rows]
    if index == list(range(bank.shape[0])):
        return bank.clone() if copy else bank
    return bank.index_select(0, torch.from_numpy(np.array(index)).to(bank.device))


@dataclass(frozen=True)
class Entry:
    """The place of one tensor of a module in a row.

    Attributes:
        name: Its name in the module.
        start: Index of its first number.
        size: How many numbers it has.
        shape: Its shape; for a complex tensor the shape of its real and imaginary parts [..., 2].
        channels_last: Whether it is stored in PyTorch's channels-last order, as in the module.
        dtype: Its type in the module if that is not real floating point, else None; the row has real numbers for it.
    """

    name: str
    start: int
    size: int
    shape: tuple[int, ...]
    channels_last: bool = False
    dtype: torch.dtype | None = None

    @property
    def columns(self) -> slice:
        """Return its place in a row."""
        return slice(self.start, self.start + self.size)


@dataclass(frozen=True)
class Layout:
    """The places of a module's tensors in a row: trained weights, then running statistics, then local tensors.

    Running statistics are the floating-point buffers in the module's ``state_dict``. Local tensors belong to a device's
    model but are neither sent nor mixed. They are frozen weights (``requires_grad=False``), all buffers of frozen
    modules, integer, boolean and complex buffers, and buffers that are not persistent.

    Attributes:
        entries: Places by name; a tensor with several names is there once, under its first name.
        weights: How many numbers are trained.
        sent: How many numbers are sent: weights and running statistics.
        size: How many numbers there are in all.
        twins: The first name of a tensor, by each of its other names.
    """

    entries: Mapping[str, Entry]
    weights: int
    sent: int
    size: int
    twins: Mapping[str, str] = field(default_factory=dict)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the tensors in ``flat`` [..., size] by name, as views [..., *shape]."""
        return {name: _view(flat, entry) for name, entry in self.entries.items()}

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """Return the names of the tensors that are trained."""
        return tuple(
            name for name, entry in self.entries.items() if entry.size and entry.columns.stop <= self.weights
        )


def _view(flat: Tensor, entry: Entry) -> Tensor:
    lead = flat.shape[:-1]
    numbers = flat[..., entry.columns]
    if entry.channels_last:
        out, channels, height, width = entry.shape
        order = (*range(len(lead)), *(len(lead) + axis for axis in (0, 3, 1, 2)))
        return numbers.view(*lead, out, height, width, channels).permute(order)
    return numbers.view((*lead, *entry.shape))


def as_in_module(numbers: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Convert ``numbers`` of a row to the module's tensor of type ``dtype``; return them as they are if it is None."""
    if dtype is None:
        return numbers
    return torch.view_as_complex(numbers.contiguous()) if dtype.is_complex else numbers.to(dtype)


def as_numbers(tensor: Tensor) -> Tensor:
    """Return a module's tensor as real numbers for a row, not yet rounded to the row's precision."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def layout_of(module: nn.Module) -> Layout:
    """Return the layout of ``module``'s parameters and buffers.

    Raises:
        ScenarioError: A weight that is to be trained is not real floating point.
    """
    weights, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    persistent = module.state_dict(keep_vars=True)
    groups: tuple[dict[str, Tensor], ...] = ({}, {}, {})
    for name, weight in weights.items():
        if weight.requires_grad and not weight.is_floating_point():
            raise ScenarioError(
                f"learner.networks: weight {name!r} is {weight.dtype}; train real numbers only"
            )
        groups[0 if weight.requires_grad else 2][name] = weight
    frozen = [name for name, inner in module.named_modules() if is_frozen(inner)]
    for name, buffer in buffers.items():
        sent = name in persistent and buffer.is_floating_point() and name.rpartition(".")[0] not in frozen
        groups[1 if sent else 2][name] = buffer
    entries, ends, start = {}, [], 0
    for group in groups:
        for name, tensor in group.items():
            numbers = as_numbers(tensor)
            last = (
                tensor.dim() == 4
                and not tensor.is_contiguous()
                and tensor.is_contiguous(memory_format=torch.channels_last)
            )
            dtype = None if tensor.is_floating_point() else tensor.dtype
            entries[name] = Entry(
                name, start, numbers.numel(), tuple(numbers.shape), last and dtype is None, dtype
            )
            start += numbers.numel()
        ends.append(start)
    first = {id(tensor): name for name, tensor in {**weights, **buffers}.items()}
    twins = {
        name: first[id(tensor)]
        for name, tensor in persistent.items()
        if id(tensor) in first and name != first[id(tensor)]
    }
    return Layout(entries, ends[0], ends[1], ends[2], twins)


class Part(Mapping[str, Tensor]):
    """A part of a model: a row of numbers, which can be read as tensors by name.

    Attributes:
        row: The numbers.
        layout: The places of the tensors in the row.
    """

    __slots__ = ("layout", "row")

    def __init__(self, row: Row, layout: Layout) -> None:
        self.row = row
        self.layout = layout

    def __getitem__(self, name: str) -> Tensor:
        entry = self.layout.entries[self.layout.twins.get(name, name)]
        return as_in_module(_view(self.row.tensor, entry), entry.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.entries)

    def __len__(self) -> int:
        return len(self.layout.entries)

    def __reduce__(self) -> Any:
        return Part, (self.row, self.layout)

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> Part:
        """Return the same with its row changed; see :func:`netsim.work.moving.with_tensors`."""
        row = self.row.with_tensors(change)
        return self if row is self.row else Part(row, self.layout)

    @property
    def weights(self) -> Tensor:
        """Return the trained weights as one vector [weights], a view of the row."""
        return self.row.tensor[: self.layout.weights]


State = Mapping[str, Part]


def identity(part: Part) -> tuple[int, int]:
    """Return what only parts with the same row have, as long as it is there."""
    return id(part.row.bank), part.row.index


def modality_parts(modality: str) -> tuple[str, str]:
    """Return the names of a modality's parts: its feature extractor w^m and its specific classifier w̌^m."""
    return f"trunk/{modality}", f"specific/{modality}"


def take(modules: Mapping[str, nn.Module], dtype: torch.dtype | None = None) -> dict[str, Part]:
    """Return a copy of the state of ``modules``, in ``dtype`` if one is given."""
    return {part: _copy(module, dtype) for part, module in modules.items()}


def _copy(module: nn.Module, dtype: torch.dtype | None) -> Part:
    layout = layout_of(module)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    first = next(iter(tensors.values()), torch.empty(0))
    flat = torch.empty(1, layout.size, dtype=dtype or torch.get_default_dtype(), device=first.device)
    part = Part(Row(flat, 0), layout)
    with torch.no_grad():
        for name, view in layout.views(flat[0]).items():
            view.copy_(as_numbers(tensors[name]))
            if layout.entries[name].dtype and not part[name].equal(tensors[name].to(part[name].dtype)):
                raise ScenarioError(
                    f"learner.networks: buffer {name!r} has integers that {flat.dtype} does not have; "
                    "keep it as a plain attribute of the module, or as several smaller ones"
                )
    return part


class Lent:
    """A module whose tensors temporarily lie in one row; after training, the row is the new state.

    Attributes:
        flat: The row, [size].
    """

    def __init__(self, module: nn.Module, part: Part) -> None:
        self._module, self._layout = module, part.layout
        self.flat = part.row.tensor.clone()
        views = part.layout.views(self.flat)
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for name, entry in part.layout.entries.items():
            tensors[name].data = as_in_module(views[name], entry.dtype)
            tensors[name].grad = None

    def part(self) -> Part:
        """Return the current state; the module must not be changed afterwards."""
        buffers = dict(self._module.named_buffers())
        with torch.no_grad():
            for name, view in self._layout.views(self.flat).items():
                # Buffers of another type, or tensors that the forward pass has put in a buffer's place.
                if name in buffers and buffers[name].data_ptr() != view.data_ptr():
                    view.copy_(as_numbers(buffers[name]))
        return Part(Row(self.flat[None], 0), self._layout)


def lend(modules: Mapping[str, nn.Module], state: State) -> dict[str, Lent]:
    """Make ``modules`` work on copies of ``state``, and return each part's row."""
    return {part: Lent(module, state[part]) for part, module in modules.items()}


def numbers(part: Part) -> int:
    """Return how many numbers of ``part`` are sent: trained weights and running statistics."""
    return part.layout.sent


def is_finite(state: State) -> bool:
    """Return whether all numbers of ``state`` are finite."""
    return all(all_finite(part.row.tensor) for part in state.values())


def all_finite(numbers: Tensor) -> bool:
    """Return whether all ``numbers`` are finite; so they are if their sum is, which is found much faster."""
    return bool(numbers.sum().isfinite()) or bool(numbers.isfinite().all())


def state_bytes(state: State) -> float:
    """Return the size of ``state`` in memory [byte]."""
    return float(math.fsum(part.row.bank.element_size() * part.layout.size for part in state.values()))
