"""Snapshots of the task graph: all results that are still in use, so that a killed run can go on from there."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from netsim.core.errors import ScenarioError
from netsim.work.keys import Key, Marks
from netsim.work.packing import ALIGNMENT, ALL, company, copied, pack, unpack_values

FORMAT = b"netsim snapshot 1".ljust(ALIGNMENT)
DIGEST = hashlib.sha256


class Snapshot(NamedTuple):
    """A task graph just after a round was closed.

    Attributes:
        closed: Number of rounds that had been closed.
        told: Number of those whose metrics observers had been given.
        metrics: Number of these metrics.
        answers: Number of values that the clock had waited for.
        marks: How far the learner had been asked.
        pending: Tasks that were ordered and not done.
        results: Results that were still in use, by task.
        early: Results of pending tasks that were done in the company of others, and that nobody had asked for.
    """

    closed: int
    told: int
    metrics: int
    answers: int
    marks: Marks
    pending: Collection[Key]
    results: Mapping[Key, Any]
    early: Mapping[Key, Any]


class Snapshots:
    """Writes snapshots now and then.

    Args:
        folder: Where to.
        packages: Whose classes results may have.
        every: After every so many rounds; ``auto``: as often as :attr:`SHARE` of the time allows.
        last: The round after which there must be one in any case; 0 for none.
    """

    PAUSE_S = 10.0
    """Shortest time between two snapshots, and before the first; to do so much again takes no longer."""
    SHARE = 0.01

    def __init__(
        self, folder: Path, packages: Collection[str], every: int | Literal["auto"], last: int = 0
    ) -> None:
        self._folder = folder
        self._packages = packages
        self._every = every
        self._last = last
        self._due_s = time.monotonic() + self.PAUSE_S

    def due(self, round: int) -> bool:
        """Return whether one is to be written now that ``round`` is closed."""
        if round == self._last:
            return True
        return time.monotonic() >= self._due_s if self._every == "auto" else round % self._every == 0

    def write(self, snapshot: Snapshot) -> tuple[Path, float] | None:
        """Write one under a hidden name; return where, and how long it took [s]; None if there is no room for it.

        Raises:
            ScenarioError: A result cannot be written, or not be read again.
        """
        begin_s = time.monotonic()
        try:
            with company(ALL):
                buffers = pack(tuple(snapshot))
            unpack_values(buffers, self._packages)
        except Exception as error:
            raise ScenarioError(f"{type(error).__name__}: {error}") from error
        file = self._folder / f".{snapshot.closed:09d}.snapshot"
        try:
            self._folder.mkdir(exist_ok=True)
            if shutil.disk_usage(self._folder).free < 2 * sum(buffer.nbytes for buffer in buffers):
                return None
            _write(file, buffers)
        except OSError:
            with suppress(OSError):
                file.unlink(missing_ok=True)
            return None
        finally:
            took_s = time.monotonic() - begin_s
            self._due_s = time.monotonic() + max(self.PAUSE_S, took_s / self.SHARE)
        return file, took_s


def _write(file: Path, buffers: Sequence[memoryview]) -> None:
    digest = DIGEST()
    head = struct.pack(f"<{1 + len(buffers)}Q", len(buffers), *(buffer.nbytes for buffer in buffers))
    with file.open("wb") as out:
        for piece in (memoryview(FORMAT), memoryview(head), *buffers):
            for part in (piece, memoryview(bytes(-piece.nbytes % ALIGNMENT))):
                digest.update(part)
                out.write(part)
        out.write(digest.digest())
        out.flush()
        os.fsync(out.fileno())


def read(file: Path, packages: Collection[str]) -> Snapshot | None:
    """Return the snapshot in ``file``; None if it is not whole, or has what none is made of.

    No code runs but that which puts together tensors, arrays and values of classes of ``packages``.
    """
    try:
        content: Any = copied(file.read_bytes())
        end = len(content) - DIGEST().digest_size
        if DIGEST(content[:end]).digest() != content[end:].tobytes():
            return None
        start = len(FORMAT)
        (count,) = struct.unpack_from("<Q", content, start)
        sizes = struct.unpack_from(f"<{count}Q", content, start + 8)
        start += _padded(8 * (1 + count))
        buffers = []
        for size in sizes:
            buffers.append(content[start : start + size])
            start += _padded(size)
        return Snapshot(*unpack_values(buffers, packages))
    except (OSError, ValueError, TypeError, struct.error):
        return None


def _padded(size: int) -> int:
    return size + -size % ALIGNMENT
