"""A cache of pre-processed arrays on disk: complete files only, found again only for the same files and settings."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


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
    stats = [entry.stat() for entry in (path.iterdir() if path.is_dir() else (path,))]
    return sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)


class Cache:
    """A folder of ``.npy`` files, one set of arrays per key.

    Arrays are written under another name and renamed when complete, so neither a killed run nor two runs at a time
    leave an incomplete file under a name that is read.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key

    def get(self, *names: str) -> dict[str, np.ndarray] | None:
        """Return the arrays ``names``, or None unless all of them exist and are readable."""
        try:
            return {name: np.load(self._path(name), allow_pickle=False) for name in names}
        except (
            OSError,
            ValueError,
            EOFError,
        ):  # absent, or damaged by another program: compute it again
            return None

    def put(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Store ``arrays`` under this key."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".part-")
            try:
                with os.fdopen(handle, "wb") as file:
                    np.save(file, array, allow_pickle=False)
                os.replace(temporary, self._path(name))
            except BaseException:
                os.unlink(temporary)
                raise

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.key}-{name}.npy"
