"""A model as a value: named parts, each a mapping from names to tensors, that nobody changes in place.

A device's state has the parts ``trunk/<modality>`` and ``specific/<modality>`` of each of its modalities,
``common`` (common classifier and bias) and, where the algorithm has one, ``generator``. Parts are what
messages are made of and what aggregation weights differ by. Whoever changes a model makes new tensors, so a
state can be handed to a job or a message without copying it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

Part = Mapping[str, Tensor]
State = Mapping[str, Part]


def modality_parts(modality: str) -> tuple[str, str]:
    """The parts that belong to one modality: its feature extractor w^m and its classifier w̌^m."""
    return f"trunk/{modality}", f"specific/{modality}"


def take(modules: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    """The state of ``modules``, sharing memory with them: let them go, or change them no more."""
    return {
        part: {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
        for part, module in modules.items()
    }


def put(modules: Mapping[str, nn.Module], state: State) -> None:
    """Copy ``state`` into ``modules``, part by part; parts that no module stands for are left out."""
    for part, module in modules.items():
        module.load_state_dict(dict(state[part]))


def trainable(module: nn.Module) -> tuple[str, ...]:
    """Names of the tensors of a part that are trained, as against BatchNorm's running statistics."""
    return tuple(name for name, _ in module.named_parameters())


def numbers(part: Part) -> int:
    """How many numbers of ``part`` travel: weights and running statistics, but no integer counters."""
    return sum(tensor.numel() for tensor in part.values() if tensor.is_floating_point())


def vector(part: Part, names: Iterable[str]) -> Tensor:
    """The tensors called ``names`` as one vector."""
    return torch.cat([part[name].reshape(-1) for name in names])
