"""Values as buffers: a small pickle, and the memory of tensors and arrays apart from it, without a copy."""

from __future__ import annotations

import io
import pickle
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    import torch

ALIGNMENT = 64
"""Each buffer should begin at a multiple of this [byte], as PyTorch's own memory does.

Some of PyTorch's kernels are chosen by the alignment, and different kernels may round differently.
"""

ALL = sys.maxsize
"""So many jobs travel together where all results of a run are packed: then each is to be again what it was."""

_travel = threading.local()


@contextmanager
def company(jobs: int) -> Iterator[None]:
    """State that values packed in the block belong to this number of ``jobs``, which travel together."""
    _travel.jobs = jobs
    try:
        yield
    finally:
        _travel.jobs = 1


def travelling_together() -> int:
    """Return the number of jobs that the values being packed belong to.

    With several jobs, a value that is part of a larger one may send the larger one once for all of them.
    """
    return int(getattr(_travel, "jobs", 1))


def pack(value: Any) -> list[memoryview]:
    """Return ``value`` as buffers: first a pickle, then the memory of its tensors and arrays, which is not copied.

    A tensor keeps its type and shape. A dense one also keeps its strides: channels-last stays channels-last. Of a view
    only the visible part is packed. Two tensors that share memory no longer share it after unpacking.
    """
    buffers: list[PickleBuffer] = []
    file = io.BytesIO()
    _Pickler(file, protocol=5, buffer_callback=buffers.append).dump(value)
    return [file.getbuffer(), *(buffer.raw() for buffer in buffers)]


def unpack(buffers: Sequence[Any]) -> Any:
    """Return the value that was packed; its tensors and arrays are views of ``buffers[1:]``."""
    return pickle.loads(buffers[0], buffers=buffers[1:])


def unpack_values(buffers: Sequence[Any], packages: Collection[str]) -> Any:
    """Return the value that was packed into a file, as :func:`unpack`, but without running what the file says.

    It is put together of tensors, arrays, plain values, and instances of dataclasses, tuples, mappings and classes with
    ``with_tensors`` that ``packages`` have and that are loaded.

    Raises:
        ValueError: It has something else in it.
    """
    try:
        return _Values(io.BytesIO(buffers[0]), buffers[1:], packages).load()
    except (pickle.UnpicklingError, AttributeError, ImportError, IndexError, EOFError, TypeError) as error:
        raise ValueError(str(error)) from None


def copied(buffer: Any) -> np.ndarray:
    """Copy ``buffer`` to aligned memory of this process and return the copy, uint8 [bytes]."""
    source = np.frombuffer(buffer, np.uint8)
    memory = np.empty(len(source) + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    copy = memory[start : start + len(source)]
    copy[:] = source
    return copy


class _Values(pickle.Unpickler):
    """Reads pickles of values only."""

    PLAIN: ClassVar[Mapping[str, Collection[str]]] = {
        "builtins": ("complex", "frozenset", "set", "slice", "range", "bytearray"),
        "collections": ("OrderedDict",),
        "netsim.work.packing": ("_tensor",),
        "numpy": ("dtype", "ndarray"),
        "numpy._core.multiarray": ("_reconstruct", "scalar"),
        "numpy._core.numeric": ("_frombuffer",),
    }

    def __init__(self, file: io.BytesIO, buffers: Sequence[Any], packages: Collection[str]) -> None:
        super().__init__(file, buffers=buffers)
        self._packages = packages

    def find_class(self, module: str, name: str) -> Any:
        if name in self.PLAIN.get(module, ()):
            return super().find_class(module, name)
        found = getattr(sys.modules.get(module), name, None)
        if module == "torch" and type(found).__name__ == "dtype":
            return found
        if module.partition(".")[0] in self._packages and isinstance(found, type) and _is_value(found):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is no value")


def _is_value(kind: type) -> bool:
    return is_dataclass(kind) or issubclass(kind, tuple | Mapping) or hasattr(kind, "with_tensors")


class _Pickler(pickle.Pickler):
    """Pickles tensors as buffers; PyTorch itself would write a tensor's whole storage into the pickle."""

    def reducer_override(self, value: Any) -> Any:
        torch = sys.modules.get("torch")  # if it was never imported, there are no tensors
        if torch is None or type(value) is not torch.Tensor or not _is_plain(value):
            return NotImplemented
        flat = _flat(value)
        if flat is None:
            value = value.contiguous()
            flat = value.view(-1)
        memory = PickleBuffer(_bytes(flat)) if flat.numel() else None
        return _tensor, (memory, value.dtype, tuple(value.shape), value.stride())


def _is_plain(tensor: torch.Tensor) -> bool:
    """Return whether ``tensor`` is fully described by its memory, type, shape and strides."""
    import torch

    return (
        tensor.device.type == "cpu"
        and tensor.layout is torch.strided
        and not tensor.requires_grad
        and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg())
        and not vars(tensor)
    )


def _flat(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return the numbers of ``tensor`` in the order of memory, not copied; None if some are missing or repeated."""
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
