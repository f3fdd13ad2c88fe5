"""Moving the tensors inside a nested value to another PyTorch device, with everything else left as it is."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def move(value: Any, device: str) -> Any:
    """Return ``value`` with its tensors on ``device``; the same object if there is nothing to move."""
    return with_tensors(value, lambda tensor: tensor.to(device))


def with_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return ``value`` with each tensor in it replaced by ``change(tensor)``.

    Tensors are found in nested mappings, lists, tuples and dataclasses. A container in which a tensor has changed is
    made anew; the others are returned as they are. ``value`` itself is never changed. A value of another type, or a
    container whose type must be kept, needs a method ``with_tensors(change)`` that does the same.
    """
    import torch

    if isinstance(value, torch.Tensor):
        return change(value)
    if hasattr(value, "with_tensors"):
        return value.with_tensors(change)
    if isinstance(value, Mapping):
        items = {key: with_tensors(item, change) for key, item in value.items()}
        return items if _differ(items.values(), value.values()) else value
    if isinstance(value, list | tuple):
        parts = [with_tensors(part, change) for part in value]
        if not _differ(parts, value):
            return value
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        before = [getattr(value, name) for name in names]
        after = [with_tensors(part, change) for part in before]
        if not _differ(after, before):
            return value
        made = copy.copy(value)
        for name, part in zip(names, after, strict=True):
            object.__setattr__(made, name, part)  # a frozen dataclass allows no plain assignment
        return made
    return value


def _differ(one: Any, other: Any) -> bool:
    return any(a is not b for a, b in zip(one, other, strict=True))
