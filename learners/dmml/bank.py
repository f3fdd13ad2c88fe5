"""The networks of several devices as one: their tensors stacked, a row each, and one forward pass for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from learners.networks.decomposed import DecomposedNet
from learners.training.state import Layout, Part, State, gather, rows_of


class StackedPart:
    """One part of several devices.

    Attributes:
        flat: All its numbers [devices, size].
        layout: How they are to be read.
        tensors: The same by name [devices, *shape].
        leaves: Those of them that are trained, autograd's leaves.
    """

    def __init__(self, states: Sequence[Part], trains: bool) -> None:
        self.layout: Layout = states[0].layout
        self.flat = gather([state.row for state in states], copy=trains)
        # .data: each view counts its own changes; else autograd takes one of BatchNorm's for one of a weight.
        self.tensors = {name: view.data for name, view in self.layout.views(self.flat).items()}
        self.leaves: dict[str, Tensor] = {}
        if trains:
            self.leaves = {name: self.tensors[name].requires_grad_() for name in self.layout.trained}

    def gradient(self, found: Mapping[str, Tensor | None]) -> Tensor:
        """Gradients of the leaves by name as rows [devices, weights]; zero where a leaf took no part."""
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
    """The states of several devices of one architecture, part by part."""

    def __init__(
        self, modules: Mapping[str, nn.Module], states: Sequence[State], trains: bool = True
    ) -> None:
        """Stack ``states``; with ``trains`` they are copies whose gradients are kept."""
        self.parts = {part: StackedPart([state[part] for state in states], trains) for part in modules}
        self.devices = len(states)

    @property
    def dtype(self) -> torch.dtype:
        """Of all numbers."""
        return next(iter(self.parts.values())).flat.dtype

    def gradients(self, total: Tensor, parts: Sequence[str]) -> dict[str, Tensor]:
        """Derivatives of ``total``, a sum over devices, by what is trained of ``parts`` [devices, weights]."""
        leaves = [(part, name, leaf) for part in parts for name, leaf in self.parts[part].leaves.items()]
        values = torch.autograd.grad(total, [leaf for _, _, leaf in leaves], allow_unused=True)
        found: dict[str, dict[str, Tensor | None]] = {part: {} for part in parts}
        for (part, name, _), value in zip(leaves, values, strict=True):
            found[part][name] = value
        return {part: self.parts[part].gradient(found[part]) for part in parts}

    def states(self) -> list[dict[str, Part]]:
        """The states as they are now, one per device; the bank is not to be changed any more."""
        rows = {part: rows_of(stacked.flat) for part, stacked in self.parts.items()}
        return [
            {part: Part(own[index], self.parts[part].layout) for part, own in rows.items()}
            for index in range(self.devices)
        ]


class StackedOutputs(NamedTuple):
    """As :class:`learners.networks.decomposed.Outputs`, for K devices.

    Logits have their classes before the batch: [A, K, C, B] and [K, C, B]. A softmax over a few classes is three times
    faster when the batch is what lies side by side.

    Attributes:
        common: [A, K, B, L̂].
        specific: [A, K, B, L̂].
        common_logits: [A, K, C, B].
        modality_logits: [A, K, C, B].
        logits: [K, C, B].
    """

    common: Tensor
    specific: Tensor
    common_logits: Tensor
    modality_logits: Tensor
    logits: Tensor


def forward(
    net: DecomposedNet, bank: Bank, inputs: Mapping[str, Tensor], active: Tensor | None
) -> StackedOutputs:
    """The forward pass of :class:`DecomposedNet` for all devices of ``bank``.

    Args:
        net: Lends its structure, and says whether it is in training mode.
        bank: The networks.
        inputs: By modality in use, [K, B, ...].
        active: 1 where a device's modality takes part, else 0 [A, K]; None if all do.
    """
    names = [m for m in net.modalities if m in inputs]
    features = _stack(
        [net.trunks[m].stacked(bank.parts[f"trunk/{m}"].tensors, inputs[m]) for m in names]  # type: ignore[operator]
    )  # [A, K, B, L]
    common, specific = features[..., : net.common_count], features[..., net.common_count :]
    classifiers = _stack([bank.parts[f"specific/{m}"].tensors["weight"] for m in names])  # [A, K, C, L̂]
    modality_logits = classifiers @ specific.transpose(2, 3)
    head = bank.parts["common"].tensors
    common_logits = modality_logits.new_empty(0)
    if net.head.classifier is not None:
        common_logits = head["classifier.weight"] @ common.transpose(2, 3)
        modality_logits = modality_logits + common_logits
    bias = head["bias"][:, :, None]  # [K, C, 1]
    counted = modality_logits if active is None else active[:, :, None, None] * modality_logits
    fused = counted.sum(0) if len(names) > 1 else counted[0]
    return StackedOutputs(common, specific, common_logits, modality_logits, fused + bias)


def per_modality(bank: Bank, outputs: StackedOutputs) -> Tensor:
    """Each modality's own prediction (eq. 27) [A, K, C, B]."""
    bias = bank.parts["common"].tensors["bias"][:, :, None]
    return outputs.modality_logits + bias / len(outputs.modality_logits)


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """As ``torch.stack``, which copies even a single one."""
    return torch.stack(list(tensors)) if len(tensors) > 1 else tensors[0][None]
