"""Promises, and values compared bit for bit or up to rounding."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class BrokenPromise(AssertionError):
    """A learner does not keep what :class:`netsim.learner.Learner` promises; the message names the promise."""


def promise(kept: bool, text: str) -> None:
    """Raise :class:`BrokenPromise` with ``text`` unless it is ``kept``."""
    if not kept:
        raise BrokenPromise(text)


def fingerprint(value: Any) -> str:
    """Return a digest of ``value``: numbers bit for bit, mappings whatever their order, objects as they travel.

    PyTorch's tensors are known by their ``numpy`` method, so that this module needs no PyTorch.
    """
    digest = hashlib.sha256()
    _feed(digest.update, value)
    return digest.hexdigest()


def _feed(update: Callable[[bytes], None], value: Any) -> None:
    update(type(value).__name__.encode())
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu().contiguous().numpy()
    if isinstance(value, np.ndarray):
        update(f"{value.dtype}{value.shape}".encode())
        update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            update(repr(key).encode())
            _feed(update, value[key])
    elif isinstance(value, list | tuple):
        update(str(len(value)).encode())
        for item in value:
            _feed(update, item)
    elif isinstance(value, set | frozenset):
        update(repr(sorted(value, key=repr)).encode())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            update(field.name.encode())
            _feed(update, getattr(value, field.name))
    elif hasattr(value, "__dict__") and not callable(value):
        _feed(update, value.__getstate__())
    else:
        update(repr(value).encode())


def alike(one: Any, other: Any) -> bool:
    """Return whether two results are the same up to rounding: numbers within 1e-4 of the largest beside them."""
    if hasattr(one, "detach") and hasattr(one, "cpu"):
        one, other = (np.asarray(value.detach().cpu()) for value in (one, other))
    if isinstance(one, np.ndarray):
        scale = max(float(np.abs(other).max(initial=0.0)), 1e-6)
        return one.shape == other.shape and bool(np.allclose(one, other, rtol=0, atol=1e-4 * scale))
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(alike(*pair) for pair in zip(one, other, strict=True))
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        return all(alike(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    return bool(one == other)


def is_size(value: Any) -> bool:
    """Return whether ``value`` is a finite number, and not negative."""
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0
