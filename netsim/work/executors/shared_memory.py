"""Memory that processes of one machine share: one writes a block, another reads it where it lies.

Blocks are files of a folder in ``/dev/shm``, which is memory, mapped by whoever knows their path. Python's own
``multiprocessing.shared_memory`` would do the same, but cannot let go of a block while there are views of it, fails
with a bus error where memory ends, and counts blocks in a separate process.
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
from netsim.work.packing import ALIGNMENT

_GRAIN = 1 << 20  # blocks are multiples of this [byte], so that a slightly larger message still fits


@dataclass(frozen=True)
class Parcel:
    """Where a message lies.

    Attributes:
        path: The block's file.
        lengths: Of the message's buffers, which lie one after another, each aligned [byte].
    """

    path: str
    lengths: tuple[int, ...]


def new_folder() -> str:
    """A folder for blocks, in memory where the system has such a place."""
    memory = "/dev/shm"
    return tempfile.mkdtemp(prefix="netsim-", dir=memory if os.access(memory, os.W_OK) else None)


class Block:
    """Carries one message at a time, and grows to the largest of them.

    Args:
        path: Of its file; a number is added whenever it grows.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._grown = 0
        self._file = ""
        self._memory = np.empty(0, np.uint8)

    def write(self, buffers: Sequence[memoryview]) -> Parcel:
        """Copy a message into the block, over the one before.

        Raises:
            ScenarioError: There is not enough shared memory.
        """
        lengths = tuple(buffer.nbytes for buffer in buffers)
        places = _places(lengths)
        if places[-1] > len(self._memory):
            self._grow(places[-1])
        for start, length, buffer in zip(places, lengths, buffers, strict=False):
            # By numpy, which lets other threads run meanwhile.
            self._memory[start : start + length] = np.frombuffer(buffer, np.uint8)
        return Parcel(self._file, lengths)

    def _grow(self, needed: int) -> None:
        size = -(-needed // _GRAIN) * _GRAIN
        if self._file:
            Path(self._file).unlink(missing_ok=True)  # whoever has mapped it keeps it until it looks again
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
    """Reads parcels, one block at a time: the last one stays mapped, for it is the next one's, too."""

    def __init__(self) -> None:
        self._file = ""
        self._memory = np.empty(0, np.uint8)

    def read(self, parcel: Parcel) -> list[Any]:
        """The message's buffers, as views of the block."""
        if parcel.path != self._file:
            self._file, self._memory = parcel.path, _mapped(parcel.path)
        places = _places(parcel.lengths)
        return [
            self._memory[start : start + length]
            for start, length in zip(places, parcel.lengths, strict=False)
        ]


def _places(lengths: Sequence[int]) -> list[int]:
    """Where each buffer begins, and where the last one ends."""
    return list(accumulate((-(-length // ALIGNMENT) * ALIGNMENT for length in lengths), initial=0))


def _reserve(file: int, size: int) -> None:
    """Take the memory now, with an error if it is not there; a mapping finds out in the middle of a copy."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)


def _mapped(path: str) -> np.ndarray:
    """The file as memory, uint8 [bytes], for as long as anybody looks at it.

    By PyTorch, since Python's mmap keeps a file descriptor open for each, and data of a thousand devices is a thousand.
    """
    import torch

    return torch.from_file(path, shared=True, size=os.path.getsize(path), dtype=torch.uint8).numpy()
