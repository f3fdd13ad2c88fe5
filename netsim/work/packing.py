"""Values as buffers: a small pickle, and beside it the memory of tensors and arrays, which nobody has copied."""

from __future__ import annotations

import io
import pickle
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

ALIGNMENT = 64
"""Each buffer should begin at a multiple of this [byte], as PyTorch's own memory does: kernels choose by it."""


_travel = threading.local()


@contextmanager
def company(jobs: int) -> Iterator[None]:
    """What is packed while the block runs belongs to so many ``jobs``, which travel together."""
    _travel.jobs = jobs
    try:
        yield
    finally:
        _travel.jobs = 1


def travelling_together() -> int:
    """How many jobs travel in what is being packed; a value that is part of a larger one can send that once for all."""
    return int(getattr(_travel, "jobs", 1))


def pack(value: Any) -> list[memoryview]:
    """``value`` as bytes: first a pickle, then the memory of its tensors and arrays, shared with them.

    A tensor keeps its type, shape and, if it is dense, its strides (channels-last stays channels-last); of a view
    only what it shows is taken. Tensors that share memory without being one object are apart afterwards.
    """
    buffers: list[PickleBuffer] = []
    file = io.BytesIO()
    _Pickler(file, protocol=5, buffer_callback=buffers.append).dump(value)
    return [file.getbuffer(), *(buffer.raw() for buffer in buffers)]


def unpack(buffers: Sequence[Any]) -> Any:
    """The value again; its tensors and arrays are views of ``buffers[1:]``."""
    return pickle.loads(buffers[0], buffers=buffers[1:])


def copied(buffer: Any) -> np.ndarray:
    """An aligned copy of ``buffer`` in this process's own memory, uint8 [bytes]."""
    source = np.frombuffer(buffer, np.uint8)
    memory = np.empty(len(source) + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    copy = memory[start : start + len(source)]
    copy[:] = source
    return copy


class _Pickler(pickle.Pickler):
    """PyTorch's own way writes a tensor's whole storage into the pickle, byte by byte."""

    def reducer_override(self, value: Any) -> Any:
        torch = sys.modules.get("torch")  # where nobody has imported it there are no tensors
        if torch is None or type(value) is not torch.Tensor or not _is_plain(value):
            return NotImplemented
        flat = _flat(value)
        if flat is None:
            value = value.contiguous()
            flat = value.view(-1)
        memory = PickleBuffer(_bytes(flat)) if flat.numel() else None
        return _tensor, (memory, value.dtype, tuple(value.shape), value.stride())


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether memory, type, shape and strides are all there is to it."""
    import torch

    return (
        tensor.device.type == "cpu"
        and tensor.layout is torch.strided
        and not tensor.requires_grad
        and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg())
        and not vars(tensor)
    )


def _flat(tensor: torch.Tensor) -> torch.Tensor | None:
    """Its numbers in the order of memory, without a copy; None if there are gaps or repetitions between them."""
    if tensor.is_contiguous():
        return tensor.view(-1)
    strides = tensor.stride()
    sorted_ = tensor.permute(sorted(range(tensor.dim()), key=lambda axis: strides[axis], reverse=True))
    return sorted_.view(-1) if sorted_.is_contiguous() else None


def _bytes(flat: torch.Tensor) -> Any:
    import torch

    return flat.view(torch.uint8).numpy()


def _tensor(
    memory: Any, dtype: torch.dtype, shape: tuple[int, ...], strides: tuple[int, ...]
) -> torch.Tensor:
    import torch

    if memory is None:
        return torch.empty_strided(shape, strides, dtype=dtype)
    return torch.frombuffer(memory, dtype=dtype).as_strided(shape, strides)
