"""Tensors inside other values: moved to another device, with everything around them left as it is."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def move(value: Any, device: str) -> Any:
    """``value`` with its tensors on ``device``; the very same object if there is nothing to move."""
    return with_tensors(value, lambda tensor: tensor.to(device))


def with_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``value`` with each tensor in it replaced by ``change(tensor)``.

    Tensors are looked for in mappings, lists, tuples and dataclasses, and in what these hold. What holds no changed
    tensor is passed on as it is; what does is made anew, and ``value`` itself is never changed. A value of any other
    make, or one that must stay what it is, has a method ``with_tensors(change)`` that does this.
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
            object.__setattr__(made, name, part)  # frozen ones are frozen for others
        return made
    return value


def _differ(one: Any, other: Any) -> bool:
    return any(a is not b for a, b in zip(one, other, strict=True))
