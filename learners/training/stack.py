"""The states of several devices as stacked tensors, one row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from learners.networks.state import Layout, Part, State, all_finite, gather, rows_of

Devices = slice | Tensor
"""Rows of some devices: a slice, which gives a view, or any rows, int64 [some], which give a copy."""

ALL = slice(None)

Gradients = Sequence[tuple[slice, Tensor]]
"""Columns of some of the weights, and their gradients [devices, columns], which must not be changed in place."""


class StackedPart:
    """One part of several devices.

    Attributes:
        flat: All its numbers [devices, size].
        layout: The places of the tensors in a row.
        tensors: Its tensors by name [devices, *shape], views of ``flat``.
        leaves: Those tensors that are trained, as leaves of autograd.
    """

    def __init__(self, flat: Tensor, layout: Layout, trains: bool) -> None:
        self.layout = layout
        self.flat = flat
        # With .data each view has a change counter of its own; else autograd takes BatchNorm's changes for a weight's.
        self.tensors = {name: view.data for name, view in layout.views(flat).items()}
        self.leaves: dict[str, Tensor] = {}
        if trains:
            self.leaves = {name: self.tensors[name].requires_grad_() for name in layout.trained}

    def gradients(self, found: Sequence[Tensor | None]) -> Gradients:
        """Arrange what was ``found`` for each leaf [devices, *shape] as rows; leaves without a gradient have none."""
        rows = []
        for name, value in zip(self.leaves, found, strict=True):
            entry = self.layout.entries[name]
            if value is not None:
                value = value.permute(0, 1, 3, 4, 2) if entry.channels_last else value
                rows.append((entry.columns, value.reshape(value.shape[0], -1)))
        return rows

    @property
    def weights(self) -> Tensor:
        """Return the trained weights [devices, weights], a view."""
        return self.flat[:, : self.layout.weights]

    @property
    def statistics(self) -> Tensor:
        """Return the numbers that are not trained: running statistics and local tensors [devices, ...], a view."""
        return self.flat[:, self.layout.weights :]


class Bank:
    """The states of several devices of one architecture, part by part.

    Attributes:
        parts: Stacked parts by name.
        trains: Whether the trained tensors are leaves of autograd.
    """

    def __init__(self, parts: Mapping[str, StackedPart], trains: bool) -> None:
        self.parts = dict(parts)
        self.trains = trains

    @classmethod
    def of(cls, modules: Mapping[str, nn.Module], states: Sequence[State], trains: bool = True) -> Bank:
        """Stack ``states``; with ``trains`` the bank is a copy, and its trained tensors are leaves of autograd."""
        return cls({part: stacked([state[part] for state in states], trains) for part in modules}, trains)

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())).flat)

    @property
    def dtype(self) -> torch.dtype:
        """Return the type of all numbers."""
        return next(iter(self.parts.values())).flat.dtype

    @property
    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return all tensors [devices, *shape], by part and name."""
        return {part: one.tensors for part, one in self.parts.items()}

    def some(self, devices: Devices) -> Bank:
        """Return a bank of the rows ``devices``; with a slice it is a view, else it is a copy."""
        return Bank(
            {
                name: StackedPart(part.flat[devices], part.layout, self.trains)
                for name, part in self.parts.items()
            },
            self.trains,
        )

    def gradients(self, totals: Tensor, parts: Sequence[str]) -> dict[str, Gradients]:
        """Differentiate each device's total [devices] by the leaves of ``parts`` that it depends on."""
        leaves = [list(self.parts[part].leaves.values()) for part in parts]
        # Of the sum: with gradients given by hand, PyTorch would import its symbolic algebra (0.7 s).
        found = iter(torch.autograd.grad(totals.sum(), list(chain(*leaves)), allow_unused=True))
        return {
            part: self.parts[part].gradients([next(found) for _ in own])
            for part, own in zip(parts, leaves, strict=True)
        }

    def finite(self) -> list[bool]:
        """Return for each device whether all its numbers are finite."""
        doubtful = [one.flat for one in self.parts.values() if not all_finite(one.flat)]
        if not doubtful:
            return [True] * len(self)
        found: list[bool] = torch.stack([flat.isfinite().all(1) for flat in doubtful]).all(0).tolist()
        return found

    def states(self) -> list[dict[str, Part]]:
        """Return the current states, one per device; the bank must not be changed afterwards."""
        parts = [[Part(row, one.layout) for row in rows_of(one.flat)] for one in self.parts.values()]
        return [dict(zip(self.parts, own, strict=True)) for own in zip(*parts, strict=True)]


def stacked(states: Sequence[Part], trains: bool) -> StackedPart:
    """Stack one part of several devices; with ``trains`` it is a copy, and its weights are leaves of autograd."""
    return StackedPart(gather([state.row for state in states], copy=trains), states[0].layout, trains)
