"""A cache of pre-processed arrays on disk: complete files only, found again only for the same files and settings."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from stat import S_ISDIR
from typing import Any

import numpy as np

from netsim.core.scratch import delete_scratch, new_scratch


def fingerprint(settings: Mapping[str, Any], files: Iterable[Path]) -> str:
    """Return a hash of everything that pre-processed data depends on, as 20 hexadecimal digits.

    Args:
        settings: All settings that change the result; plain values. Include a version of the code's rule.
        files: The sources. Their names, sizes and times of change are hashed, so a replaced or added file is noticed
            without reading it.
    """
    sources = sorted((path.name, *_state(path)) for path in files)
    text = json.dumps([dict(settings), sources], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _state(path: Path) -> tuple[int, int]:
    """Return the number of bytes and the time of the last change [ns] of a file or of all files of a folder."""
    own = path.stat()
    stats = [entry.stat() for entry in path.iterdir()] if S_ISDIR(own.st_mode) else [own]
    return sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)


class Cache:
    """A folder of ``.npy`` files, one set of arrays per key.

    Arrays are written elsewhere and moved when complete, so neither a killed run nor two runs at a time leave an
    incomplete file under a name that is read. A checksum after each array says whether it is still as it was written.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key

    def get(self, *names: str) -> dict[str, np.ndarray] | None:
        """Return the arrays ``names``, or None unless all of them exist and are as they were written."""
        found = {}
        for name in names:
            try:
                with self._path(name).open("rb") as file:
                    found[name] = np.load(file, allow_pickle=False)
                    if file.read() != _checksum(found[name]):
                        return None
            except (OSError, ValueError, EOFError):  # absent, or damaged by another program: compute it again
                return None
        return found

    def put(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Store ``arrays`` under this key."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = new_scratch(self.folder, ".unfinished-")
        try:
            for name, array in arrays.items():
                with (unfinished / name).open("wb") as file:
                    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
                    file.write(_checksum(array))
                os.replace(unfinished / name, self._path(name))
        finally:
            delete_scratch(unfinished)

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.key}-{name}.npy"


def _checksum(array: np.ndarray) -> bytes:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).to_bytes(4, "big")
