"""The states of several devices as one: their tensors stacked, a row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from learners.training.state import Layout, Part, State, gather, rows_of

Devices = slice | Tensor
"""Places of some of the stacked devices: neighbours, which are a view, or any, int64 [some], which are a copy."""

ALL = slice(None)


class StackedPart:
    """One part of several devices.

    Attributes:
        flat: All its numbers [devices, size].
        layout: How they are to be read.
        tensors: The same by name [devices, *shape].
        leaves: Those of them that are trained, autograd's leaves.
    """

    def __init__(self, flat: Tensor, layout: Layout, trains: bool) -> None:
        self.layout = layout
        self.flat = flat
        # .data: each view counts its own changes; else autograd takes one of BatchNorm's for one of a weight.
        self.tensors = {name: view.data for name, view in layout.views(flat).items()}
        self.leaves: dict[str, Tensor] = {}
        if trains:
            self.leaves = {name: self.tensors[name].requires_grad_() for name in layout.trained}

    def gradient(self, found: Mapping[str, Tensor | None]) -> Tensor:
        """Return gradients of the leaves by name as rows [devices, weights]; zero where a leaf took no part."""
        rows = []
        for name, leaf in self.leaves.items():
            value = found[name]
            value = torch.zeros_like(leaf) if value is None else value
            if self.layout.entries[name].channels_last:
                value = value.permute(0, 1, 3, 4, 2)
            rows.append(value.reshape(len(self.flat), -1))
        if len(rows) == 1:  # torch.cat copies even a single one
            return rows[0]
        return torch.cat(rows, dim=1) if rows else self.weights

    @property
    def weights(self) -> Tensor:
        """What is trained [devices, weights], a view."""
        return self.flat[:, : self.layout.weights]

    @property
    def statistics(self) -> Tensor:
        """What is not: running statistics and what stays at home [devices, ...], a view."""
        return self.flat[:, self.layout.weights :]


class Bank:
    """The states of several devices of one architecture, part by part.

    Attributes:
        parts: By name.
        trains: Whether gradients are kept.
    """

    def __init__(self, parts: Mapping[str, StackedPart], trains: bool) -> None:
        self.parts = dict(parts)
        self.trains = trains

    @classmethod
    def of(cls, modules: Mapping[str, nn.Module], states: Sequence[State], trains: bool = True) -> Bank:
        """Stack ``states``; with ``trains`` they are copies whose gradients are kept."""
        return cls({part: stacked([state[part] for state in states], trains) for part in modules}, trains)

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())).flat)

    @property
    def dtype(self) -> torch.dtype:
        """Of all numbers."""
        return next(iter(self.parts.values())).flat.dtype

    @property
    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All tensors [devices, *shape], by part and name."""
        return {part: one.tensors for part, one in self.parts.items()}

    def some(self, devices: Devices) -> Bank:
        """Return the rows ``devices``; neighbours share their numbers with this bank, others are copies."""
        return Bank(
            {
                name: StackedPart(part.flat[devices], part.layout, self.trains)
                for name, part in self.parts.items()
            },
            self.trains,
        )

    def derivatives(self, total: Tensor, parts: Sequence[str]) -> dict[str, dict[str, Tensor | None]]:
        """Differentiate ``total``, a sum over devices, by each leaf of ``parts``; None where it does not depend."""
        leaves = [(part, name, leaf) for part in parts for name, leaf in self.parts[part].leaves.items()]
        values = torch.autograd.grad(total, [leaf for _, _, leaf in leaves], allow_unused=True)
        found: dict[str, dict[str, Tensor | None]] = {part: {} for part in parts}
        for (part, name, _), value in zip(leaves, values, strict=True):
            found[part][name] = value
        return found

    def finite(self) -> list[bool]:
        """Whether all numbers of each device are finite."""
        by_part = [one.flat.isfinite().all(1) for one in self.parts.values()]
        found: list[bool] = torch.stack(by_part).all(0).tolist()
        return found

    def states(self) -> list[dict[str, Part]]:
        """The states as they are now, one per device; the bank is not to be changed any more."""
        rows = {part: rows_of(one.flat) for part, one in self.parts.items()}
        return [
            {part: Part(own[index], self.parts[part].layout) for part, own in rows.items()}
            for index in range(len(self))
        ]


def stacked(states: Sequence[Part], trains: bool) -> StackedPart:
    """Stack one part of several devices; with ``trains`` it is a copy whose gradients are kept."""
    return StackedPart(gather([state.row for state in states], copy=trains), states[0].layout, trains)
