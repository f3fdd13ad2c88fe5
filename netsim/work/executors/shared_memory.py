"""Memory that processes of one machine share: one process writes a block, another reads it without a copy.

Blocks are files in a folder of ``/dev/shm``, which is memory. Each process that knows their path can map them. Python's
own ``multiprocessing.shared_memory`` is not used: it cannot free a block while there are views of it, it fails with a
bus error where memory ends, and it counts blocks in a separate process.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from netsim.core.errors import ScenarioError
from netsim.core.scratch import new_scratch
from netsim.work.packing import ALIGNMENT

_GRAIN = 1 << 20  # blocks are multiples of this [byte], so that a slightly larger message still fits


@dataclass(frozen=True)
class Parcel:
    """The place of a message.

    Attributes:
        path: The block's file.
        lengths: Lengths of the message's buffers [byte], which lie one after another, each aligned.
    """

    path: str
    lengths: tuple[int, ...]


def new_folder() -> str:
    """Make a folder for blocks and return its path; it is in memory where the system allows that."""
    memory = "/dev/shm"
    return str(new_scratch(Path(memory if os.access(memory, os.W_OK) else tempfile.gettempdir()), "netsim."))


class Block:
    """Carries one message at a time, and grows to the largest of them.

    Args:
        path: Path of its file; a number is added whenever it grows.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._grown = 0
        self._file = ""
        self._memory = np.empty(0, np.uint8)

    def write(self, buffers: Sequence[memoryview]) -> Parcel:
        """Copy a message into the block, over the previous one, and return its place.

        Raises:
            ScenarioError: There is not enough shared memory.
        """
        lengths = tuple(buffer.nbytes for buffer in buffers)
        places = _places(lengths)
        if places[-1] > len(self._memory):
            self._grow(places[-1])
        for start, length, buffer in zip(places, lengths, buffers, strict=False):
            # With NumPy, which lets other threads run meanwhile.
            self._memory[start : start + length] = np.frombuffer(buffer, np.uint8)
        return Parcel(self._file, lengths)

    def _grow(self, needed: int) -> None:
        size = -(-needed // _GRAIN) * _GRAIN
        if self._file:
            Path(self._file).unlink(
                missing_ok=True
            )  # a process that has mapped it keeps it until its next read
        self._grown += 1
        self._file = f"{self._path}-{self._grown}"
        try:
            with open(self._file, "xb") as file:
                _reserve(file.fileno(), size)
        except OSError as error:
            Path(self._file).unlink(missing_ok=True)
            raise ScenarioError(
                f"jobs.executor: no room for {size / 1e6:.0f} MB in shared memory "
                f"({Path(self._file).parent.parent}: {error.strerror}); give it more (docker: --shm-size), "
                "or use fewer jobs.executor.workers, or jobs.executor: threads"
            ) from error
        self._memory = _mapped(self._file)


class Reader:
    """Reads parcels; the last block stays mapped, because the next parcel usually lies in it, too."""

    def __init__(self) -> None:
        self._file = ""
        self._memory = np.empty(0, np.uint8)

    def read(self, parcel: Parcel) -> list[Any]:
        """Return the message's buffers as views of the block."""
        if parcel.path != self._file:
            self._file, self._memory = parcel.path, _mapped(parcel.path)
        places = _places(parcel.lengths)
        return [
            self._memory[start : start + length]
            for start, length in zip(places, parcel.lengths, strict=False)
        ]


def _places(lengths: Sequence[int]) -> list[int]:
    """Return the place where each buffer begins, and the place where the last one ends [byte]."""
    return list(accumulate((-(-length // ALIGNMENT) * ALIGNMENT for length in lengths), initial=0))


def _reserve(file: int, size: int) -> None:
    """Reserve the memory now, with an error if there is too little; else a later copy would crash."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)


def _mapped(path: str) -> np.ndarray:
    """Map the file and return its memory, uint8 [bytes]; it stays mapped as long as it is referenced.

    PyTorch maps it, since Python's mmap would keep a file descriptor open for each file, and the data of a thousand
    devices are a thousand files.
    """
    import torch

    return torch.from_file(path, shared=True, size=os.path.getsize(path), dtype=torch.uint8).numpy()
